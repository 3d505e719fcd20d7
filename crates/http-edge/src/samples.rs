//! The way of a request's samples into the log, which remote write and OTLP share.
//!
//! Once its turn has come, the write goes on though the sender goes away: what waits for the log keeps its place in the line until the
//! log has answered, or senders that hang up at once could put more before the log than the line allows.

use std::panic::resume_unwind;
use std::sync::Arc;

use admission::{Admission, Refused};
use broker::DynBroker;
use ingest::Origin;
use model::Timestamp;
use model::limits::METRICS_TOPIC;
use series::Labels;

use crate::pressure;

/// Samples that take no more are encoded on a thread that serves others.
const ENCODED_HERE: usize = 256 << 10;

/// Series with their samples.
pub(crate) type Series = Vec<(Labels, Vec<(Timestamp, f64)>)>;

/// Why samples are not in the log.
#[derive(Debug)]
pub(crate) enum Unwritten {
    /// Their turn did not come, or a quota is used up.
    Busy(Refused),
    /// The log did not take them.
    Log(broker::Error),
}

/// Writes them for `client`; ready when they are durable. Quotas count what `came`, the line before the log the bytes they
/// take in memory, about.
pub(crate) async fn write(
    broker: &DynBroker,
    admission: &Arc<Admission>,
    client: &str,
    came: usize,
    bytes: usize,
    series: Series,
) -> Result<(), Unwritten> {
    let encode = move || ingest::encode(&series, Origin::Samples);
    let encoded = if bytes <= ENCODED_HERE {
        encode()
    } else {
        let encoded = pressure::aside(admission, client, encode).await;
        encoded.map_err(Unwritten::Busy)?
    };
    // The turn comes second: the line measures the log, and nobody holds a place in it while others encode.
    let cost = u64::try_from(bytes.max(came)).unwrap_or(u64::MAX);
    let permit = pressure::admit(admission, client, METRICS_TOPIC, came, cost)
        .await
        .map_err(Unwritten::Busy)?;
    let broker = Arc::clone(broker);
    let write = tokio::spawn(async move {
        let written = ingest::append(&broker, encoded).await;
        permit.finish(pressure::outcome(&written));
        written
    });
    match write.await {
        Ok(written) => written.map_err(Unwritten::Log),
        Err(failed) if failed.is_panic() => resume_unwind(failed.into_panic()),
        // The runtime ends, and this task with it.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use admission::{Limit, Options};
    use broker::{Drive, EmbeddedBroker};
    use env::{SeededEntropy, SimClock, SimDisk};
    use stdx::ByteSize;
    use test_kit::clock::TokioClock;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    /// Polls, lets tasks run and the log's writer write, in turn.
    async fn drive<T>(broker: &EmbeddedBroker, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        for _ in 0..100 {
            let polled = future
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            if let Poll::Ready(answer) = polled {
                return answer;
            }
            tokio::task::yield_now().await;
            broker.run_round();
        }
        panic!("nobody answers");
    }

    #[tokio::test(start_paused = true)]
    async fn who_hangs_up_leaves_the_line_when_the_log_has_answered() {
        let disk = SimDisk::new(1);
        let options = broker::Options {
            drive: Drive::Manual,
            ..broker::Options::new(
                "/data",
                disk.shared(),
                Arc::new(SimClock::new(NOW)),
                Arc::new(SeededEntropy::new(1)),
            )
        };
        let embedded = EmbeddedBroker::open(options).unwrap();
        let topic = ingest::ensure_metrics_topic(&*embedded, Duration::from_hours(1));
        drive(&embedded, topic).await.unwrap();
        let broker: DynBroker = Arc::<EmbeddedBroker>::clone(&embedded);
        let limit = Limit {
            min: ByteSize::from_kib(64),
            max: ByteSize::from_kib(64),
            ..Limit::default()
        };
        let admission = Admission::new(
            Options {
                limit,
                ..Options::default()
            },
            TokioClock::start(),
        );
        let series = || vec![(Labels::empty(), vec![(NOW, 1.0)])];
        let end = async || {
            let at = model::TopicPartition::new(
                METRICS_TOPIC.parse().unwrap(),
                model::PartitionId::new(0),
            );
            broker.marks(&at).await.unwrap().log_end
        };
        let before = end().await;

        let mut left = Box::pin(write(&broker, &admission, "one", 1, 60_000, series()));
        let polled = left.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        tokio::task::yield_now().await;
        drop(left);
        // Its bytes still wait for the log, so there is no room for others.
        let other = write(&broker, &admission, "two", 1, 60_000, series());
        let refused = tokio::time::timeout(Duration::from_secs(1), other).await;
        assert!(
            matches!(refused, Ok(Err(Unwritten::Busy(_)))),
            "{refused:?}"
        );

        let written = drive(
            &embedded,
            write(&broker, &admission, "two", 1, 60_000, series()),
        );
        written.await.unwrap();
        assert_ne!(end().await, before);
    }
}
