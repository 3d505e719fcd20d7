//! Any bytes as a kept store of samples; whatever it takes can be read, and kept and loaded again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::Timestamp;
use series::{Store, StoreOptions};

fuzz_target!(|data: &[u8]| {
    let store = Store::new(StoreOptions::default());
    let whole = store.load(data).is_ok();
    for series in store.select(&[], Timestamp::MIN, Timestamp::MAX) {
        std::hint::black_box(series.samples.count());
    }
    if whole {
        let mut kept = Vec::new();
        let written: Result<(), ()> = store.save(|piece| {
            kept.extend_from_slice(piece);
            Ok(())
        });
        written.expect("memory takes everything");
        let again = Store::new(StoreOptions::default());
        again.load(&kept).expect("our own bytes are taken");
    }
});
