//! Any bytes as a file of the journal, and as the entries of a frame whose checksum is right.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = commitlog::open_journal_bytes(data);
    let mut file = header();
    // Each frame is as long as its first two bytes say.
    let mut rest = data;
    let mut sequence = 0_u64;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(after.len());
        let (entries, after) = after.split_at(length);
        frame(&mut file, sequence, entries);
        sequence += 1;
        rest = after;
    }
    let _ = commitlog::open_journal_bytes(&file);
});

fn header() -> Vec<u8> {
    let mut bytes = b"LNJF".to_vec();
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    bytes.extend_from_slice(&1_u64.to_le_bytes());
    bytes.extend_from_slice(&0_u64.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes.resize(1_024, 0);
    bytes
}

fn frame(to: &mut Vec<u8>, sequence: u64, entries: &[u8]) {
    let (count, entries) = match entries.split_first() {
        Some((count, entries)) => (u32::from(*count), entries),
        None => (0, entries),
    };
    let mut fields = b"LNJR".to_vec();
    fields.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    fields.extend_from_slice(&1_u64.to_le_bytes());
    fields.extend_from_slice(&sequence.to_le_bytes());
    fields.extend_from_slice(&count.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&fields), entries);
    to.extend_from_slice(&fields);
    to.extend_from_slice(&crc.to_le_bytes());
    to.extend_from_slice(entries);
    to.resize(to.len().next_multiple_of(512), 0);
}
