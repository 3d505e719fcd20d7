//! A broker on the disk, whose records outlive the process: `cargo run -p broker --example durable -- DIR`.

use broker::{EmbeddedBroker, Options, TopicSpec, ensure_topic};

/// Writes one more record; answers how many there are now.
pub(crate) async fn run(dir: &str) -> Result<u64, Box<dyn std::error::Error>> {
    let broker = EmbeddedBroker::open(Options::on_disk(dir))?;
    let topic = TopicSpec::new("starts".parse()?, 1);
    let starts = ensure_topic(&*broker, topic).await?.partition(0);
    // Ready when it is flushed to the disk.
    let offset = broker.produce(&starts, b"me", b"started").await?;
    broker.shutdown().await?;
    Ok(offset.get() + 1)
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it did")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args().nth(1).ok_or("name a directory")?;
    println!("started {} times", run(&dir).await?);
    Ok(())
}
