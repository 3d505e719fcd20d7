//! Any bytes as a remote-write request, plain and inside snappy; what decodes takes what it says and no more than may be,
//! and encodes and decodes again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use series::write::{
    DECODED_BYTES_MAX, Decoded, SERIES_BYTES, decode_v1, decode_v2, decompress, encode_v2,
};

fuzz_target!(|data: &[u8]| {
    let _ = decompress(data);
    if let Ok(decoded) = decode_v1(data) {
        check(&decoded);
    }
    if let Ok(decoded) = decode_v2(data) {
        check(&decoded);
    }
});

fn check(decoded: &Decoded) {
    let (mut bytes, mut count) = (0, 0);
    for (labels, samples) in &decoded.series {
        assert!(!samples.is_empty());
        bytes += SERIES_BYTES + labels.text_len() + labels.len() * 8 + samples.capacity() * 16;
        count += samples.len();
    }
    assert_eq!((decoded.bytes, decoded.samples), (bytes, count));
    assert!(bytes <= DECODED_BYTES_MAX);
    let again = decode_v2(&encode_v2(&decoded.series)).expect("our own encoding decodes");
    assert_eq!((again.bytes, again.samples), (bytes, count));
    assert_eq!(again.refused_count, 0);
}
