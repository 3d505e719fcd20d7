//! Any bytes as a partition's only segment: recovered, read by offset and by time.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = commitlog::open_bytes(data);
    // The same with the checksums of its batches put right, as far as their lengths lead.
    let mut bytes = data.to_vec();
    let mut at = 0;
    while let Some(batch) = bytes.get_mut(at..) {
        if batch.len() < 21 {
            break;
        }
        batch[..8].copy_from_slice(&0_u64.to_be_bytes());
        batch[16] = 2;
        let length = u32::from_be_bytes([batch[8], batch[9], batch[10], batch[11]]) as usize;
        let Some(end) = length
            .checked_add(12)
            .filter(|end| (21..=batch.len()).contains(end))
        else {
            break;
        };
        let crc = crc32c::crc32c(&batch[21..end]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        at += end;
    }
    let _ = commitlog::open_bytes(&bytes);
});
