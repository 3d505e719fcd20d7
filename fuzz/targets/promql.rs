//! Any text as PromQL; what parses is evaluated over an empty store.
#![no_main]

use libfuzzer_sys::fuzz_target;
use series::{Store, StoreOptions};

fuzz_target!(|text: &str| {
    // Deep nesting is the parser library's: what comes over HTTP is bounded in length as well.
    if text.len() > 512 {
        return;
    }
    if let Ok(expr) = promql::parse(text) {
        let store = Store::new(StoreOptions::default());
        let options = promql::Options {
            samples_max: 100_000,
            ..promql::Options::default()
        };
        let _ = promql::instant(&expr, &store, Default::default(), &options);
    }
});
