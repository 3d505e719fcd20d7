//! A Kafka endpoint on a free port that can be killed and started again on the same data.

use std::net::SocketAddr;
use std::sync::Arc;

use broker::{CoordinatorOptions, DynBroker, EmbeddedBroker, GroupCoordinator};
use env::{DynClock, DynEntropy, RealClock, RealEntropy, SimDisk};
use kafka_edge::{Options, Service};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) broker: Arc<EmbeddedBroker>,
    disk: SimDisk,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), kafka_edge::Error>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::open(SimDisk::new(1), SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    async fn open(disk: SimDisk, listen: SocketAddr) -> Self {
        let clock: DynClock = Arc::new(RealClock::new());
        let entropy: DynEntropy = Arc::new(RealEntropy);
        let options = broker::Options::new("/data", disk.shared(), clock.clone(), entropy.clone());
        let embedded = EmbeddedBroker::open(options).unwrap();
        let broker: DynBroker = embedded.clone();
        let groups = CoordinatorOptions::default();
        let groups = GroupCoordinator::new(broker.clone(), clock.clone(), entropy, groups);
        let options = Options {
            listen,
            drain: std::time::Duration::ZERO,
            ..Options::default()
        };
        let mut service = Service::new(options, broker, groups, clock).unwrap();
        let address = service.bind().await.unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(service.run(stop.clone()));
        Self {
            address,
            broker: embedded,
            disk,
            stop,
            serving,
        }
    }

    /// Ends every connection at once and opens the data again at the same address.
    pub(crate) async fn restart(self) -> Self {
        self.stop.cancel();
        self.serving.await.unwrap().unwrap();
        self.broker.shutdown().await.unwrap();
        drop(self.broker);
        Self::open(self.disk, self.address).await
    }
}
