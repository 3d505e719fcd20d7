//! Any bytes as a remote-write request, plain and inside snappy; what decodes encodes and decodes again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use series::write::{decode_v1, decode_v2, decompress, encode_v2};

fuzz_target!(|data: &[u8]| {
    let _ = decompress(data);
    let _ = decode_v1(data);
    if let Ok(decoded) = decode_v2(data) {
        let again = decode_v2(&encode_v2(&decoded.series)).expect("our own encoding decodes");
        assert_eq!(again.samples, decoded.samples);
    }
});
