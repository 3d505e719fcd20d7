//! Listens, starts a task per connection, and ends them.
//!
//! Invariants: at most `connections_max` connections; a panic in one ends only that one and is
//! counted; after `drain` nothing is left running. Not here: what a connection does (`connection`).

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use admission::Admission;
use broker::coordinator::GroupCoordinator;
use broker::{DynBroker, TransactionCoordinator};
use env::DynClock;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::connection::Connection;
use crate::context::Shared;
use crate::events::{Panicked, TooMany};
use crate::metrics::{Memory, Metrics};
use crate::{Error, Options};

/// How long to wait before accepting again when the machine has no more files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The Kafka endpoint.
#[derive(Debug)]
pub struct Service {
    shared: Arc<Shared>,
    listener: Option<TcpListener>,
}

impl Service {
    /// An endpoint for `broker`, not yet listening.
    ///
    /// # Errors
    /// [`Error::Options`], [`Error::NoOffsets`].
    pub fn new(
        options: Options,
        broker: DynBroker,
        groups: Arc<GroupCoordinator>,
        clock: DynClock,
    ) -> Result<Self, Error> {
        let problems = options.validate();
        if !problems.is_empty() {
            return Err(Error::Options { problems });
        }
        if !broker.capabilities().positions_are_offsets {
            return Err(Error::NoOffsets);
        }
        Ok(Self {
            shared: Arc::new(Shared::new(options, broker, groups, clock)),
            listener: None,
        })
    }

    /// Asks `admission` who may send how much, instead of one of its own with the default limit and no quotas.
    #[must_use]
    pub fn with_admission(mut self, admission: Arc<Admission>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.admission = admission;
        }
        self
    }

    /// Serves transactions too, coordinated by `transactions`. Without this they are refused.
    #[must_use]
    pub fn with_transactions(self, transactions: Arc<TransactionCoordinator>) -> Self {
        // A second one would be a mistake of the caller's; the first stays.
        let _first = self.shared.transactions.set(transactions);
        self
    }

    /// Adds the endpoint's numbers, `lantern_kafka_edge_*`, to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let memory = Memory {
            requests: self.shared.requests.clone(),
            answers: self.shared.answers.clone(),
        };
        self.shared.metrics.register(registry, memory);
    }

    /// Listens and answers where. Connections are accepted by [`Service::run`]; until then clients
    /// wait in the backlog.
    ///
    /// # Errors
    /// [`Error::AddressTaken`], [`Error::Listen`].
    pub async fn bind(&mut self) -> Result<SocketAddr, Error> {
        let address = self.shared.options.listen;
        let failed = |source: std::io::Error| {
            if source.kind() == ErrorKind::AddrInUse {
                Error::AddressTaken { address }
            } else {
                Error::Listen { address, source }
            }
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        self.listener = Some(listener);
        info!(address = %local, "Listening for Kafka clients.");
        Ok(local)
    }

    /// Serves until `stop`, then gives requests in progress the drain time.
    ///
    /// # Errors
    /// [`Error::NotBound`].
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let Some(listener) = self.listener else {
            return Err(Error::NotBound);
        };
        let shared = self.shared;
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = tasks.join_next() => reap(&shared.metrics, ended),
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => admit(&shared, &mut tasks, stream, peer, &stop),
                    Err(error) => {
                        warn!(%error, "Cannot accept a Kafka connection; trying again shortly.");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        let drained = tokio::time::timeout(shared.options.drain, async {
            while let Some(ended) = tasks.join_next().await {
                reap(&shared.metrics, ended);
            }
        });
        if drained.await.is_err() {
            warn!(
                connections = tasks.len(),
                "Kafka connections did not finish in time; closed."
            );
            tasks.shutdown().await;
        }
        Ok(())
    }
}

fn admit(
    shared: &Arc<Shared>,
    tasks: &mut JoinSet<()>,
    stream: TcpStream,
    peer: SocketAddr,
    stop: &CancellationToken,
) {
    let limit = shared.options.connections_max;
    if tasks.len() >= limit {
        TooMany { peer, limit }.happened(&shared.metrics);
        return;
    }
    shared.metrics.accepted.inc();
    shared.metrics.connections.inc();
    let connection = Connection::new(Arc::clone(shared), stream, peer, stop.clone());
    tasks.spawn(connection.run());
}

fn reap(metrics: &Metrics, ended: Result<(), JoinError>) {
    metrics.connections.dec();
    match ended {
        Err(error) if error.is_panic() => {
            let reason = match error.into_panic().downcast::<String>() {
                Ok(text) => *text,
                Err(other) => other
                    .downcast::<&'static str>()
                    .map_or_else(|_| "unknown".to_owned(), |text| (*text).to_owned()),
            };
            Panicked { reason }.happened(metrics);
        }
        Ok(()) | Err(_) => (),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_that_panics_is_counted_and_the_others_go_on() {
        let metrics = Metrics::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(async { panic!("a mistake of ours") });
        tasks.spawn(async { tokio::task::yield_now().await });
        while let Some(ended) = tasks.join_next().await {
            reap(&metrics, ended);
        }
        assert_eq!(metrics.panics.get(), 1);
        assert_eq!(metrics.connections.get(), -2, "both places are free again");
    }
}
