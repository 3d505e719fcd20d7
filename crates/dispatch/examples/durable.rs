//! A typed listener over a broker on the disk, which goes on where it stopped: `cargo run -p dispatch --example durable`.
//! The data are in `./orders-data`.

use std::future::ready;

use broker::{EmbeddedBroker, Options, TopicSpec, ensure_topic};
use dispatch::{Inputs, ListenerFile, Service, typed};

#[derive(serde::Deserialize)]
struct Order {
    id: u64,
}

/// Appends one order; answers the one that the listener got. Its progress is stored when it has stopped.
pub(crate) async fn run(dir: &str) -> Result<u64, Box<dyn std::error::Error>> {
    let broker = EmbeddedBroker::open(Options::on_disk(dir))?;
    let topic = TopicSpec::new("orders".parse()?, 1);
    let orders = ensure_topic(&*broker, topic).await?.partition(0);
    let (paid, mut all_paid) = tokio::sync::mpsc::channel(16);
    let pay = typed(move |order: Order, _| ready(paid.try_send(order.id)));
    let service = Service::new(Inputs::new(broker.clone()).with_native("pay", pay));
    let listener = ListenerFile::of("pay", "{topics: orders, native: pay, from: earliest}");
    service.handle().apply(&[listener])?;
    let stop = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(service.run(stop.clone()));
    broker.produce(&orders, b"7", br#"{"id": 7}"#).await?;
    let id = all_paid.recv().await.ok_or("the listener is gone")?;
    stop.cancel();
    running.await?;
    broker.shutdown().await?;
    Ok(id)
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it did")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    run("orders-data").await.map(|id| println!("paid: {id}"))
}
