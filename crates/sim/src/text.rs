//! What records say: every one that is sent says something else, so that any record tells who sent it.
//!
//! ```text
//!  p0.17.xxxx        the 17th of client p0, and padding; its key is p0
//!  p0.17.k3.xxxx     the same for a topic that is compacted; its key is k3
//!  p0.17.k3!         a tombstone of k3: it has no value, and says this in a header
//! ```

use model::Timestamp;
use record::{BatchBuilder, Record};

use crate::clients::is_compacted;
use crate::life::Life;

/// Keys of topics that are compacted: few, so that each comes often.
const KEYS: u64 = 12;

/// The header of tombstones.
const HEADER: &str = "says";

/// The next thing that a client says in a topic.
pub(crate) fn next(life: &Life<'_>, topic: &str, client: &str, number: &mut u64) -> String {
    *number += 1;
    let dice = &life.world.dice;
    let mut key = String::new();
    if is_compacted(topic) {
        let which = dice.below(KEYS);
        if dice.chance(15) {
            return format!("{client}.{number}.k{which}!");
        }
        key = format!("k{which}.");
    }
    let length = if dice.chance(5) { 900 } else { 60 };
    let padding = "x".repeat(dice.pick(length));
    format!("{client}.{number}.{key}{padding}")
}

/// Which client says it, and its how many-th it is.
pub(crate) fn origin(text: &str) -> (&str, u64) {
    let mut parts = text.split('.');
    let client = parts.next().unwrap_or_default();
    let number = parts.next().and_then(|number| number.parse().ok());
    (client, number.unwrap_or(0))
}

/// The key of a record of a compacted topic that says so.
pub(crate) fn key(text: &str) -> Option<&str> {
    let third = text.split('.').nth(2)?;
    let key = third.strip_suffix('!').unwrap_or(third);
    key.starts_with('k').then_some(key)
}

pub(crate) fn is_tombstone(text: &str) -> bool {
    text.ends_with('!')
}

/// Adds a record that says so.
pub(crate) fn push(builder: &mut BatchBuilder, text: &str) {
    let key = key(text).unwrap_or_else(|| origin(text).0).as_bytes();
    let at = Timestamp::from_millis(1_700_000_000_000);
    if is_tombstone(text) {
        builder.push(at, Some(key), None, &[(HEADER, Some(text.as_bytes()))]);
    } else {
        builder.push(at, Some(key), Some(text.as_bytes()), &[]);
    }
}

/// What a record says.
pub(crate) fn of(record: &Record<'_>) -> String {
    let said = record.value.or(record.headers.get(HEADER).flatten());
    let text = String::from_utf8_lossy(said.unwrap_or_default()).into_owned();
    let key = key(&text).unwrap_or_else(|| origin(&text).0);
    assert!(
        record.key == Some(key.as_bytes()) && record.value.is_none() == is_tombstone(&text),
        "{text} has the key {:?}",
        record.key.map(String::from_utf8_lossy)
    );
    text
}
