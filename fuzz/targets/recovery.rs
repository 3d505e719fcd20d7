//! A data directory that a broker left and somebody spoiled: looked at, opened, read, and opened again.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| lantern_fuzz::recovery::check(data));
