//! Any bytes as a board frame, and the same with the checksum put right.
#![no_main]

use frame::{Frame, State};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    decode(data);
    if data.len() >= 12 {
        let mut bytes = data.to_vec();
        let crc = crc32c::crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        decode(&bytes);
    }
});

fn decode(bytes: &[u8]) {
    if let Ok(frame) = Frame::parse(bytes) {
        for block in frame.blocks() {
            std::hint::black_box(&block);
        }
        let mut state = State::new([]);
        let _ = state.apply(&frame);
    }
}
