//! Transactions as records of `lantern.groups`: their keys, and reading all of them back.
//!
//! Invariants: as for groups, the newest record of a key is its value, one without value means that
//! the id is forgotten, other kinds are passed over. Byte layout: `docs/format/transactions.md`.

use std::collections::BTreeMap;

use model::limits::GROUPS_TOPIC;
use model::{PartitionId, Timestamp, TopicName, TopicPartition};
use record::{BatchBuilder, Batches, CheckedBatch, Compression};
use transactions::{Transaction, TransactionalId};

use crate::{Broker, Error, Place, ReadLimit};

/// First byte of the key of a transaction.
const KIND: u8 = 32;
const VERSION: u8 = 0;

/// Bytes per read while loading.
const READ_BYTES: usize = 1 << 20;

/// What was found in the topic.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) transactions: BTreeMap<TransactionalId, Transaction>,
    /// Records of our kind that are not what we write.
    pub(super) unreadable: u64,
}

/// Where the records are: beside the progress that transactions settle.
pub(super) fn partition() -> TopicPartition {
    let topic = TopicName::new(GROUPS_TOPIC).expect("our own topic names are valid");
    TopicPartition::new(topic, PartitionId::new(0))
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
/// │ kind = 16 │ version = 0 │ transactional id, rest   │
/// └───────────┴─────────────┴──────────────────────────┘
/// ```
fn key(id: &TransactionalId) -> Vec<u8> {
    [&[KIND, VERSION], id.as_str().as_bytes()].concat()
}

/// Reads every transaction from the topic.
pub(super) async fn load(broker: &dyn Broker) -> Result<Loaded, Error> {
    loop {
        match read_all(broker).await {
            // Compaction moved the log's start while we read: its snapshot is complete, read that.
            Err(Error::OutOfRange { .. }) => (),
            answer => return answer,
        }
    }
}

async fn read_all(broker: &dyn Broker) -> Result<Loaded, Error> {
    let partition = partition();
    let mut loaded = Loaded::default();
    let Some(start) = broker.find(&partition, Place::Earliest).await? else {
        return Ok(loaded);
    };
    let mut next = start.position;
    loop {
        let limit = ReadLimit {
            bytes: READ_BYTES,
            at_least_one: true,
        };
        let fetched = match broker.read(&partition, next, limit).await {
            Err(Error::Corrupt {
                until: Some(until), ..
            }) if until > next => {
                loaded.unreadable += 1;
                next = until;
                continue;
            }
            answer => answer?,
        };
        if fetched.batches.is_empty() {
            return Ok(loaded);
        }
        for batch in Batches::new(fetched.batches) {
            let Ok(records) = batch.and_then(|batch| batch.records()) else {
                loaded.unreadable += 1;
                continue;
            };
            for record in records.iter().flatten() {
                loaded.apply(record.key.unwrap_or_default(), record.value);
            }
        }
        next = fetched.next;
    }
}

impl Loaded {
    fn apply(&mut self, key: &[u8], value: Option<&[u8]>) {
        let [KIND, rest @ ..] = key else {
            return;
        };
        let id = match rest {
            [VERSION, id @ ..] => std::str::from_utf8(id).ok(),
            _ => None,
        };
        let Some(id) = id.and_then(|id| TransactionalId::new(id).ok()) else {
            self.unreadable += 1;
            return;
        };
        match value.map(Transaction::decode) {
            None => drop(self.transactions.remove(&id)),
            Some(Some(state)) => drop(self.transactions.insert(id, state)),
            Some(None) => self.unreadable += 1,
        }
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
        loaded.apply(&key(&id(a)), Some(&first.encode()));
        loaded.apply(&key(&id(b)), Some(&first.encode()));
        loaded.apply(&key(&id(a)), Some(&second.encode()));
        loaded.apply(&key(&id(b)), None);
        loaded.apply(b"\x01\x00\x04shop\x00\x00\x00\x02orders", Some(b"x"));
        assert_eq!(loaded.unreadable, 0);
        loaded.apply(b"\x20\x09a", Some(b"x"));
        loaded.apply(b"\x20\x00", None);
        loaded.apply(&key(&id(a)), Some(b"x"));
        assert_eq!(loaded.unreadable, 3);
        assert_eq!(loaded.transactions, BTreeMap::from([(id(a), second)]));
    }
}
