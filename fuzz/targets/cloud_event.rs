//! Any headers and body as the answer of an endpoint.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &str, &str, &[u8])| {
    let (mode, name, value, body) = input;
    let name = name.to_ascii_lowercase();
    let kinds = [
        "application/cloudevents-batch+json",
        "application/cloudevents+json",
        value,
    ];
    let mut headers = vec![
        ("content-type", kinds[usize::from(mode) % 3]),
        (&*name, value),
    ];
    if mode > 127 {
        headers.extend([
            ("ce-specversion", "1.0"),
            ("ce-id", "7"),
            ("ce-source", "/s"),
            ("ce-type", value),
        ]);
    }
    if let Ok(outputs) = dispatch::read_events(&headers, body) {
        assert!(outputs.len() <= body.len().max(1));
    }
});
