//! The endpoint alone over an embedded broker, for trying clients without the whole of Lantern.
//!
//! ```text
//! cargo run -p kafka-edge --example serve -- 127.0.0.1:9092 ./lantern-data
//! ```
//!
//! A third argument is the `host:port` to advertise, for trying it behind something that listens in.
//! Prints the address when it listens; Ctrl-C drains and ends.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use broker::{CoordinatorOptions, DynBroker, EmbeddedBroker, GroupCoordinator};
use broker::{TransactionCoordinator, TransactionOptions};
use env::{DynClock, DynDisk, DynEntropy, RealClock, RealDisk, RealEntropy};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let mut args = std::env::args().skip(1);
    let listen = args
        .next()
        .unwrap_or_else(|| "127.0.0.1:9092".to_owned())
        .parse()?;
    let data = args.next().unwrap_or_else(|| "./lantern-data".to_owned());

    let disk: DynDisk = Arc::new(RealDisk::new());
    let clock: DynClock = Arc::new(RealClock::new());
    let entropy: DynEntropy = Arc::new(RealEntropy);
    let options = broker::Options::new(data, disk, clock.clone(), entropy.clone());
    let embedded = EmbeddedBroker::open(options)?;
    let broker: DynBroker = embedded.clone();

    let stop = CancellationToken::new();
    let groups = GroupCoordinator::new(
        broker.clone(),
        clock.clone(),
        entropy,
        CoordinatorOptions::default(),
    );
    let coordinating = tokio::spawn(Arc::clone(&groups).run(stop.clone()));

    let advertised = args.next().map(|address| address.parse()).transpose()?;
    let options = kafka_edge::Options {
        listen,
        advertised,
        ..kafka_edge::Options::default()
    };
    let transactions =
        TransactionCoordinator::new(broker.clone(), clock.clone(), TransactionOptions::default());
    tokio::spawn(Arc::clone(&transactions).run(stop.clone()));
    let mut service =
        kafka_edge::Service::new(options, broker, groups, clock)?.with_transactions(transactions);
    let address = service.bind().await?;
    writeln!(std::io::stdout(), "{address}")?;
    let serving = tokio::spawn(service.run(stop.clone()));

    tokio::signal::ctrl_c().await?;
    stop.cancel();
    serving.await??;
    coordinating.await?;
    embedded.shutdown().await?;
    Ok(())
}
