//! The accept loop: bounded connections, header deadlines, a drain on shutdown.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Most connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 4_096;
/// How long a client may take to send its request's head: ends slow and half-open connections.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How often an HTTP/2 connection is asked whether anybody is there, and how long it may take to say so: these live for
/// days, and a host that vanished says nothing.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long requests under way get on shutdown.
const DRAIN: Duration = Duration::from_secs(5);
/// Pause after a failed accept (no file descriptors left, say), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` on `listener` until `shutdown`, then drains.
pub(crate) async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(100);
    let builder = Arc::new(builder);
    let turns = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    loop {
        let (stream, peer) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &turns) => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "A connection could not be accepted.");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let Ok(turn) = Arc::clone(&turns).try_acquire_owned() else {
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        let builder = Arc::clone(&builder);
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
            if let Err(error) = watcher.watch(connection.into_owned()).await {
                debug!(%peer, %error, "A connection ended early.");
            }
            drop(turn);
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown())
        .await
        .is_err()
    {
        warn!(after = ?DRAIN, "Requests were still under way when Lantern stopped.");
    }
}

/// Accepts when there is a turn free, so that what is waiting waits in the kernel's bounded queue.
async fn accept(
    listener: &TcpListener,
    turns: &Semaphore,
) -> io::Result<(tokio::net::TcpStream, SocketAddr)> {
    // Only waits for a turn; the loop, which alone takes turns, takes it once there is a connection.
    if let Ok(turn) = turns.acquire().await {
        drop(turn);
    }
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer))
}
