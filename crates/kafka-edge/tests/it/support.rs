//! A running endpoint over an embedded broker in a temporary folder, and a client that can say
//! anything in any version.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use admission::Admission;
use broker::{CoordinatorOptions, DynBroker, EmbeddedBroker, GroupCoordinator};
use broker::{TransactionCoordinator, TransactionOptions};
use bytes::{Bytes, BytesMut};
use env::{DynClock, DynDisk, DynEntropy, RealClock, RealDisk, RealEntropy};
use kafka_edge::{Options, Service};
use kafka_wire::{Api, Decodable, Encodable, Splitter, StrBytes, decode_response, encode_request};
use model::{PartitionId, Timestamp, TopicName, TopicPartition};
use prometheus_client::registry::Registry;
use record::{BatchBuilder, CheckedBatch, Compression};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything in a test may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) broker: Arc<EmbeddedBroker>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) stop: CancellationToken,
    pub(crate) serving: JoinHandle<Result<(), kafka_edge::Error>>,
    registry: Registry,
    _folder: TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        Self::admitting(options, admission::Options::default()).await
    }

    pub(crate) async fn admitting(options: Options, admits: admission::Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk: DynDisk = Arc::new(RealDisk::new());
        let clock: DynClock = Arc::new(RealClock::new());
        let entropy: DynEntropy = Arc::new(RealEntropy);
        let open = broker::Options::new(folder.path(), disk, clock.clone(), entropy.clone());
        let embedded = EmbeddedBroker::open(open).unwrap();
        let broker: DynBroker = embedded.clone();
        let stop = CancellationToken::new();
        let quick = CoordinatorOptions {
            initial_quiet: Duration::from_millis(20),
            initial_delay_max: Duration::from_millis(100),
            ..CoordinatorOptions::default()
        };
        let groups = GroupCoordinator::new(broker.clone(), clock.clone(), entropy, quick);
        tokio::spawn(Arc::clone(&groups).run(stop.clone()));
        let limits = TransactionOptions::default();
        let transactions = TransactionCoordinator::new(broker.clone(), clock.clone(), limits);
        tokio::spawn(Arc::clone(&transactions).run(stop.clone()));
        while !groups.is_ready() || !transactions.is_ready() {
            tokio::task::yield_now().await;
        }
        let options = Options {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            ..options
        };
        let mut registry = Registry::default();
        let admission = Admission::new(admits, clock.clone());
        admission.register(&mut registry);
        let service = Service::new(options, broker, groups, clock).unwrap();
        let service = service.with_transactions(transactions);
        let mut service = service.with_admission(admission.clone());
        service.register(&mut registry);
        let address = service.bind().await.unwrap();
        let serving = tokio::spawn(service.run(stop.clone()));
        Self {
            address,
            broker: embedded,
            admission,
            stop,
            serving,
            registry,
            _folder: folder,
        }
    }

    pub(crate) async fn client(&self) -> Raw {
        Raw::connect(self.address).await
    }

    /// A topic straight in the broker.
    pub(crate) async fn topic(&self, name: &str, partitions: u32) -> TopicName {
        self.topic_with(name, partitions, &[]).await
    }

    pub(crate) async fn topic_with(
        &self,
        name: &str,
        partitions: u32,
        config: &[(&str, &str)],
    ) -> TopicName {
        let name: TopicName = name.parse().unwrap();
        let config = broker::TopicConfig::from_entries(
            &broker::TopicConfig::default(),
            config.iter().copied(),
        )
        .unwrap();
        let spec = broker::TopicSpec {
            name: name.clone(),
            partitions,
            config,
        };
        broker::Broker::create_topic(&*self.broker, spec)
            .await
            .unwrap();
        name
    }

    /// One of the endpoint's numbers, as it is scraped.
    pub(crate) fn metric(&self, line: &str) -> f64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let found = text.lines().find_map(|metric| metric.strip_prefix(line));
        let value = found.unwrap_or_else(|| panic!("no metric {line}"));
        value.trim().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A connection that sends what it is told to.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    buffer: BytesMut,
    next_id: i32,
    name: &'static str,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    /// A connection whose own side of the socket holds next to nothing.
    pub(crate) async fn connect_narrow(address: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        Self::over(socket.connect(address).await.unwrap())
    }

    fn over(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            next_id: 0,
            name: "test",
        }
    }

    /// The same, with this client id.
    pub(crate) fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn send<Q: Encodable>(&mut self, api: Api, version: i16, body: &Q) -> i32 {
        self.next_id += 1;
        let frame = encode_request(api, version, self.next_id, self.name, body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)));
        self.send_bytes(&frame).await;
        self.next_id
    }

    /// The next answer's frame, `None` when the server closed.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        let splitter = Splitter::answers(1 << 30);
        let read = async {
            loop {
                if let Some(frame) = splitter.next(&mut self.buffer).unwrap() {
                    return Some(frame);
                }
                match self.stream.read_buf(&mut self.buffer).await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => (),
                }
            }
        };
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("no answer in time")
    }

    pub(crate) async fn receive<A: Decodable>(&mut self, api: Api, version: i16, id: i32) -> A {
        let frame = self.frame().await.expect("the server closed");
        let (answered, body) = decode_response(api, version, frame)
            .unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)));
        assert_eq!(answered, id, "answers come in the order of requests");
        body
    }

    pub(crate) async fn call<Q: Encodable, A: Decodable>(
        &mut self,
        api: Api,
        version: i16,
        body: &Q,
    ) -> A {
        let id = self.send(api, version, body).await;
        self.receive(api, version, id).await
    }

    /// The server closed without another answer.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.frame().await.is_none()
    }

    /// The server still answers here.
    pub(crate) async fn is_served(&mut self) -> bool {
        let request = kafka_wire::messages::ApiVersionsRequest::default();
        let answer: kafka_wire::messages::ApiVersionsResponse =
            self.call(Api::ApiVersions, 0, &request).await;
        answer.error_code == 0
    }
}

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(crate) fn wire_name(name: &str) -> kafka_wire::messages::TopicName {
    kafka_wire::messages::TopicName(text(name))
}

pub(crate) fn at(topic: &TopicName, partition: u32) -> TopicPartition {
    TopicPartition::new(topic.clone(), PartitionId::new(partition))
}

/// A batch with these values.
pub(crate) fn batch(values: &[&[u8]]) -> CheckedBatch {
    builder(values).build()
}

pub(crate) fn builder(values: &[&[u8]]) -> BatchBuilder {
    let mut builder = BatchBuilder::new(Compression::None);
    for value in values {
        builder.push(Timestamp::from_millis(1_000), None, Some(value), &[]);
    }
    builder
}
