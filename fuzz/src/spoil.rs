//! Ways to spoil a data directory, chosen by a fuzzer's bytes; and putting the checksums right again, so that what is behind them
//! is reached.

use std::path::{Path, PathBuf};

use crate::Input;
use crate::template::Files;

/// Changes made to one directory, at most: more only make every input like every other.
const CHANGES_MAX: usize = 12;

/// No file grows beyond this.
const FILE_BYTES_MAX: usize = 256 << 10;

/// Spoils `files` as the rest of the input says.
pub fn spoil(input: &mut Input<'_>, files: &mut Files) {
    for _ in 0..CHANGES_MAX {
        if input.is_empty() || files.is_empty() {
            return;
        }
        let what = input.byte();
        let path = pick(input, files);
        change(what & 0x0f, &path, input, files);
        if what & 0x80 != 0
            && let Some(bytes) = files.get_mut(&path)
        {
            seal(&path, bytes);
        }
    }
}

fn pick(input: &mut Input<'_>, files: &Files) -> PathBuf {
    let index = usize::from(input.byte()) % files.len();
    let mut paths = files.keys();
    paths.nth(index).cloned().unwrap_or_default()
}

/// A place in `length` bytes, the end included.
fn place(input: &mut Input<'_>, length: usize) -> usize {
    usize::from(input.word()) % (length + 1)
}

fn change(what: u8, path: &Path, input: &mut Input<'_>, files: &mut Files) {
    let Some(bytes) = files.get_mut(path) else {
        return;
    };
    match what {
        0 => {
            let at = place(input, bytes.len());
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (input.byte() % 8);
            }
        }
        1 | 2 => {
            let at = place(input, bytes.len());
            let new = input.run();
            overwrite(bytes, at, new);
        }
        3 => bytes.truncate(place(input, bytes.len())),
        4 => {
            let new = input.run();
            overwrite(bytes, bytes.len(), new);
        }
        5 => {
            let at = place(input, bytes.len());
            let end = (at + usize::from(input.word())).min(bytes.len());
            bytes[at..end].fill(0);
        }
        6 => drop(files.remove(path)),
        7 => *bytes = input.run().to_vec(),
        8 => {
            let other = pick(input, files);
            let content = files.get(&other).cloned().unwrap_or_default();
            files.insert(path.to_owned(), content);
        }
        // A number where there may be one.
        9 => {
            let at = place(input, bytes.len());
            let numbers = [0, 1, u64::MAX, 1 << 63, 1 << 31, 1 << 32, 255, 1 << 16];
            let number = numbers[usize::from(input.byte()) % numbers.len()];
            let number = match input.byte() % 4 {
                0 => number.to_be_bytes().to_vec(),
                1 => number.to_le_bytes().to_vec(),
                2 => number.to_be_bytes()[4..].to_vec(),
                _ => number.to_le_bytes()[..4].to_vec(),
            };
            overwrite(bytes, at, &number);
        }
        // Another name beside it, or in its place.
        10 | 11 => {
            let suffixes = [
                "00000000000000000000.log",
                "00000000000000000003.log",
                "00000000000000000000-00000000000000000072-0000000001.log",
                "00000000000000000006-00000000000000000030-0000000009.log",
                "18446744073709551615.log",
                "9223372036854775807.log",
                "checkpoint",
                "cleaned",
                "flushed",
                "00000000000000000000.index",
                "0000.journal",
                "0007.journal",
                "catalog",
                "reserve",
                "clean",
                "checkpoint.tmp",
            ];
            let name = suffixes[usize::from(input.byte()) % suffixes.len()];
            let content = if what == 10 {
                Some(bytes.clone())
            } else {
                files.remove(path)
            };
            files.insert(path.with_file_name(name), content.unwrap_or_default());
        }
        // Bytes of it again, somewhere else in it.
        12 => {
            let from = place(input, bytes.len());
            let to = (from + usize::from(input.word())).min(bytes.len());
            let again = bytes[from..to].to_vec();
            let at = place(input, bytes.len());
            overwrite(bytes, at, &again);
        }
        // Cut out.
        13 => {
            let from = place(input, bytes.len());
            let to = (from + usize::from(input.word())).min(bytes.len());
            bytes.drain(from..to);
        }
        // Text in it, for the catalog.
        14 => {
            let words: [(&[u8], &[u8]); 6] = [
                (b"\"partitions\": 1", b"\"partitions\": 0"),
                (b"\"partitions\": 1", b"\"partitions\": 9"),
                (b"\"partitions\": 2", b"\"partitions\": 4294967295"),
                (b"\"orders\"", b"\"prices\""),
                (b"\"delete\"", b"\"compact\""),
                (b"\"deleting\": []", b"\"deleting\": {}"),
            ];
            let (old, new) = words[usize::from(input.byte()) % words.len()];
            if let Some(at) = bytes.windows(old.len()).position(|part| part == old) {
                bytes.splice(at..at + old.len(), new.iter().copied());
            }
        }
        // A file where a directory is, or below a file.
        _ => {
            let content = bytes.clone();
            files.insert(path.join("below"), content);
        }
    }
}

fn overwrite(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    let end = (at + new.len()).min(FILE_BYTES_MAX);
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    if let Some(place) = bytes.get_mut(at..end) {
        place.copy_from_slice(&new[..place.len()]);
    }
}

/// Puts the checksums of a file right, by its name.
pub fn seal(path: &Path, bytes: &mut [u8]) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.ends_with(".log") {
        seal_batches(bytes);
    } else if name.ends_with(".journal") {
        seal_journal(bytes);
    } else if name == "catalog" {
        seal_catalog(bytes);
    } else if name == "flushed" {
        for slot in bytes.chunks_mut(512) {
            seal_end(slot.get_mut(..16).unwrap_or_default());
        }
    } else {
        seal_end(bytes);
    }
}

/// A checksum behind all the rest.
fn seal_end(bytes: &mut [u8]) {
    if let Some((content, place)) = bytes.split_last_chunk_mut::<4>() {
        *place = crc32c::crc32c(content).to_le_bytes();
    }
}

fn seal_batches(bytes: &mut [u8]) {
    let mut rest = bytes;
    loop {
        let Some(length) = rest.get(8..12).and_then(|field| field.try_into().ok()) else {
            return;
        };
        let end = (u32::from_be_bytes(length) as usize).saturating_add(12);
        let Some((batch, behind)) = rest.split_at_mut_checked(end) else {
            return;
        };
        if batch.len() < 21 {
            return;
        }
        let crc = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        rest = behind;
    }
}

fn seal_journal(bytes: &mut [u8]) {
    for slot in bytes.chunks_mut(512).take(2) {
        seal_end(slot.get_mut(..28).unwrap_or_default());
    }
    let mut at = 1_024;
    while let Some(frame) = bytes.get_mut(at..).filter(|frame| frame.len() >= 32) {
        let mut step = 512;
        if frame.starts_with(b"LNJR") {
            let length = u32::from_le_bytes([frame[4], frame[5], frame[6], frame[7]]) as usize;
            if let Some(entries) = frame.get(32..32 + length) {
                let crc = crc32c::crc32c_append(crc32c::crc32c(&frame[..28]), entries);
                frame[28..32].copy_from_slice(&crc.to_le_bytes());
                step = (32 + length).next_multiple_of(512);
            }
        }
        at += step;
    }
}

fn seal_catalog(bytes: &mut [u8]) {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let (line, body) = bytes.split_at_mut(end + 1);
    let digits = format!("{:08x}", crc32c::crc32c(body));
    if let Some(place) = end.checked_sub(8).and_then(|at| line.get_mut(at..end)) {
        place.copy_from_slice(digits.as_bytes());
    }
}
