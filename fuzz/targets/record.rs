//! Any bytes as a record batch, and the same bytes with the length and checksum put right, so that what
//! lies behind the checksum is reached. What validation accepts must iterate without an error.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use record::{Batches, CheckedBatch, HEADER_BYTES, PREFIX_BYTES, validate_records};

const CRC_AT: usize = 17;
const CRC_FROM: usize = 21;

fuzz_target!(|data: &[u8]| {
    for batch in Batches::new(Bytes::copy_from_slice(data)).flatten() {
        check(&batch);
    }
    if data.len() >= HEADER_BYTES {
        let mut bytes = data.to_vec();
        let length = u32::try_from(bytes.len() - PREFIX_BYTES).unwrap_or(u32::MAX);
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[16] = 2;
        let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
        bytes[CRC_AT..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
        if let Ok((batch, _)) = CheckedBatch::parse(Bytes::from(bytes)) {
            check(&batch);
        }
    }
});

fn check(batch: &CheckedBatch) {
    let valid = validate_records(batch).is_ok();
    // A small limit: the fuzzer would spend its time inflating.
    let Ok(records) = batch.records_within(1 << 20) else {
        return;
    };
    let mut count = 0;
    for record in records.iter() {
        match record {
            Ok(record) => {
                count += 1;
                for (name, value) in record.headers.iter() {
                    std::hint::black_box((name, value));
                }
            }
            Err(error) => {
                assert!(
                    !valid,
                    "validation accepted what iteration refuses: {error}"
                );
                return;
            }
        }
    }
    assert!(
        !valid || count == batch.record_count(),
        "a valid batch has as many records as it says"
    );
}
