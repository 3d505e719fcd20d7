//! A typed listener over a broker on the disk, which goes on where it stopped: `cargo run -p dispatch --example durable -- DIR`.

use std::path::Path;
use std::sync::Arc;

use broker::{Broker, Durability, EmbeddedBroker, Options, TopicConfig, TopicSpec, ensure_topic};
use dispatch::{Inputs, Listener, ListenerFile, Service, typed};
use model::{PartitionId, TopicPartition};
use record::{BatchBuilder, Compression};

type Error = Box<dyn std::error::Error>;

#[derive(serde::Deserialize)]
struct Order {
    id: u64,
}

/// Appends one order; answers the one that the listener got.
pub(crate) async fn run(dir: &Path) -> Result<u64, Error> {
    let clock: env::DynClock = Arc::new(env::RealClock::new());
    let entropy = Arc::new(env::RealEntropy);
    let disk = env::RealDisk::shared();
    let broker = EmbeddedBroker::open(Options::new(dir, disk, clock.clone(), entropy.clone()))?;
    let orders = TopicPartition::new("orders".parse()?, PartitionId::new(0));
    let (name, config) = (orders.topic.clone(), TopicConfig::default());
    ensure_topic(
        &*broker,
        TopicSpec {
            name,
            partitions: 1,
            config,
        },
    )
    .await?;

    let (paid, mut all_paid) = tokio::sync::mpsc::channel(16);
    let listener = typed(move |order: Order, _| {
        let paid = paid.clone();
        async move { paid.send(order.id).await }
    });
    let listener: Arc<dyn Listener> = Arc::new(listener);
    let native = [("pay".to_owned(), listener)].into();
    let (healing, memory) = Default::default();
    let service = Service::new(Inputs {
        broker: broker.clone(),
        clock: clock.clone(),
        entropy,
        healing,
        memory,
        native,
    });
    let text = "{apiVersion: lantern/v1, kind: Listener, metadata: {name: pay}, \
                spec: {topics: orders, native: pay, from: earliest}}";
    let file = ListenerFile {
        path: "pay.yaml".into(),
        text: text.to_owned(),
    };
    service
        .handle()
        .apply(&[file])
        .map_err(|problems| problems[0].clone())?;
    let stop = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(service.run(stop.clone()));

    let mut batch = BatchBuilder::new(Compression::None);
    batch.push(clock.now(), Some(b"7"), Some(br#"{"id": 7}"#), &[]);
    broker
        .append(&orders, vec![batch.build()], Durability::Flushed)
        .await?;
    let id = all_paid.recv().await.ok_or("the listener is gone")?;
    // What it took is stored when it has stopped.
    stop.cancel();
    running.await?;
    broker.shutdown().await?;
    Ok(id)
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it did")]
async fn main() -> Result<(), Error> {
    let dir = std::env::args().nth(1).ok_or("name a directory")?;
    println!("paid: {}", run(Path::new(&dir)).await?);
    Ok(())
}
