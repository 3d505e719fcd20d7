//! Any bytes as an OTLP request: what comes out are series that remote write would take, in the order of time, and no more
//! than may be.
#![no_main]

use libfuzzer_sys::fuzz_target;
use otlp::{OUTPUT_BYTES_MAX, Translated, decode, translate};
use series::write::{decode_v2, encode_v2};

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = decode(data)
        && let Ok(translated) = translate(&request)
    {
        check(&translated);
    }
});

fn check(translated: &Translated) {
    let mut bytes = 0;
    let mut samples = 0;
    for (labels, of) in &translated.series {
        let name = labels.metric_name().expect("a series has a name");
        assert!(series::is_plain_metric_name(name), "{name}");
        assert!(of.is_sorted_by_key(|(at, _)| *at) && !of.is_empty());
        bytes += labels.text_len();
        samples += of.len();
    }
    assert!(bytes <= translated.bytes && translated.bytes <= OUTPUT_BYTES_MAX);
    assert_eq!(translated.refused == 0, translated.reason.is_none());
    let again = decode_v2(&encode_v2(&translated.series)).expect("our own encoding decodes");
    assert_eq!((again.samples, again.refused_count), (samples, 0));
}
