//! Produce requests that arrive in one piece: each is answered as if it had come alone.

use std::time::Duration;

use broker::Broker;
use bytes::{Bytes, BytesMut};
use kafka_edge::Options;
use kafka_wire::messages::{MetadataRequest, MetadataResponse, ProduceRequest};
use kafka_wire::{Api, ErrorCode, encode_request};

use model::Timestamp;
use record::{BatchBuilder, Compression};
use stdx::ByteSize;

use crate::pressure::narrow;
use crate::produce::{only, request};
use crate::support::{PATIENCE, Raw, Server, at, batch, builder};

/// What a client sends.
#[derive(Debug, Clone, Copy)]
enum Sends {
    Good,
    /// Without waiting for the disk.
    Leader,
    /// Without an answer.
    Silent,
    /// More than joins others.
    Large,
    /// Little that inflates to much.
    Heavy,
    /// With another patience.
    Hasty,
    OlderVersion,
    OtherClient,
    NoSuchTopic,
    /// A batch whose checksum is wrong.
    Damaged,
    /// Something else.
    Metadata,
}

use Sends::{
    Damaged, Good, Hasty, Heavy, Large, Leader, Metadata, NoSuchTopic, OlderVersion, OtherClient,
    Silent,
};

const ALL: [Sends; 11] = [
    Good,
    Leader,
    Silent,
    Large,
    Heavy,
    Hasty,
    OlderVersion,
    OtherClient,
    NoSuchTopic,
    Damaged,
    Metadata,
];

impl Sends {
    fn version(self) -> i16 {
        match self {
            OlderVersion => 7,
            Metadata => 1,
            _ => 9,
        }
    }

    fn frame(self, topic: &str, id: i32) -> Bytes {
        let client = if matches!(self, OtherClient) {
            "other"
        } else {
            "test"
        };
        if matches!(self, Metadata) {
            let body = MetadataRequest::default();
            return encode_request(Api::Metadata, 1, id, client, &body).unwrap();
        }
        let body = self.body(topic, id);
        encode_request(Api::Produce, self.version(), id, client, &body).unwrap()
    }

    fn body(self, topic: &str, id: i32) -> ProduceRequest {
        let large = vec![b'x'; 6_000];
        let value: &[u8] = if matches!(self, Large) {
            &large
        } else {
            b"small"
        };
        let mut builder = builder(&[value, &id.to_be_bytes()]);
        if matches!(self, Heavy) {
            builder = BatchBuilder::new(Compression::Zstd);
            for _ in 0..2 {
                let value = vec![b'x'; 200_000];
                builder.push(Timestamp::from_millis(1), None, Some(&value), &[]);
            }
        }
        let mut records = BytesMut::from(&builder.build().into_bytes()[..]);
        if matches!(self, Damaged) {
            *records.last_mut().unwrap() ^= 1;
        }
        let (topic, acks) = match self {
            NoSuchTopic => ("nowhere", -1),
            Silent => (topic, 0),
            Leader => (topic, 1),
            _ => (topic, -1),
        };
        let timeout = if matches!(self, Hasty) { 500 } else { 30_000 };
        request(topic, 0, acks, Some(records.freeze())).with_timeout_ms(timeout)
    }

    fn code(self) -> i16 {
        match self {
            NoSuchTopic => ErrorCode::UnknownTopicOrPartition.code(),
            Damaged => ErrorCode::CorruptMessage.code(),
            _ => 0,
        }
    }
}

/// Sends all of it in pieces of so many bytes, and holds the answers against what each request alone would have had.
async fn send(client: &mut Raw, topic: &str, sends: &[Sends], piece: usize) {
    let ids = 1..;
    let frames = ids.clone().zip(sends);
    let stream: Vec<u8> = frames.flat_map(|(id, one)| one.frame(topic, id)).collect();
    for piece in stream.chunks(piece) {
        client.send_bytes(piece).await;
    }
    let mut end = 0;
    for (id, one) in ids.zip(sends) {
        match one {
            Silent => end += 2,
            Metadata => {
                let _: MetadataResponse = client.receive(Api::Metadata, 1, id).await;
            }
            _ => {
                let answer = only(client.receive(Api::Produce, one.version(), id).await);
                assert_eq!(answer.error_code, one.code(), "{id} {one:?}");
                if answer.error_code == 0 {
                    assert_eq!(answer.base_offset, end, "{id} {one:?}");
                    end += 2;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_answered_as_if_it_had_come_alone_wherever_the_stream_is_cut() {
    let server = Server::start().await;
    // Every neighbour of every kind.
    let pairs = ALL.iter().flat_map(|one| ALL.map(|next| [*one, next]));
    let mut sends: Vec<Sends> = pairs.flatten().collect();
    // And more in a row than go together.
    sends.extend([Good; 200]);
    for piece in [usize::MAX, 10_000, 333, 50] {
        let topic = server.topic(&format!("orders-{piece}"), 1).await;
        let mut client = server.client().await;
        send(&mut client, topic.as_str(), &sends, piece).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_a_request_that_ends_the_connection_is_answered() {
    let server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    let mut stream = BytesMut::new();
    for id in 1..=3 {
        stream.extend_from_slice(&Good.frame(topic.as_str(), id));
    }
    // Its count of topics is a lie.
    let mut lie = BytesMut::from(&Good.frame(topic.as_str(), 4)[..]);
    let name = lie.windows(6).position(|name| name == b"orders").unwrap();
    lie[name - 2] = 0x7f;
    stream.extend_from_slice(&lie);
    let mut client = server.client().await;
    client.send_bytes(&stream).await;
    for id in 1..=3 {
        let answer = only(client.receive(Api::Produce, 9, id).await);
        assert_eq!(
            (answer.error_code, answer.base_offset),
            (0, 2 * i64::from(id - 1))
        );
    }
    assert!(client.is_closed().await);
    assert!(server.client().await.is_served().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_without_acks_closes_after_the_answers_before_it() {
    let server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    let mut stream = BytesMut::new();
    stream.extend_from_slice(&Good.frame(topic.as_str(), 1));
    let body = request("nowhere", 0, 0, Some(batch(&[b"x"]).into_bytes()));
    stream.extend_from_slice(&encode_request(Api::Produce, 9, 2, "test", &body).unwrap());
    let mut client = server.client().await;
    client.send_bytes(&stream).await;
    let answer = only(client.receive(Api::Produce, 9, 1).await);
    assert_eq!((answer.error_code, answer.base_offset), (0, 0));
    assert!(client.is_closed().await);
}

/// What does not fit beside those before it waits for its memory and goes on from where it was: nothing is dropped,
/// nobody is overtaken, and all of it is given back.
#[tokio::test(flavor = "multi_thread")]
async fn with_memory_for_a_few_at_a_time_all_are_answered_in_order() {
    const MEMORY: u64 = 33 << 20;
    const LEFT: u64 = 100 << 10;
    let server = Server::with(Options {
        request_bytes_max: ByteSize::from_mib(1),
        request_memory: ByteSize::from_bytes(MEMORY),
        ..Options::default()
    })
    .await;
    let held = || server.metric("lantern_kafka_edge_request_memory_bytes");
    // Requests that never end hold nearly all of it.
    let mut endless = Vec::new();
    for bytes in [1_u32 << 20, 60 << 10] {
        while held() + f64::from(bytes) <= (MEMORY - LEFT) as f64 {
            let before = held();
            let mut client = server.client().await;
            client.send_bytes(&(bytes - 4).to_be_bytes()).await;
            client
                .send_bytes(&vec![0; usize::try_from(bytes - 100).unwrap()])
                .await;
            endless.push(client);
            let arrived = async {
                while held() < before + f64::from(bytes - 200) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(PATIENCE, arrived)
                .await
                .expect("it is held");
        }
    }
    let mut sends = Vec::new();
    for _ in 0..30 {
        sends.extend([Good; 9]);
        sends.extend([Metadata, Good, OlderVersion, Hasty, NoSuchTopic]);
    }
    let mut clients = Vec::new();
    for n in 0..8 {
        let topic = server.topic(&format!("orders-{n}"), 1).await;
        let (mut client, sends) = (server.client().await, sends.clone());
        clients.push(tokio::spawn(async move {
            send(&mut client, topic.as_str(), &sends, usize::MAX).await;
        }));
    }
    for client in clients {
        tokio::time::timeout(PATIENCE, client)
            .await
            .expect("it does not stall")
            .unwrap();
    }
    drop(endless);
    let given_back = async {
        while held() > 0.0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, given_back)
        .await
        .expect("all of it is given back");
}

/// Sends batches in one piece, each in a request of its own; answers the offset or the code of each.
async fn send_batches(
    server: &Server,
    topic: &str,
    batches: Vec<Bytes>,
) -> Vec<Result<i64, ErrorCode>> {
    let mut client = server.client().await;
    let mut stream = BytesMut::new();
    for (id, records) in (1..).zip(&batches) {
        let body = request(topic, 0, -1, Some(records.clone()));
        let frame = encode_request(Api::Produce, 9, id, "test", &body).unwrap();
        stream.extend_from_slice(&frame);
    }
    client.send_bytes(&stream).await;
    answers(&mut client, batches.len()).await
}

/// The first offset or the code of each of so many produce requests.
async fn answers(client: &mut Raw, requests: usize) -> Vec<Result<i64, ErrorCode>> {
    let mut answers = Vec::new();
    for id in (1..).take(requests) {
        let answer = only(client.receive(Api::Produce, 9, id).await);
        answers.push(match answer.error_code {
            0 => Ok(answer.base_offset),
            code => Err(ErrorCode::try_from_code(code).unwrap()),
        });
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_among_them_are_acknowledged_with_their_first_offsets() {
    let server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    let numbered = |sequence| {
        let mut builder = builder(&[b"a", b"b"]);
        builder.producer(77, 1, sequence);
        builder.build().into_bytes()
    };
    let plain = || batch(&[b"plain"]).into_bytes();
    let batches = vec![
        plain(),
        numbered(0),
        numbered(2),
        numbered(0),
        plain(),
        plain(),
        numbered(9),
        numbered(4),
    ];
    let answers = send_batches(&server, topic.as_str(), batches).await;
    let missing = Err(ErrorCode::OutOfOrderSequenceNumber);
    let expected = [Ok(0), Ok(1), Ok(3), Ok(1), Ok(5), Ok(6), missing, Ok(7)];
    assert_eq!(answers, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_without_a_key_in_a_compacted_topic_takes_no_other_with_it() {
    let server = Server::start().await;
    let compact = [("cleanup.policy", "compact")];
    let topic = server.topic_with("prices", 1, &compact).await;
    let record = |key: Option<&[u8]>| {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(Timestamp::from_millis(1), key, Some(b"x"), &[]);
        builder.build().into_bytes()
    };
    let batches = vec![record(Some(b"a")), record(None), record(Some(b"b"))];
    let answers = send_batches(&server, topic.as_str(), batches).await;
    assert_eq!(answers, [Ok(0), Err(ErrorCode::InvalidRecord), Ok(1)]);
}

/// Has several requests for one partition wait in the line before the log, as one, while `change` happens; answers the
/// first offset or the code of each.
async fn changing_in_the_line<F: Future<Output = ()>>(
    server: &Server,
    topic: &str,
    requests: usize,
    change: impl FnOnce() -> F,
) -> Vec<Result<i64, ErrorCode>> {
    let busy = server.admission.admit("test", 1 << 20, PATIENCE).await;
    let mut client = server.client().await;
    let frames = (1..).take(requests).flat_map(|id| Good.frame(topic, id));
    client.send_bytes(&frames.collect::<Vec<u8>>()).await;
    let wait = async {
        while server.metric("lantern_admission_waiting ") < 1.0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("a line");
    change().await;
    busy.unwrap().finish(admission::Outcome::Succeeded);
    answers(&mut client, requests).await
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_change_while_they_wait_refuse_none_for_another() {
    let server = narrow().await;
    let topic = server.topic("orders", 1).await;
    let nothing = || async {};
    let answers = changing_in_the_line(&server, "orders", 3, nothing).await;
    assert_eq!(answers, [Ok(0), Ok(2), Ok(4)]);
    let mut config = server.broker.topic(&topic).unwrap().config.clone();
    config.set("retention.ms", Some("86400000")).unwrap();
    let longer = config.clone();
    let keep = || async {
        let configured = server.broker.configure_topic(&topic, longer).await;
        configured.unwrap();
    };
    let answers = changing_in_the_line(&server, "orders", 3, keep).await;
    assert_eq!(answers, [Ok(6), Ok(8), Ok(10)]);
    config.set("cleanup.policy", Some("compact")).unwrap();
    let compact = || async {
        let configured = server.broker.configure_topic(&topic, config).await;
        configured.unwrap();
    };
    let answers = changing_in_the_line(&server, "orders", 3, compact).await;
    // To be looked at anew, and then none of them has a key.
    assert_eq!(answers, [Err(ErrorCode::NotLeaderOrFollower); 3]);
    let marks = server.broker.marks(&at(&topic, 0)).await.unwrap();
    assert_eq!(marks.log_end.bits(), 12);
}
