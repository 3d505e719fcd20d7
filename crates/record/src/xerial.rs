//! Snappy as Kafka's Java client writes it (xerial's `SnappyOutputStream`), and raw.
//!
//! ```text
//!  82 "SNAPPY" 00 │ version = 1 (u32) │ compatible = 1 (u32) │ { length (u32) │ raw snappy block }*
//! ```
//! All numbers big-endian. Some clients write a raw block without the frame, so both are read; the
//! frame is written, because every client reads it.

use std::io;

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const FRAME_HEADER_BYTES: usize = 16;
/// Input of one block, xerial's default.
const BLOCK_BYTES: usize = 32 << 10;
/// No snappy block inflates to more than this many times its length: three bytes copy at most 64.
const RATIO_MAX: usize = 22;

/// `None` if more than `limit` bytes would come out.
pub(crate) fn decompress(input: &[u8], limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut output = Vec::new();
    if !input.starts_with(&MAGIC) {
        return Ok(block(input, limit, &mut output)?.then_some(output));
    }
    let mut rest = input
        .get(FRAME_HEADER_BYTES..)
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (compressed, after) = after
            .split_at_checked(length)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        if !block(compressed, limit, &mut output)? {
            return Ok(None);
        }
        rest = after;
    }
    if rest.is_empty() {
        Ok(Some(output))
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Appends one raw block; false if the output would pass `limit`.
fn block(compressed: &[u8], limit: usize, output: &mut Vec<u8>) -> io::Result<bool> {
    let length = snap::raw::decompress_len(compressed)?;
    if length > compressed.len().saturating_mul(RATIO_MAX) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a snappy block claims more than it can hold",
        ));
    }
    let start = output.len();
    if start.saturating_add(length) > limit {
        return Ok(false);
    }
    output.resize(start + length, 0);
    let place = output.get_mut(start..).unwrap_or_default();
    let written = snap::raw::Decoder::new().decompress(compressed, place)?;
    output.truncate(start + written);
    Ok(true)
}

pub(crate) fn compress(input: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
    to.extend_from_slice(&MAGIC);
    to.extend_from_slice(&1_u32.to_be_bytes());
    to.extend_from_slice(&1_u32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for chunk in input.chunks(BLOCK_BYTES) {
        let compressed = encoder.compress_vec(chunk)?;
        let length = u32::try_from(compressed.len()).map_err(io::Error::other)?;
        to.extend_from_slice(&length.to_be_bytes());
        to.extend_from_slice(&compressed);
    }
    Ok(())
}
