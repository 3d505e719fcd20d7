//! Which topics a consumer's metadata subscribes to.
//!
//! Reads only the front of Kafka's `ConsumerProtocolSubscription` (version, array of topic names),
//! which is the same in all its versions. Metadata that does not read so answers `None`: then every
//! topic counts as subscribed, the safe side for its only use, refusing to delete offsets in use.

use std::collections::BTreeSet;

/// The topics named at the front of `metadata`.
pub(crate) fn topics(metadata: &[u8]) -> Option<BTreeSet<&str>> {
    let (version, rest) = metadata.split_first_chunk::<2>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let mut topics = BTreeSet::new();
    for _ in 0..i32::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (name, after) = after.split_at_checked(length)?;
        topics.insert(std::str::from_utf8(name).ok()?);
        rest = after;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_and_anything_else_is_unknown() {
        let mut metadata = vec![0, 3, 0, 0, 0, 2, 0, 1, b'a', 0, 2, b'b', b'c'];
        assert_eq!(topics(&metadata), Some(BTreeSet::from(["a", "bc"])));
        metadata.extend([0xff; 9]);
        assert_eq!(
            topics(&metadata),
            Some(BTreeSet::from(["a", "bc"])),
            "user data follows"
        );
        for cut in 0..13 {
            assert_eq!(topics(&metadata[..cut]), None, "cut at {cut}");
        }
        assert_eq!(
            topics(&[0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0]),
            None,
            "a count that lies"
        );
    }
}
