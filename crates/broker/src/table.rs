//! `lantern.groups` as the table it is: coordinators keep their states there and read them back at a start.
//!
//! Invariants: records come in the order of the log; what is damaged is passed over and counted; when compaction moves the
//! log's start meanwhile the reading begins anew, since its snapshot is complete.
//!
//! Not here: what keys and values mean (`coordinator::records`, `transaction_coordinator::records`), and the broker's own
//! replay, which sees the log before there is a broker (`embedded::open`).

use model::limits::GROUPS_TOPIC;
use model::{PartitionId, TopicName, TopicPartition};
use record::{Batches, CheckedBatch};

use crate::{Broker, Error, Place, ReadLimit};

/// Bytes per read.
const READ_BYTES: usize = 1 << 20;

/// Somebody's part of the table.
pub(crate) trait Table: Default {
    /// Takes the newest record of a key so far; without a value its key goes. Answers whether it could be read, or is somebody
    /// else's.
    fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> bool;
}

pub(crate) fn topic() -> TopicName {
    TopicName::new(GROUPS_TOPIC).expect("our own topic names are valid")
}

pub(crate) fn partition() -> TopicPartition {
    TopicPartition::new(topic(), PartitionId::new(0))
}

/// Reads all of it; answers also how many records or batches could not be read.
pub(crate) async fn read<T: Table>(broker: &dyn Broker) -> Result<(T, u64), Error> {
    loop {
        match read_all(broker).await {
            Err(Error::OutOfRange { .. }) => (),
            answer => return answer,
        }
    }
}

async fn read_all<T: Table>(broker: &dyn Broker) -> Result<(T, u64), Error> {
    let partition = partition();
    let (mut table, mut unreadable) = (T::default(), 0);
    let Some(start) = broker.find(&partition, Place::Earliest).await? else {
        return Ok((table, unreadable));
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
                unreadable += 1;
                next = until;
                continue;
            }
            answer => answer?,
        };
        if fetched.batches.is_empty() {
            return Ok((table, unreadable));
        }
        for batch in Batches::new(fetched.batches) {
            unreadable += batch.map_or(1, |batch| apply(&mut table, &batch));
        }
        next = fetched.next;
    }
}

/// Applies one batch; answers how much of it could not be read.
fn apply<T: Table>(table: &mut T, batch: &CheckedBatch) -> u64 {
    let Ok(records) = batch.records() else {
        return 1;
    };
    let mut unreadable = 0;
    for record in &records {
        let read =
            record.is_ok_and(|record| table.apply(record.key.unwrap_or_default(), record.value));
        unreadable += u64::from(!read);
    }
    unreadable
}
