//! Brokers for the tests beside this file.

use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use broker::{Broker, Drive, EmbeddedBroker, Options, TopicConfig, TopicSpec};
use env::{DynDisk, SeededEntropy, SimClock};
use model::{PartitionId, Timestamp, TopicName, TopicPartition};
use stdx::ByteSize;

pub(crate) fn clock() -> Arc<SimClock> {
    Arc::new(SimClock::new(Timestamp::from_millis(1_700_000_000_000)))
}

/// Options for `/data` on `disk` with a clock that stands still. No zeros ahead of partitions: files are as long as what
/// is in them, so that a test can count bytes, and fill a disk.
pub(crate) fn options(disk: DynDisk, clock: Arc<SimClock>, seed: u64) -> Options {
    let entropy = Arc::new(SeededEntropy::new(seed));
    Options {
        preallocate_bytes: ByteSize::from_bytes(0),
        ..Options::new(Path::new("/data"), disk, clock, entropy)
    }
}

/// The same, where nothing happens by itself.
pub(crate) fn manual(disk: DynDisk, clock: Arc<SimClock>, seed: u64) -> Options {
    Options {
        drive: Drive::Manual,
        ..options(disk, clock, seed)
    }
}

/// The same, where every partition is flushed by itself.
pub(crate) fn without_journal(disk: DynDisk, clock: Arc<SimClock>, seed: u64) -> Options {
    Options {
        journal_bytes: ByteSize::from_bytes(0),
        ..manual(disk, clock, seed)
    }
}

pub(crate) fn name(topic: &str) -> TopicName {
    topic.parse().unwrap()
}

pub(crate) fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition::new(name(topic), PartitionId::new(partition))
}

pub(crate) fn spec(topic: &str, partitions: u32) -> TopicSpec {
    TopicSpec {
        name: name(topic),
        partitions,
        config: TopicConfig::default(),
    }
}

/// Polls once.
pub(crate) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// The result of a future that is ready when it is first asked, or after rounds of the writer.
#[track_caller]
pub(crate) fn now<F: Future + Unpin>(broker: &EmbeddedBroker, mut future: F) -> F::Output {
    for _ in 0..3 {
        if let Poll::Ready(output) = poll(&mut future) {
            return output;
        }
        broker.run_round();
    }
    panic!("not ready after two rounds of the writer");
}

pub(crate) fn create(broker: &EmbeddedBroker, spec: TopicSpec) {
    now(broker, broker.create_topic(spec)).unwrap();
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);
