//! A broker on the disk, whose records outlive the process: `cargo run -p broker --example durable -- DIR`.

use std::path::Path;
use std::sync::Arc;

use broker::{Broker, Durability, EmbeddedBroker, Options, TopicConfig, TopicSpec, ensure_topic};
use model::{PartitionId, TopicPartition};
use record::{BatchBuilder, Compression};

type Error = Box<dyn std::error::Error>;

/// Writes one more record; answers how many there are now.
pub(crate) async fn run(dir: &Path) -> Result<u64, Error> {
    let clock: env::DynClock = Arc::new(env::RealClock::new());
    let (disk, entropy) = (env::RealDisk::shared(), Arc::new(env::RealEntropy));
    let broker = EmbeddedBroker::open(Options::new(dir, disk, Arc::clone(&clock), entropy))?;
    let starts = TopicPartition::new("starts".parse()?, PartitionId::new(0));
    let (name, config) = (starts.topic.clone(), TopicConfig::default());
    let spec = TopicSpec {
        name,
        partitions: 1,
        config,
    };
    ensure_topic(&*broker, spec).await?;
    let mut batch = BatchBuilder::new(Compression::None);
    batch.push(clock.now(), None, Some(b"started"), &[]);
    // Ready when it is flushed to the disk.
    let appended = broker
        .append(&starts, vec![batch.build()], Durability::Flushed)
        .await?;
    broker.shutdown().await?;
    Ok(appended.base_offset.get() + 1)
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it did")]
async fn main() -> Result<(), Error> {
    let dir = std::env::args().nth(1).ok_or("name a directory")?;
    println!("started {} times", run(Path::new(&dir)).await?);
    Ok(())
}
