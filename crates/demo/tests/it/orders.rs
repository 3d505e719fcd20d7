//! What arrives is what was played: every event once, in order, as the page says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, Tail};
use demo::{Error, ORDERS_TOPIC, OrdersOptions, Progress, Summary, play_orders};
use env::RealClock;
use model::{PartitionId, Position, TopicPartition};
use record::Batches;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::server::Server;

fn options(server: &Server) -> OrdersOptions {
    OrdersOptions {
        kafka: server.address.to_string(),
        ..OrdersOptions::new(7)
    }
}

async fn play(options: OrdersOptions, stop: CancellationToken) -> Result<Summary, Error> {
    play_orders(&options, Arc::new(RealClock::new()), stop, |_| ()).await
}

/// The event ids of each order, in the order read, over all partitions.
async fn stored(server: &Server) -> BTreeMap<String, Vec<String>> {
    let mut orders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for partition in 0..4 {
        let at = TopicPartition::new(ORDERS_TOPIC.parse().unwrap(), PartitionId::new(partition));
        let mut tail = Tail::new(server.broker.clone(), at, Position::default()).unwrap();
        while let Some(fetched) = tail.try_next().await.unwrap() {
            for batch in Batches::new(fetched.batches) {
                for record in &batch.unwrap().records().unwrap() {
                    let record = record.unwrap();
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                    let header = |name| text(record.headers.get(name).flatten().unwrap());
                    let value: serde_json::Value =
                        serde_json::from_slice(record.value.unwrap()).unwrap();
                    assert_eq!(header("ce_subject"), value["order"]);
                    assert_eq!(
                        header("ce_type"),
                        format!("order.{}", value["status"].as_str().unwrap())
                    );
                    orders
                        .entry(text(record.key.unwrap()))
                        .or_default()
                        .push(header("ce_id"));
                }
            }
        }
    }
    orders
}

/// Every order has its events numbered from 1 without gap or repetition; answers how many there are.
fn count_whole(orders: &BTreeMap<String, Vec<String>>) -> u64 {
    for (order, ids) in orders {
        for (place, id) in ids.iter().enumerate() {
            assert_eq!(*id, format!("{order}-{}", place + 1), "{order}: {ids:?}");
        }
    }
    orders.values().map(|ids| ids.len() as u64).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_arrives_once_and_in_order() {
    let server = Server::start().await;
    let duration = Some(Duration::from_secs(2));
    let fast = OrdersOptions {
        rate: 5_000.0,
        duration,
        ..options(&server)
    };
    let summary = play(fast, CancellationToken::new()).await.unwrap();
    assert_eq!(summary.sent, summary.acked);
    assert!((8_000..12_500).contains(&summary.sent), "{summary}");
    assert_eq!(summary.events.values().sum::<u64>(), summary.sent);
    assert_eq!(
        server
            .broker
            .topic(&ORDERS_TOPIC.parse().unwrap())
            .unwrap()
            .partitions,
        4
    );
    assert_eq!(count_whole(&stored(&server).await), summary.sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_loses_and_repeats_nothing() {
    let server = Server::start().await;
    let stop = CancellationToken::new();
    let endless = OrdersOptions {
        rate: 2_000.0,
        duration: None,
        ..options(&server)
    };
    let (seen, mut progress) = watch::channel(None::<Progress>);
    let playing = tokio::spawn({
        let (clock, stop) = (Arc::new(RealClock::new()), stop.clone());
        async move {
            play_orders(&endless, clock, stop, |now| {
                seen.send_modify(|seen| *seen = Some(now.clone()));
            })
            .await
        }
    });
    progress.changed().await.unwrap();
    let server = server.restart().await;
    // Events of after the restart are there, so the player has found the new server. It may have found the
    // old one once more while that ended, which counts as another connection lost.
    let before = count_whole(&stored(&server).await);
    while count_whole(&stored(&server).await) < before + 1_000 {
        progress.changed().await.unwrap();
    }
    stop.cancel();
    let summary = playing.await.unwrap().unwrap();
    assert!(summary.reconnects >= 1, "{summary}");
    assert_eq!(summary.sent, summary.acked);
    assert_eq!(count_whole(&stored(&server).await), summary.sent);
}

#[tokio::test]
async fn without_a_server_the_error_says_what_to_do() {
    // A port that was free a moment ago.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let nobody = OrdersOptions {
        kafka: address.clone(),
        ..OrdersOptions::new(1)
    };
    let error = play(nobody, CancellationToken::new())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&address) && error.contains("lantern up"),
        "{error}"
    );
}

#[tokio::test]
async fn options_that_cannot_be_are_all_named() {
    let wrong = OrdersOptions {
        kafka: "here".to_owned(),
        rate: 0.0,
        duration: Some(Duration::ZERO),
        ..OrdersOptions::new(1)
    };
    let error = play(wrong, CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, Error::Options { problems } if problems.len() == 3));
}
