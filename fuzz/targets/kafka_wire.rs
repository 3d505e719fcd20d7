//! Any bytes as a stream of Kafka requests: neither the splitter nor a decoder may panic.
#![no_main]

use bytes::{Bytes, BytesMut};
use kafka_wire::{Splitter, decode_request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut stream = BytesMut::from(data);
    let splitter = Splitter::requests(1 << 20);
    while let Ok(Some(frame)) = splitter.next(&mut stream) {
        let _ = decode_request(frame);
    }
    // Without a length prefix too, so that every byte counts for the decoder.
    let _ = decode_request(Bytes::copy_from_slice(data));
});
