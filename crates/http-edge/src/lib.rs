//! The HTTP endpoint: Prometheus' query API, remote write, OTLP (HTTP and gRPC), rules and alerts, boards
//! and their streams, the web page, metrics and health.
//!
//! Read first: [`Service`], [`Parts`] (what the routes need), then one module per family of routes.
//!
//! Invariants: request bodies, connections and queries under way are bounded; a route only translates
//! between HTTP and a service below, it decides nothing; nothing here waits for a slow viewer.
//! Not here: evaluation (`promql`), rules (`alerting`), frames (`board`).

mod boards;
mod bodies;
mod delays;
mod error;
mod files;
mod health;
mod listeners;
mod missing;
mod origin;
mod otlp;
mod params;
mod pressure;
mod query;
mod rules;
mod samples;
mod server;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use admission::Admission;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use broker::DynBroker;
use env::DynClock;
use series::Store;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

pub use bodies::Bodies;

/// Largest body of a request that is no remote write: a form.
const FORM_BYTES_MAX: usize = 1 << 20;

/// What a reload answers: the problems as text, ready to print.
pub type Reloaded = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// What the routes need from the services below.
pub struct Parts {
    /// The samples.
    pub store: Arc<Store>,
    /// Where remote write goes.
    pub broker: DynBroker,
    /// Who may write how much.
    pub admission: Arc<Admission>,
    /// The time of queries that name none.
    pub clock: DynClock,
    /// Rules and alerts.
    pub alerting: alerting::Handle,
    /// Boards.
    pub boards: board::Handle,
    /// Listeners and dead letters.
    pub listeners: dispatch::Handle,
    /// Renders everything Lantern counts as OpenMetrics text.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// Reads rules and resources again.
    pub reload: Box<dyn Fn() -> Reloaded + Send + Sync>,
    /// Turns true when everything answers.
    pub ready: watch::Receiver<bool>,
    /// The effective configuration by flag.
    pub flags: BTreeMap<String, String>,
    /// Room for the bodies of requests that write.
    pub bodies: Bodies,
    /// Turns for queries; see [`Parts::query_turns`].
    pub query_turns: Arc<Semaphore>,
    /// Ends the streams of viewers on shutdown.
    pub closing: CancellationToken,
}

impl Parts {
    /// Turns for as many queries as may run at once.
    pub fn query_turns() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(query::QUERIES_MAX))
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

/// Why the endpoint cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something else listens there.
    #[error("{address} is in use by another program")]
    AddressTaken {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen for HTTP on {address}: {source}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
}

/// The HTTP endpoint, bound to its address.
#[derive(Debug)]
pub struct Service {
    listener: TcpListener,
    address: SocketAddr,
}

impl Service {
    /// Takes the address; port 0 picks a free one.
    ///
    /// # Errors
    /// [`Error::AddressTaken`], [`Error::Bind`].
    pub async fn bind(address: SocketAddr) -> Result<Self, Error> {
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        };
        bound.await.map_err(|source: io::Error| {
            if source.kind() == io::ErrorKind::AddrInUse {
                Error::AddressTaken { address }
            } else {
                Error::Bind { address, source }
            }
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown`, then lets requests under way finish for a few seconds.
    pub async fn run(self, parts: Arc<Parts>, shutdown: CancellationToken) {
        server::serve(self.listener, router(parts), shutdown).await;
    }
}

/// All routes.
fn router(parts: Arc<Parts>) -> Router {
    let prometheus = Router::new()
        .route("/query", get(query::instant).post(query::instant))
        .route("/query_range", get(query::range).post(query::range))
        .route("/series", get(query::series).post(query::series))
        .route("/labels", get(query::labels).post(query::labels))
        .route("/label/{name}/values", get(query::label_values))
        .route("/metadata", get(query::metadata))
        .route(
            "/query_exemplars",
            get(query::exemplars).post(query::exemplars),
        )
        .route("/rules", get(rules::rules))
        .route("/alerts", get(rules::alerts))
        .route("/alertmanagers", get(rules::alertmanagers))
        .route("/status/buildinfo", get(health::build_info))
        .route("/status/tsdb", get(health::tsdb))
        .route("/status/flags", get(health::flags))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX));
    Router::new()
        .nest("/api/v1", prometheus)
        .route("/api/v1/write", post(write::remote_write))
        .route("/v1/metrics", post(otlp::metrics))
        .route(otlp::EXPORT, post(otlp::export))
        .route("/", get(files::page))
        .route("/boards/{name}", get(files::page))
        .route("/boards/{name}/stream", get(boards::stream))
        .route("/assets/{name}", get(files::asset))
        .route("/apis/lantern/v1/boards", get(boards::list))
        .route("/apis/lantern/v1/delays", get(delays::list))
        .route("/apis/lantern/v1/listeners", get(listeners::list))
        .route("/apis/lantern/v1/deadletters", get(listeners::topics))
        .route(
            "/apis/lantern/v1/deadletters/{topic}",
            get(listeners::letters),
        )
        .route(
            "/apis/lantern/v1/deadletters/{topic}/replay",
            post(listeners::replay),
        )
        .route("/metrics", get(health::metrics))
        .route("/healthz", get(health::alive))
        .route("/livez", get(health::alive))
        .route("/-/healthy", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/-/ready", get(health::ready))
        .route("/-/reload", post(health::reload).put(health::reload))
        .fallback(missing::address)
        .method_not_allowed_fallback(missing::method)
        .layer(from_fn(origin::guard))
        .layer(from_fn(files::guard))
        .with_state(parts)
}
