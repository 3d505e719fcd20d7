//! Any bytes as an OTLP request: it takes no more memory than was worked out before, and what comes out are series that remote
//! write would take, each once, in the order of time, counted as large as they are, and no more than may be.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use otlp::{DECODED_BYTES_MAX, OUTPUT_BYTES_MAX, Translated, decode, translate, weigh};
use series::write::{decode_v2, encode_v2};

fuzz_target!(|data: &[u8]| {
    let weighed = weigh(data).ok();
    if let Some((most, taken)) = weighed {
        assert!(taken <= most, "{taken} of {most}");
    }
    let request = decode(data).ok();
    // What is well formed is decoded unless it is heavy.
    let fits = weighed.is_some_and(|(most, _)| most <= DECODED_BYTES_MAX);
    assert_eq!(request.is_some(), fits);
    if let Some(request) = request
        && let Ok(translated) = translate(&request)
    {
        check(&translated);
    }
});

fn check(translated: &Translated) {
    let list = &translated.series;
    let mut bytes = list.capacity() * 32;
    let mut samples = 0;
    let mut names = HashSet::new();
    for (labels, of) in list {
        let name = labels.metric_name().expect("a series has a name");
        assert!(series::is_plain_metric_name(name), "{name}");
        assert!(names.insert(labels), "{labels} comes twice");
        assert!(of.is_sorted_by(|(one, _), (next, _)| one < next) && !of.is_empty());
        // What labels share, their text and its ends; room for samples.
        bytes += 56 + labels.text_len() + 8 * labels.len() + 16 * of.capacity();
        samples += of.len();
    }
    assert!(bytes <= translated.bytes && translated.bytes <= OUTPUT_BYTES_MAX);
    assert_eq!(translated.refused == 0, translated.reason.is_none());
    let again = decode_v2(&encode_v2(list)).expect("our own encoding decodes");
    assert_eq!((again.samples, again.refused_count), (samples, 0));
    assert_eq!(again.series.len(), list.len());
}
