//! What every broker must do: one async function per promise of [`Broker`].
//!
//! Not here: what one implementation promises beyond the trait (bounds of its queue, its files).

mod following;
mod groups;
mod idempotence;
mod reading;
mod topics;
mod transactions;

use broker::{
    Broker, Commit, Durability, DynBroker, Fetched, Marks, ReadLimit, TopicConfig, TopicInfo,
    TopicSpec,
};
use model::{GroupId, Offset, PartitionId, Position, TopicName, TopicPartition};
use std::sync::Arc;

use crate::batches::{batch, records};
use crate::within;

pub use following::*;
pub use groups::*;
pub use idempotence::*;
pub use reading::*;
pub use topics::*;
pub use transactions::*;

/// How the suite starts and ends a broker. One harness is one set of data; a new one is fresh.
pub trait BrokerHarness: Send {
    /// Opens the broker on the data there is.
    fn open(&mut self) -> DynBroker;

    /// Ends it in order. The suite dropped every handle it had.
    fn stop(&mut self) -> impl Future<Output = ()>;

    /// Ends it as a crash of the machine would, or as near as the harness can come: what was not
    /// acknowledged as flushed may be lost.
    fn kill(&mut self) -> impl Future<Output = ()>;
}

/// One test per case of the suite, each on a fresh harness made by the expression.
#[macro_export]
macro_rules! broker_conformance {
    ($make:expr) => {
        $crate::broker_conformance!(
            @cases $make,
            a_topic_is_created_listed_and_found,
            a_topic_cannot_be_created_twice,
            a_deleted_topic_is_gone_and_its_name_is_free,
            partitions_grow_and_do_not_shrink,
            configuration_is_checked_replaced_and_kept,
            topics_and_ids_survive_stop_and_crash,
            unknown_places_are_named_in_the_error,
            offsets_have_no_gaps_and_order_is_kept,
            many_batches_in_one_append_are_all_there,
            a_batch_above_the_limit_is_refused,
            log_append_time_is_the_brokers,
            reads_keep_their_limit_and_return_whole_batches,
            one_batch_comes_whatever_its_size_when_asked,
            a_read_outside_the_log_is_refused,
            a_read_at_the_end_is_empty,
            a_read_inside_a_batch_returns_the_whole_batch,
            a_watch_wakes_when_more_is_readable,
            a_tail_sees_everything_once_and_in_order,
            a_tail_ends_when_its_topic_is_deleted,
            followers_of_any_pace_see_everything_once_and_in_order,
            what_followers_saw_is_what_stays_after_kills,
            places_are_found_by_meaning,
            deleted_records_are_out_of_range,
            acknowledged_records_survive_crashes,
            concurrent_producers_keep_their_own_order,
            partitions_do_not_mix,
            a_retry_answers_with_the_first_offset,
            a_retry_is_known_after_a_crash,
            a_gap_in_the_sequence_is_refused,
            an_old_epoch_is_fenced,
            producer_ids_are_never_given_twice,
            progress_is_kept_per_group_and_partition,
            progress_survives_stop_and_crash,
            forgotten_progress_stays_forgotten,
            progress_of_a_deleted_topic_is_forgotten,
            a_transaction_is_seen_when_it_is_committed,
            nobody_writes_into_a_transaction_uninvited,
            staged_progress_counts_when_it_is_settled,
        );
    };
    (@cases $make:expr, $($case:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::broker::$case($make).await;
            }
        )+
    };
}

pub(crate) fn name(topic: &str) -> TopicName {
    topic.parse().unwrap()
}

pub(crate) fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition::new(name(topic), PartitionId::new(partition))
}

pub(crate) fn group(id: &str) -> GroupId {
    GroupId::new(id).unwrap()
}

pub(crate) fn position(offset: u64) -> Position {
    Offset::new(offset).into()
}

pub(crate) fn spec(topic: &str, partitions: u32) -> TopicSpec {
    TopicSpec {
        name: name(topic),
        partitions,
        config: TopicConfig::default(),
    }
}

pub(crate) async fn create(broker: &dyn Broker, topic: &str, partitions: u32) -> Arc<TopicInfo> {
    within(broker.create_topic(spec(topic, partitions)))
        .await
        .unwrap()
}

/// Appends one batch of these values, flushed; answers the offset of the first.
pub(crate) async fn append<V: AsRef<[u8]>>(
    broker: &dyn Broker,
    to: &TopicPartition,
    values: impl IntoIterator<Item = V>,
) -> u64 {
    let batches = vec![batch(values)];
    let appended = within(broker.append(to, batches, Durability::Flushed)).await;
    appended.unwrap().base_offset.get()
}

/// Reads with much room.
pub(crate) async fn read(broker: &dyn Broker, of: &TopicPartition, from: u64) -> Fetched {
    read_limited(broker, of, from, 1 << 20, true).await
}

pub(crate) async fn read_limited(
    broker: &dyn Broker,
    of: &TopicPartition,
    from: u64,
    bytes: usize,
    at_least_one: bool,
) -> Fetched {
    let limit = ReadLimit {
        bytes,
        at_least_one,
    };
    within(broker.read(of, position(from), limit))
        .await
        .unwrap()
}

/// Every record from `from` to the high watermark.
pub(crate) async fn read_all(
    broker: &dyn Broker,
    of: &TopicPartition,
    from: u64,
) -> Vec<(Offset, String)> {
    let mut all = Vec::new();
    let mut next = from;
    loop {
        let fetched = read(broker, of, next).await;
        if fetched.batches.is_empty() {
            return all;
        }
        all.extend(records(&fetched.batches));
        next = u64::try_from(fetched.next.bits()).unwrap();
    }
}

pub(crate) async fn marks(broker: &dyn Broker, of: &TopicPartition) -> Marks {
    within(broker.marks(of)).await.unwrap()
}

pub(crate) fn commit(offset: u64, metadata: &str) -> Commit {
    Commit {
        position: position(offset),
        leader_epoch: Some(3),
        metadata: metadata.to_owned(),
        at: crate::batches::WHEN,
    }
}
