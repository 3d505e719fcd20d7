//! The suite of `test-kit` on the embedded broker: on the machine's disk, where a kill drops the
//! broker without a shutdown, and on the simulated disk, where it is a power cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use broker::{DynBroker, EmbeddedBroker, Options};
use env::{RealClock, RealDisk, RealEntropy, SimDisk};
use test_kit::broker::BrokerHarness;

use crate::support;

struct OnRealDisk {
    dir: tempfile::TempDir,
    broker: Option<Arc<EmbeddedBroker>>,
}

impl OnRealDisk {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            broker: None,
        }
    }
}

impl BrokerHarness for OnRealDisk {
    fn open(&mut self) -> DynBroker {
        let options = Options::new(
            self.dir.path().join("data"),
            RealDisk::shared(),
            Arc::new(RealClock::new()),
            Arc::new(RealEntropy),
        );
        let broker = EmbeddedBroker::open(options).unwrap();
        self.broker = Some(Arc::clone(&broker));
        broker
    }

    async fn stop(&mut self) {
        let broker = self.broker.take().unwrap();
        broker.shutdown().await.unwrap();
    }

    async fn kill(&mut self) {
        let broker = self.broker.take().unwrap();
        assert_eq!(
            Arc::strong_count(&broker),
            1,
            "the suite dropped its handles"
        );
    }
}

mod on_the_real_disk {
    test_kit::broker_conformance!(super::OnRealDisk::new());
}

struct OnSimDisk {
    disk: SimDisk,
    clock: Arc<env::SimClock>,
    broker: Option<Arc<EmbeddedBroker>>,
    opened: u64,
}

/// Every harness crashes in another way, always the same for the same order of tests.
static SEED: AtomicU64 = AtomicU64::new(1);

impl OnSimDisk {
    fn new() -> Self {
        Self {
            disk: SimDisk::new(SEED.fetch_add(1, Ordering::Relaxed)),
            clock: support::clock(),
            broker: None,
            opened: 0,
        }
    }
}

impl BrokerHarness for OnSimDisk {
    fn open(&mut self) -> DynBroker {
        self.opened += 1;
        let clock = Arc::clone(&self.clock);
        let options = support::options(self.disk.shared(), clock, self.opened);
        let broker = EmbeddedBroker::open(options).unwrap();
        self.broker = Some(Arc::clone(&broker));
        broker
    }

    async fn stop(&mut self) {
        let broker = self.broker.take().unwrap();
        broker.shutdown().await.unwrap();
    }

    async fn kill(&mut self) {
        // First the disk, so that nothing the broker does while it is dropped reaches it.
        self.disk.crash();
        self.broker = None;
    }
}

mod on_a_simulated_disk {
    test_kit::broker_conformance!(super::OnSimDisk::new());
}
