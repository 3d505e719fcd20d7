//! A broker in memory, for tests and for what may be lost: `cargo run -p broker --example in_memory`.

use broker::{Broker, EmbeddedBroker, Options, Tail, TopicSpec};
use model::Position;
use record::Batches;

/// Writes one record and reads it back.
pub(crate) async fn run() -> Result<String, Box<dyn std::error::Error>> {
    let broker = EmbeddedBroker::open(Options::in_memory())?;
    let topic = TopicSpec::new("orders".parse()?, 1);
    let orders = broker.create_topic(topic).await?.partition(0);
    broker.produce(&orders, b"order 7", b"paid").await?;
    let mut tail = Tail::new(broker.clone(), orders, Position::default())?;
    let mut seen = String::new();
    for batch in Batches::new(tail.next().await?.batches) {
        for record in &batch?.records()? {
            seen.push_str(std::str::from_utf8(record?.value.unwrap_or_default())?);
        }
    }
    broker.shutdown().await?;
    Ok(seen)
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it did")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("order 7 is {}", run().await?);
    Ok(())
}
