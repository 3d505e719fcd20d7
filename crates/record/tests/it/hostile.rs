//! Bytes from somebody who wishes us ill: an error, no panic, no memory.

use bytes::Bytes;
use proptest::prelude::*;
use record::{CheckedBatch, Compression, Error, validate_records};

use crate::plain::{Plain, batch, batch_around, record};
use crate::round_trip::{CODECS, build};

const NOBODY: (i64, i16, i32) = (-1, -1, -1);

/// Parses and walks everything, in every way there is.
fn devour(bytes: &[u8]) {
    let mut rest = Bytes::copy_from_slice(bytes);
    while let Ok((batch, after)) = CheckedBatch::parse(rest) {
        drop(validate_records(&batch));
        if let Ok(records) = batch.records_within(1 << 20) {
            for record in records.iter().flatten() {
                assert!(record.headers.iter().count() <= record.headers.count() as usize);
            }
        }
        rest = after;
    }
}

fn refused(bytes: Vec<u8>) -> Error {
    match CheckedBatch::parse(Bytes::from(bytes)) {
        Err(error) => error,
        Ok((batch, _)) => validate_records(&batch).unwrap_err(),
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        devour(&bytes);
    }

    #[test]
    fn any_body_under_a_good_checksum_is_survived(
        codec in 0..8_i16,
        count in prop_oneof![1..20_i32, any::<i32>()],
        body in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        devour(&batch_around(codec, count, (0, 0), NOBODY, &body));
    }

    #[test]
    fn a_flipped_bit_is_noticed_wherever_the_checksum_reaches(bit in 0..69_usize * 8) {
        let good = batch(&[Plain::value(1, "0")], NOBODY);
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let outside = bit / 8 < 8 || (12..16).contains(&(bit / 8));
        let parsed = CheckedBatch::parse(Bytes::from(bad.clone()));
        prop_assert!(parsed.is_err() || outside, "bit {}", bit);
        devour(&bad);
    }

    #[test]
    fn a_damaged_compressed_body_is_survived(
        codec in 1..CODECS.len(),
        at in any::<prop::sample::Index>(),
        byte: u8,
    ) {
        let good = build(CODECS[codec], &[Plain::value(1, &"abc".repeat(50))], NOBODY);
        let mut body = good.as_bytes()[61..].to_vec();
        let at = at.index(body.len());
        body[at] = byte;
        devour(&batch_around(codec as i16, 1, (1, 1), NOBODY, &body));
    }
}

#[test]
fn a_small_batch_that_claims_millions_of_records_is_refused() {
    let one = record(0, 0, &Plain::value(0, "x"));
    let error = refused(batch_around(0, 20_000_000, (0, 0), NOBODY, &one));
    assert!(matches!(error, Error::Count { .. }), "{error}");
    // Compressed nobody can know before; walking ends where the bytes end.
    let mut body = Vec::new();
    std::io::Write::write_all(
        &mut zstd::Encoder::new(&mut body, 1).unwrap().auto_finish(),
        &one,
    )
    .unwrap();
    let error = refused(batch_around(4, i32::MAX, (0, 0), NOBODY, &body));
    assert!(matches!(error, Error::Record { index: 1, .. }), "{error}");
}

#[test]
fn counts_lengths_and_magic_must_be_true() {
    let one = record(0, 0, &Plain::value(0, "x"));
    let good = || batch_around(0, 1, (0, 0), NOBODY, &one);
    for count in [0, -1, i32::MIN, 2] {
        let error = refused(batch_around(0, count, (0, 0), NOBODY, &one));
        assert!(matches!(error, Error::Count { .. }), "{count}: {error}");
    }
    let with = |at: usize, bytes: &[u8]| {
        let mut batch = good();
        batch[at..at + bytes.len()].copy_from_slice(bytes);
        refused(batch)
    };
    assert!(matches!(with(16, &[1]), Error::Magic { magic: 1 }));
    assert!(matches!(
        with(8, &(-1_i32).to_be_bytes()),
        Error::Length { length: -1, .. }
    ));
    assert!(matches!(
        with(8, &48_i32.to_be_bytes()),
        Error::Length { length: 48, .. }
    ));
    assert!(matches!(
        with(8, &i32::MAX.to_be_bytes()),
        Error::Length { .. }
    ));
    assert!(matches!(
        with(8, &200_i32.to_be_bytes()),
        Error::Incomplete { .. }
    ));
    assert!(matches!(
        with(0, &(-1_i64).to_be_bytes()),
        Error::Offset { offset: -1, .. }
    ));
    assert!(matches!(
        with(0, &i64::MAX.to_be_bytes()),
        Error::Offset { .. }
    ));
    assert!(matches!(with(17, &[0; 4]), Error::Crc { .. }));
    assert!(matches!(
        refused(batch_around(5, 1, (0, 0), NOBODY, &one)),
        Error::Codec { codec: 5 }
    ));
    let error = refused(batch_around(0, 1, (-2, 0), NOBODY, &one));
    assert!(matches!(error, Error::Timestamp { timestamp: -2 }));
}

#[test]
fn records_must_be_whole_in_order_and_fill_the_batch() {
    let one = |index| record(index, 0, &Plain::value(0, "x"));
    let check = |count, body: &[u8]| refused(batch_around(0, count, (0, 0), NOBODY, body));
    let left_over = check(1, &[one(0), one(1)].concat());
    assert!(
        matches!(left_over, Error::LeftOver { count: 8 }),
        "{left_over}"
    );
    let wrong_delta = check(2, &[one(0), one(0)].concat());
    assert!(
        matches!(wrong_delta, Error::Record { index: 1, .. }),
        "{wrong_delta}"
    );
    let mut longer = one(0);
    longer[0] += 2;
    assert!(matches!(check(1, &longer), Error::Record { index: 0, .. }));
    let mut shorter = one(0);
    shorter[0] -= 2;
    assert!(matches!(check(1, &shorter), Error::Record { index: 0, .. }));
    // Length, attributes, deltas, key, value, then one header: its name and value.
    let header = |name: &[u8]| {
        let mut body = vec![0, 0, 0, 1, 1, 2];
        body.extend(name);
        body.push(1);
        let mut bytes = vec![body.len() as u8 * 2];
        bytes.extend(body);
        bytes
    };
    let good = batch_around(0, 1, (0, 0), NOBODY, &header(&[2, b'h']));
    let (good, _) = CheckedBatch::parse(good.into()).unwrap();
    validate_records(&good).unwrap();
    for bad in [&[1][..], &[2, 0xff], &[0x80, 0x01, b'h']] {
        let error = check(1, &header(bad));
        assert!(
            matches!(error, Error::Record { index: 0, .. }),
            "{bad:?}: {error}"
        );
    }
}

#[test]
fn what_inflates_beyond_the_limit_is_refused() {
    let records = vec![Plain::value(1, &"0".repeat(1_000)); 100];
    for codec in CODECS {
        let batch = build(codec, &records, NOBODY);
        let size = batch.records().unwrap().size();
        assert!(batch.records_within(size).is_ok(), "{codec}");
        let error = batch.records_within(size - 1).unwrap_err();
        assert!(matches!(error, Error::Inflated { .. }), "{codec}: {error}");
    }
}

#[test]
fn a_snappy_block_that_claims_more_than_it_can_hold_allocates_nothing() {
    // The varint says 127 MiB, the block holds two bytes.
    let error = refused(batch_around(
        2,
        1,
        (0, 0),
        NOBODY,
        &[0x80, 0x80, 0x80, 0x3f, 0, 0],
    ));
    assert!(
        matches!(
            error,
            Error::Decompress {
                compression: Compression::Snappy,
                ..
            }
        ),
        "{error}"
    );
}
