//! Bytes that nobody's encoder wrote.

use frame::{Encoder, Error, Frame, Head, Level, Point, Points, Row, Scalar, State, Text};
use proptest::prelude::*;

fn reseal(bytes: &mut [u8]) {
    if bytes.len() >= 64 {
        let crc = crc32c::crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    }
}

/// A frame of many kinds of blocks: a delta on `base_seq`, or a keyframe if that is 0.
fn sample(base_seq: u64) -> Vec<u8> {
    let mut encoder = Encoder::new();
    let mut w = encoder.begin(&Head {
        keyframe: base_seq == 0,
        seq: base_seq + 1,
        base_seq,
        ..Head::default()
    });
    w.scalars((1..4).map(|cell| Scalar {
        cell,
        value: 1.0,
        level: Level::Info,
    }));
    w.texts([
        Text {
            cell: 1,
            level: Level::None,
            text: "走马",
        },
        Text {
            cell: 2,
            level: Level::None,
            text: "灯",
        },
    ]);
    w.points([Points {
        cell: 5,
        parts: [&[Point { t_ms: 1.0, v: 2.0 }], &[]],
    }]);
    w.rows([Row {
        cell: 6,
        level: Level::None,
        row_id: 1.0,
        t_ms: 2.0,
        text: "{}",
    }]);
    w.clear([9]);
    w.finish().to_vec()
}

/// Walks everything a frame offers: nothing may panic.
fn walk(bytes: &[u8]) -> Result<(), Error> {
    let frame = Frame::parse(bytes)?;
    let mut state = State::new([]);
    if state.apply(&frame).is_ok() {
        assert!(state.to_json().is_object());
    }
    Ok(())
}

proptest! {
    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(walk(&bytes).is_err());
    }

    #[test]
    fn a_frame_with_changed_bytes_and_a_right_checksum(
        changes in prop::collection::vec((0_usize..1000, any::<u8>()), 1..6),
        cut in 0_usize..400,
    ) {
        let mut bytes = sample(0);
        let length = bytes.len();
        for (place, byte) in changes {
            bytes[64 + place % (length - 64)] = byte;
        }
        bytes.truncate(length.saturating_sub(cut.saturating_sub(300)));
        reseal(&mut bytes);
        let _ = walk(&bytes);
    }
}

#[test]
fn one_flipped_bit_is_always_seen() {
    for good in [sample(0), sample(7)] {
        walk(&good).expect("as it was encoded");
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(walk(&bytes).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn a_frame_larger_than_the_limit_is_refused_unread() {
    let found = frame::limits::FRAME_BYTES_MAX + 1;
    let bytes = vec![0; found];
    assert_eq!(
        walk(&bytes),
        Err(Error::TooLarge {
            found,
            limit: frame::limits::FRAME_BYTES_MAX
        })
    );
}
