//! Starting and stopping.

use std::sync::Arc;
use std::time::Duration;

use broker::{CoordinatorOptions, DynBroker, GroupCoordinator};
use env::{DynClock, DynEntropy, RealClock, RealEntropy};
use kafka_edge::{Advertised, Error, Options, Service};
use kafka_wire::Api;
use kafka_wire::messages::{FetchResponse, MetadataRequest, MetadataResponse};

use crate::fetch::{self, Ask};
use crate::support::{PATIENCE, Server};

fn service(server: &Server, options: Options) -> Result<Service, Error> {
    let broker: DynBroker = server.broker.clone();
    let clock: DynClock = Arc::new(RealClock::new());
    let entropy: DynEntropy = Arc::new(RealEntropy);
    let options_of_groups = CoordinatorOptions::default();
    let groups = GroupCoordinator::new(broker.clone(), clock.clone(), entropy, options_of_groups);
    Service::new(options, broker, groups, clock)
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let server = Server::start().await;
    let options = Options {
        listen: server.address,
        ..Options::default()
    };
    let error = service(&server, options).unwrap().bind().await.unwrap_err();
    assert!(matches!(error, Error::AddressTaken { .. }), "{error:?}");
    assert!(
        error.to_string().contains(&server.address.to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn options_that_cannot_be_are_refused_all_at_once() {
    let server = Server::start().await;
    let options = Options {
        connections_max: 0,
        partitions_default: 0,
        ..Options::default()
    };
    match service(&server, options) {
        Err(Error::Options { problems }) => assert_eq!(problems.len(), 2),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn stopping_answers_who_waits_and_ends() {
    let mut server = Server::start().await;
    let topic = server.topic("orders", 1).await;
    let mut client = server.client().await;
    assert!(client.is_served().await);
    let patient = Ask {
        wait: 20_000,
        ..fetch::AT_ONCE
    };
    let id = client
        .send(
            Api::Fetch,
            11,
            &fetch::request(topic.as_str(), &[(0, 0)], patient),
        )
        .await;
    while server.metric("lantern_kafka_edge_received_bytes_total") < 60.0 {
        tokio::task::yield_now().await;
    }
    server.stop.cancel();
    let _: FetchResponse = client.receive(Api::Fetch, 11, id).await;
    assert!(client.is_closed().await);
    let ended = tokio::time::timeout(PATIENCE, &mut server.serving).await;
    ended.expect("it ends").unwrap().unwrap();
    assert!(
        tokio::net::TcpStream::connect(server.address)
            .await
            .is_err(),
        "nobody listens"
    );
}

#[tokio::test]
async fn a_client_that_does_not_finish_is_cut_off_after_the_drain_time() {
    let mut server = Server::with(Options {
        drain: Duration::from_millis(50),
        ..Options::default()
    })
    .await;
    let mut client = server.client().await;
    assert!(client.is_served().await);
    client.send_bytes(&[0, 0, 0, 99, 0]).await;
    server.stop.cancel();
    let ended = tokio::time::timeout(PATIENCE, &mut server.serving).await;
    ended.expect("it ends").unwrap().unwrap();
}

#[tokio::test]
async fn clients_are_told_the_address_they_reached_or_the_one_configured() {
    let reached = Server::start().await;
    let fixed = Server::with(Options {
        advertised: Some(Advertised {
            host: "lantern.example".to_owned(),
            port: 0,
        }),
        ..Options::default()
    })
    .await;
    for (server, host) in [(&reached, "127.0.0.1"), (&fixed, "lantern.example")] {
        let request = MetadataRequest::default().with_topics(Some(vec![]));
        let answer: MetadataResponse = server
            .client()
            .await
            .call(Api::Metadata, 12, &request)
            .await;
        assert_eq!(&*answer.brokers[0].host, host);
        assert_eq!(answer.brokers[0].port, i32::from(server.address.port()));
    }
}
