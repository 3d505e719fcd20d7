//! One connection: requests out in order, answers back in order, many in flight.
//!
//! Two tasks share it. The writer takes requests from a bounded queue and, before it writes one,
//! puts who waits for the answer into a second bounded queue; the reader matches answers with that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_wire::messages::{ApiVersionsRequest, ApiVersionsResponse};
use kafka_wire::{Api, Decodable, Encodable, Splitter, decode_response, encode_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::Error;
use crate::error::check;

/// How a connection behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the client calls itself. Default `lantern`.
    pub client_id: String,
    /// How long to wait for an answer; more than a consumer lets the server wait. Default 30 s.
    pub timeout: Duration,
    /// How long to wait for the connection itself. Default 10 s.
    pub connect_timeout: Duration,
    /// Requests that may wait for an answer; when full, sending waits. Default 64, at least 1.
    pub in_flight_max: usize,
    /// The largest answer taken, in bytes. Default 128 MiB.
    pub answer_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            client_id: "lantern".to_owned(),
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            in_flight_max: 64,
            answer_bytes_max: 128 << 20,
        }
    }
}

/// A connection to one Kafka server. Clones share it; it closes with the last of them.
#[derive(Debug, Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    requests: mpsc::Sender<Outgoing>,
    versions: BTreeMap<Api, i16>,
    next_id: AtomicI32,
    reader: AbortHandle,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The writer ends with its queue; the reader would wait for the server.
        self.reader.abort();
    }
}

struct Outgoing {
    frame: Bytes,
    waiting: Option<Waiting>,
}

struct Waiting {
    id: i32,
    answer: oneshot::Sender<Result<Bytes, Error>>,
}

/// An answer that has not come yet.
#[derive(Debug)]
pub(crate) struct Pending {
    api: Api,
    version: i16,
    within: Duration,
    answer: oneshot::Receiver<Result<Bytes, Error>>,
}

impl Pending {
    /// Waits for the answer.
    pub(crate) async fn body<B: Decodable>(self) -> Result<B, Error> {
        let (api, version, after) = (self.api, self.version, self.within);
        let frame = match tokio::time::timeout(after, self.answer).await {
            Ok(Ok(frame)) => frame?,
            Ok(Err(_dropped)) => return Err(Error::Closed),
            Err(_elapsed) => return Err(Error::Timeout { api, after }),
        };
        Ok(decode_response(api, version, frame)?.1)
    }
}

impl Connection {
    /// Connects to `address` (`host:port`) and asks what the server serves.
    ///
    /// # Errors
    /// [`Error::Connect`]; those of [`Connection::call`].
    pub async fn open(address: &str, options: Options) -> Result<Self, Error> {
        let failed = |source: std::io::Error| Error::Connect {
            address: address.to_owned(),
            source: Arc::new(source),
        };
        let connecting = TcpStream::connect(address);
        let stream = match tokio::time::timeout(options.connect_timeout, connecting).await {
            Ok(connected) => connected.map_err(failed)?,
            Err(_elapsed) => return Err(failed(std::io::ErrorKind::TimedOut.into())),
        };
        stream.set_nodelay(true).map_err(failed)?;
        let (read, write) = stream.into_split();
        let (requests, outgoing) = mpsc::channel(1);
        let (expected, waiting) = mpsc::channel(options.in_flight_max.max(1));
        tokio::spawn(write_requests(write, outgoing, expected));
        let splitter = Splitter::answers(options.answer_bytes_max);
        let reader = tokio::spawn(read_answers(read, splitter, waiting)).abort_handle();
        let mut shared = Shared {
            options,
            requests,
            versions: BTreeMap::from([(Api::ApiVersions, 0)]),
            next_id: AtomicI32::new(0),
            reader,
        };
        let pending = shared
            .send(Api::ApiVersions, &ApiVersionsRequest::default())
            .await?;
        let served: ApiVersionsResponse = pending.body().await?;
        check(Api::ApiVersions, served.error_code, None)?;
        shared.versions = common_versions(&served);
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Whether it has ended: every further call fails.
    pub fn is_closed(&self) -> bool {
        self.shared.requests.is_closed() || self.shared.reader.is_finished()
    }

    /// The version of `api` in use.
    ///
    /// # Errors
    /// [`Error::Unsupported`].
    pub fn version(&self, api: Api) -> Result<i16, Error> {
        self.shared.version(api)
    }

    /// Sends one request and waits for its answer.
    ///
    /// Requests of several callers are in flight together. Error codes inside the answer are the
    /// caller's to read.
    ///
    /// # Errors
    /// All but [`Error::Refused`] and [`Error::Batch`].
    pub async fn call<Q: Encodable, A: Decodable>(
        &self,
        api: Api,
        request: &Q,
    ) -> Result<A, Error> {
        self.send(api, request).await?.body().await
    }

    /// Sends one request; waits only for room. The order of sends is the order on the wire.
    pub(crate) async fn send<Q: Encodable>(&self, api: Api, request: &Q) -> Result<Pending, Error> {
        self.shared.send(api, request).await
    }

    /// Sends one request that the server will not answer.
    pub(crate) async fn send_unanswered<Q: Encodable>(
        &self,
        api: Api,
        request: &Q,
    ) -> Result<(), Error> {
        let (_, frame) = self.shared.encode(api, request)?;
        let outgoing = Outgoing {
            frame,
            waiting: None,
        };
        self.shared
            .requests
            .send(outgoing)
            .await
            .map_err(|_| Error::Closed)
    }
}

impl Shared {
    fn version(&self, api: Api) -> Result<i16, Error> {
        self.versions
            .get(&api)
            .copied()
            .ok_or(Error::Unsupported { api })
    }

    fn encode<Q: Encodable>(&self, api: Api, request: &Q) -> Result<(i32, Bytes), Error> {
        let version = self.version(api)?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let frame = encode_request(api, version, id, &self.options.client_id, request)?;
        Ok((id, frame))
    }

    async fn send<Q: Encodable>(&self, api: Api, request: &Q) -> Result<Pending, Error> {
        let (id, frame) = self.encode(api, request)?;
        let (sender, answer) = oneshot::channel();
        let outgoing = Outgoing {
            frame,
            waiting: Some(Waiting { id, answer: sender }),
        };
        self.requests
            .send(outgoing)
            .await
            .map_err(|_| Error::Closed)?;
        Ok(Pending {
            api,
            version: self.version(api)?,
            within: self.options.timeout,
            answer,
        })
    }
}

/// For each API the newest version that both sides decode.
fn common_versions(served: &ApiVersionsResponse) -> BTreeMap<Api, i16> {
    let common = served.api_keys.iter().filter_map(|keys| {
        let api = Api::from_key(keys.api_key)?;
        let ours = api.decoded();
        let newest = keys.max_version.min(*ours.end());
        (newest >= keys.min_version && ours.contains(&newest)).then_some((api, newest))
    });
    common.collect()
}

async fn write_requests(
    mut write: OwnedWriteHalf,
    mut outgoing: mpsc::Receiver<Outgoing>,
    expected: mpsc::Sender<Waiting>,
) {
    while let Some(request) = outgoing.recv().await {
        if let Some(waiting) = request.waiting
            && expected.send(waiting).await.is_err()
        {
            return;
        }
        // Who waits hears of a failure from the reader, which sees the connection end.
        if write.write_all(&request.frame).await.is_err() {
            return;
        }
    }
}

async fn read_answers(
    mut read: OwnedReadHalf,
    splitter: Splitter,
    mut waiting: mpsc::Receiver<Waiting>,
) {
    let mut buffer = BytesMut::new();
    let failure = loop {
        match next_answer(&mut read, splitter, &mut buffer).await {
            Ok(frame) => match waiting.recv().await {
                Some(waiting) if id_of(&frame) == Some(waiting.id) => {
                    // Who no longer waits does not mind.
                    drop(waiting.answer.send(Ok(frame)));
                }
                Some(_) | None => break Error::Closed,
            },
            Err(error) => break error,
        }
    };
    waiting.close();
    while let Some(waiting) = waiting.recv().await {
        drop(waiting.answer.send(Err(failure.clone())));
    }
}

fn id_of(frame: &Bytes) -> Option<i32> {
    frame.first_chunk().map(|id| i32::from_be_bytes(*id))
}

async fn next_answer(
    read: &mut OwnedReadHalf,
    splitter: Splitter,
    buffer: &mut BytesMut,
) -> Result<Bytes, Error> {
    loop {
        if let Ok(Some(frame)) = splitter.next(buffer) {
            return Ok(frame);
        }
        let missing = splitter.missing(buffer).map_err(|_| Error::Closed)?;
        buffer.reserve(missing.unwrap_or(16 << 10).max(16 << 10));
        if read.read_buf(buffer).await? == 0 {
            return Err(Error::Closed);
        }
    }
}
