//! What groups have done so far, read from their topic.

use std::sync::Arc;

use model::limits::GROUPS_TOPIC;
use model::{Offset, TopicName};

use crate::embedded::errors::OpenError;
use crate::embedded::partition::Partition;
use crate::embedded::progress::Progress;
use crate::embedded::report::RecoveryReport;
use crate::embedded::topics::Topics;
use crate::embedded::{events, groups};
use crate::{Error, ReadLimit};

/// Bytes read at once when group progress is replayed.
const REPLAY_BYTES: usize = 1 << 20;

pub(super) fn groups_partition(topics: &Topics) -> Result<Arc<Partition>, OpenError> {
    let name = TopicName::new(GROUPS_TOPIC).expect("the name is one of ours");
    let topic = topics.live.get(&name);
    let partition = topic.and_then(|topic| topic.partitions.first()).cloned();
    partition.ok_or(OpenError::Groups {
        source: Error::UnknownTopic { topic: name },
    })
}

/// Reads the whole topic of the groups into memory, and passes over damage: of what is lost there the
/// records before it count, and groups read again what they had done since.
pub(super) fn replay(
    partition: &Partition,
    progress: &mut Progress,
    report: &mut RecoveryReport,
) -> Result<(), Error> {
    let mut from = partition.log_start();
    let mut unreadable = 0;
    let limit = ReadLimit {
        bytes: REPLAY_BYTES,
        at_least_one: true,
    };
    while from < partition.readable() {
        let bytes = match partition.read(from, limit, partition.readable()) {
            Ok(bytes) => bytes,
            Err(error) => {
                let Some(until) = readable_behind(&error, from) else {
                    return Err(error);
                };
                events::groups_damaged(&error);
                report.groups_damaged.push(error.to_string().into());
                from = until;
                continue;
            }
        };
        let before = from;
        for batch in record::Batches::new(bytes) {
            let batch = batch.map_err(|error| partition.corrupt(&error))?;
            unreadable += groups::apply_batch(progress, &batch);
            from = batch.last_offset().next();
        }
        if from == before {
            break;
        }
    }
    if unreadable > 0 {
        events::group_record_unreadable(unreadable);
    }
    Ok(())
}

/// Where reading goes on behind damage found at `from`.
fn readable_behind(error: &Error, from: Offset) -> Option<Offset> {
    let Error::Corrupt { until, .. } = error else {
        return None;
    };
    let until = u64::try_from((*until)?.bits()).ok().map(Offset::new)?;
    (until > from).then_some(until)
}
