//! The accept loop: bounded connections, header deadlines, a drain on shutdown.

use std::io::{self, Cursor};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, join};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Most connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 4_096;
/// What an HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long requests under way get on shutdown.
const DRAIN: Duration = Duration::from_secs(5);
/// Pause after a failed accept (no file descriptors left, say), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a connection may be silent.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Until the head of its request, the first or the next one, is there: ends slow and half-open connections.
    head: Duration,
    /// Until an HTTP/2 connection is asked whether anybody is there: these live for days, and a host that vanished says nothing.
    ping_every: Duration,
    /// Until it says so.
    ping: Duration,
}

const PATIENCE: Patience = Patience {
    head: Duration::from_secs(15),
    ping_every: Duration::from_secs(30),
    ping: Duration::from_secs(20),
};

/// Serves `router` on `listener` until `shutdown`, then drains.
pub(crate) async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    serve_with(PATIENCE, listener, router, shutdown).await;
}

async fn serve_with(
    patience: Patience,
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(patience.ping_every)
        .keep_alive_timeout(patience.ping)
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
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            let begun = tokio::select! {
                () = shutdown.cancelled() => return,
                begun = timeout(patience.head, begin(stream)) => begun,
            };
            let Ok(Ok(stream)) = begun else {
                debug!(%peer, "A connection ended before it said anything.");
                return;
            };
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
            if let Err(error) = watcher.watch(connection.into_owned()).await {
                debug!(%peer, %error, "A connection ended early.");
            }
            drop(turn);
        });
    }
    drop(listener);
    if timeout(DRAIN, graceful.shutdown()).await.is_err() {
        warn!(after = ?DRAIN, "Requests were still under way when Lantern stopped.");
    }
}

/// Reads as far as it takes to tell HTTP/1 from HTTP/2, which the server would wait for without an end.
async fn begin(mut stream: TcpStream) -> io::Result<impl AsyncRead + AsyncWrite> {
    let mut begun = Vec::with_capacity(PREFACE.len());
    while begun.len() < PREFACE.len() && PREFACE.starts_with(&begun) {
        let left = u64::try_from(PREFACE.len() - begun.len()).unwrap_or_default();
        if (&mut stream).take(left).read_buf(&mut begun).await? == 0 {
            break;
        }
    }
    let (reader, writer) = stream.into_split();
    Ok(join(Cursor::new(begun).chain(reader), writer))
}

/// Accepts when there is a turn free, so that what is waiting waits in the kernel's bounded queue.
async fn accept(listener: &TcpListener, turns: &Semaphore) -> io::Result<(TcpStream, SocketAddr)> {
    // Only waits for a turn; the loop, which alone takes turns, takes it once there is a connection.
    if let Ok(turn) = turns.acquire().await {
        drop(turn);
    }
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer))
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::AsyncWriteExt;
    use tokio::time::Instant;

    use super::*;

    /// RFC 9113, section 6: length, type, flags, stream.
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const PING: u8 = 6;

    const SHORT: Patience = Patience {
        head: Duration::from_millis(700),
        ping_every: Duration::from_millis(300),
        ping: Duration::from_millis(100),
    };

    async fn connect() -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || "here\n"));
        tokio::spawn(serve_with(
            SHORT,
            listener,
            router,
            CancellationToken::new(),
        ));
        TcpStream::connect(address).await.unwrap()
    }

    /// What comes until the connection is closed, and after how long that was.
    async fn until_closed(mut client: TcpStream) -> (Vec<u8>, Duration) {
        let begun = Instant::now();
        let mut all = Vec::new();
        let read = timeout(Duration::from_mins(1), client.read_to_end(&mut all));
        let _closed_or_reset = read.await.expect("the connection stays");
        (all, begun.elapsed())
    }

    #[tokio::test]
    async fn who_sends_no_request_is_sent_away() {
        for begin in [
            b"".as_slice(),
            b"G",
            b"GET / HTTP/1.1\r\nhost:",
            &PREFACE[..9],
        ] {
            let mut client = connect().await;
            client.write_all(begin).await.unwrap();
            until_closed(client).await;
        }
    }

    #[tokio::test]
    async fn who_sends_no_other_request_is_sent_away_too() {
        let mut client = connect().await;
        client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        client.write_all(b"host: here\r\n\r\n").await.unwrap();
        let (answer, _) = until_closed(client).await;
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
        assert!(answer.ends_with(b"here\n"), "{answer:?}");
    }

    #[tokio::test]
    async fn an_http2_client_that_vanished_is_asked_and_then_given_up() {
        let mut client = connect().await;
        client.write_all(PREFACE).await.unwrap();
        client.write_all(&SETTINGS).await.unwrap();
        let (mut frames, took) = until_closed(client).await;
        let mut kinds = Vec::new();
        while let [a, b, c, kind, ..] = frames[..] {
            kinds.push(kind);
            let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            frames.drain(..SETTINGS.len() + length);
        }
        assert!(kinds.contains(&PING), "{kinds:?}");
        assert!(took >= SHORT.ping, "{took:?}");
    }
}
