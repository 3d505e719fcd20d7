//! Any text as a Listener resource.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let file = dispatch::ListenerFile {
        path: "listener.yaml".into(),
        text: text.to_owned(),
    };
    if let Ok(spec) = file.parse() {
        assert!(!spec.topics.is_empty() && spec.concurrency > 0 && spec.batch > 0);
        assert!(spec.policy.retry.attempts > 0);
    }
});
