//! Flushes that nobody waits for: a disk that takes its time over them holds nobody up.

use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, Drive, Durability, EmbeddedBroker, Options, ReadLimit};
use env::{RealClock, SeededEntropy};
use model::Offset;
use test_kit::batches::batch;

use crate::gate::{Gate, PATIENCE};
use crate::support::{at, spec};

/// Together more than is left lying unflushed, which is 8 MiB.
const PIECES: u64 = 24;
const PIECE_BYTES: usize = 512 << 10;

/// A topic that is acknowledged from the page cache, on a disk behind the gate.
async fn topic(gate: &Arc<Gate>, lazy_flush: Duration) -> Arc<EmbeddedBroker> {
    let slow = gate.before(|path| path.extension().is_some_and(|end| end == "log"));
    let clock = Arc::new(RealClock::new());
    let options = Options {
        drive: Drive::Threads,
        lazy_flush,
        ..Options::new("/data", slow, clock, Arc::new(SeededEntropy::new(1)))
    };
    let broker = EmbeddedBroker::open(options).unwrap();
    let mut spec = spec("ticks", 1);
    spec.config
        .set("lantern.durability", Some("written"))
        .unwrap();
    broker.create_topic(spec).await.unwrap();
    broker
}

async fn append(broker: &EmbeddedBroker, value: &str) -> Offset {
    let to = at("ticks", 0);
    let append = broker.append(&to, vec![batch([value])], Durability::Written);
    let appended = tokio::time::timeout(PATIENCE, append).await;
    appended.expect("it is held up").unwrap().base_offset
}

async fn goes_on(broker: &EmbeddedBroker, gate: &Gate, written: u64) {
    gate.somebody_waits();
    for number in 0..100 {
        assert_eq!(append(broker, "tick").await.get(), written + number);
    }
    let limit = ReadLimit {
        bytes: 1 << 20,
        at_least_one: true,
    };
    let from = Offset::new(written).into();
    let read = broker.read(&at("ticks", 0), from, limit).await.unwrap();
    assert!(!read.batches.to_vec().is_empty(), "readers see it, too");
}

#[tokio::test]
async fn a_flush_that_takes_long_holds_up_no_producer_and_no_reader() {
    let gate = Arc::new(Gate::default());
    let broker = topic(&gate, Duration::from_millis(1)).await;
    let closed = gate.close();
    append(&broker, "tick").await;
    goes_on(&broker, &gate, 1).await;
    drop(closed);
    broker.shutdown().await.unwrap();
}

#[tokio::test]
async fn much_is_flushed_before_its_time() {
    let gate = Arc::new(Gate::default());
    let never = Duration::from_hours(1);
    let broker = topic(&gate, never).await;
    let closed = gate.close();
    let value = "v".repeat(PIECE_BYTES);
    for _ in 0..PIECES {
        append(&broker, &value).await;
    }
    goes_on(&broker, &gate, PIECES).await;
    drop(closed);
    broker.shutdown().await.unwrap();
}

#[tokio::test]
async fn while_old_records_go_the_first_that_is_named_can_be_read() {
    let gate = Arc::new(Gate::default());
    let named = |path: &std::path::Path| path.to_string_lossy().contains("checkpoint");
    let clock = Arc::new(RealClock::new());
    let options = Options {
        drive: Drive::Threads,
        ..Options::new(
            "/data",
            gate.before(named),
            clock,
            Arc::new(SeededEntropy::new(1)),
        )
    };
    let broker = EmbeddedBroker::open(options).unwrap();
    broker.create_topic(spec("ticks", 1)).await.unwrap();
    let of = at("ticks", 0);
    for _ in 0..10 {
        let append = broker.append(&of, vec![batch(["tick"])], Durability::Flushed);
        append.await.unwrap();
    }
    let closed = gate.close();
    let mut removing = tokio::spawn({
        let (broker, of) = (Arc::clone(&broker), of.clone());
        async move { broker.delete_records(&of, Offset::new(5).into()).await }
    });
    let waits = Arc::clone(&gate);
    tokio::select! {
        waited = tokio::task::spawn_blocking(move || waits.somebody_waits()) => waited.unwrap(),
        removed = &mut removing => panic!("{removed:?} without a checkpoint"),
    }
    let first = broker.marks(&of).await.unwrap().log_start;
    let limit = ReadLimit {
        bytes: 1 << 20,
        at_least_one: true,
    };
    let read = broker.read(&of, first, limit).await.unwrap();
    assert!(!read.batches.to_vec().is_empty());
    drop(closed);
    assert_eq!(removing.await.unwrap().unwrap(), Offset::new(5).into());
    assert_eq!(
        broker.marks(&of).await.unwrap().log_start,
        Offset::new(5).into()
    );
    broker.shutdown().await.unwrap();
}
