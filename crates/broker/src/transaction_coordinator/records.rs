//! Transactions as records of `lantern.groups`, beside the progress that they settle: their keys, and what is read back
//! (`table`).
//!
//! Invariants: as for groups, the newest record of a key is its value, one without value means that
//! the id is forgotten, other kinds are passed over. Byte layout: `docs/format/transactions.md`.

use std::collections::BTreeMap;

use model::Timestamp;
use record::{BatchBuilder, CheckedBatch, Compression};
use transactions::{Transaction, TransactionalId};

use crate::table::Table;

/// First byte of the key of a transaction.
const KIND: u8 = 32;
const VERSION: u8 = 0;

/// What was found in the topic.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) transactions: BTreeMap<TransactionalId, Transaction>,
}

/// A batch of one record: the state of `id`, or that it is forgotten.
pub(super) fn batch(
    id: &TransactionalId,
    state: Option<&Transaction>,
    now: Timestamp,
) -> CheckedBatch {
    let value = state.map(Transaction::encode);
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(now, Some(&key(id)), value.as_deref(), &[]);
    builder.build()
}

/// ```text
///  0           1             2
/// ┌───────────┬─────────────┬──────────────────────────┐
/// │ kind = 32 │ version = 0 │ transactional id, rest   │
/// └───────────┴─────────────┴──────────────────────────┘
/// ```
fn key(id: &TransactionalId) -> Vec<u8> {
    [&[KIND, VERSION], id.as_str().as_bytes()].concat()
}

impl Table for Loaded {
    fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> bool {
        let [KIND, rest @ ..] = key else {
            return true;
        };
        let id = match rest {
            [VERSION, id @ ..] => std::str::from_utf8(id).ok(),
            _ => None,
        };
        let Some(id) = id.and_then(|id| TransactionalId::new(id).ok()) else {
            return false;
        };
        match value.map(Transaction::decode) {
            None => drop(self.transactions.remove(&id)),
            Some(Some(state)) => drop(self.transactions.insert(id, state)),
            Some(None) => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use transactions::{Begin, Init, Options};

    use super::*;

    #[test]
    fn the_newest_value_of_an_id_counts_and_other_kinds_are_left_alone() {
        let now = Timestamp::from_millis(1);
        let ask = Init {
            timeout: Duration::from_secs(1),
            expected: None,
        };
        let options = Options::default();
        let Ok(Begin::Store(first)) = Transaction::init(None, now, &ask, Some(7), &options) else {
            panic!("nothing is open");
        };
        let Ok(Begin::Store(second)) = Transaction::init(Some(&first), now, &ask, None, &options)
        else {
            panic!("nothing is open");
        };
        let (a, b) = ("a", "b");
        let id = |id| TransactionalId::new(id).unwrap();
        assert_eq!(key(&id("shop")), b"\x20\x00shop");
        let mut loaded = Loaded::default();
        let others = b"\x01\x00\x04shop\x00\x00\x00\x02orders";
        for (key, value) in [
            (key(&id(a)), Some(first.encode())),
            (key(&id(b)), Some(first.encode())),
            (key(&id(a)), Some(second.encode())),
            (key(&id(b)), None),
            (others.to_vec(), Some(vec![7])),
        ] {
            assert!(loaded.apply(&key, value.as_deref()));
        }
        assert!(!loaded.apply(b"\x20\x09a", Some(b"x")));
        assert!(!loaded.apply(b"\x20\x00", None));
        assert!(!loaded.apply(&key(&id(a)), Some(b"x")));
        assert_eq!(loaded.transactions, BTreeMap::from([(id(a), second)]));
    }
}
