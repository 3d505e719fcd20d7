//! A broker in memory, for tests and for what may be lost: `cargo run -p broker --example in_memory`.

use std::sync::Arc;

use broker::{Broker, Durability, EmbeddedBroker, Options, Tail, TopicConfig, TopicSpec};
use model::{PartitionId, Position, TopicPartition};
use record::{BatchBuilder, Batches, Compression};

type Error = Box<dyn std::error::Error>;

/// Writes one record and reads it back.
pub(crate) async fn run() -> Result<String, Error> {
    let clock: env::DynClock = Arc::new(env::RealClock::new());
    let (disk, entropy) = (env::SimDisk::new(1).shared(), Arc::new(env::RealEntropy));
    let broker = EmbeddedBroker::open(Options::new("/data", disk, Arc::clone(&clock), entropy))?;
    let orders = TopicPartition::new("orders".parse()?, PartitionId::new(0));
    let (name, config) = (orders.topic.clone(), TopicConfig::default());
    let spec = TopicSpec {
        name,
        partitions: 1,
        config,
    };
    broker.create_topic(spec).await?;
    let mut batch = BatchBuilder::new(Compression::None);
    batch.push(clock.now(), Some(b"order 7"), Some(b"paid"), &[]);
    broker
        .append(&orders, vec![batch.build()], Durability::Flushed)
        .await?;
    let fetched = Tail::new(broker.clone(), orders, Position::default())?
        .next()
        .await?;
    let mut seen = String::new();
    for record in &Batches::new(fetched.batches)
        .next()
        .ok_or("a batch")??
        .records()?
    {
        seen.push_str(std::str::from_utf8(record?.value.unwrap_or_default())?);
    }
    broker.shutdown().await?;
    Ok(seen)
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it did")]
async fn main() -> Result<(), Error> {
    println!("order 7 is {}", run().await?);
    Ok(())
}
