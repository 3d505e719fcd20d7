//! Following: whatever its pace, a follower sees each record once, in order, and what it saw stays.

use broker::{Durability, DynBroker, Tail};
use model::TopicPartition;
use tokio::task::JoinHandle;

use super::{BrokerHarness, append, at, create, position, read_all};
use crate::batches::{batch, values};
use crate::within;

/// How a follower reads.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Bytes of one read.
    bytes: usize,
    /// It lets others run so many times after each read.
    rests: usize,
}

const PACES: [Pace; 3] = [
    Pace {
        bytes: 1 << 20,
        rests: 0,
    },
    Pace {
        bytes: 300,
        rests: 3,
    },
    Pace {
        bytes: 4_000,
        rests: 100,
    },
];

/// Follows from an offset until it has so many values.
fn follow(
    broker: &DynBroker,
    of: &TopicPartition,
    from: u64,
    count: usize,
    pace: Pace,
) -> JoinHandle<Vec<String>> {
    let tail = Tail::new(broker.clone(), of.clone(), position(from)).unwrap();
    let mut tail = tail.with_bytes(pace.bytes);
    tokio::spawn(async move {
        let mut seen = Vec::new();
        while seen.len() < count {
            let fetched = tail.next().await.unwrap();
            seen.extend(values(&fetched.batches));
            for _ in 0..pace.rests {
                tokio::task::yield_now().await;
            }
        }
        seen
    })
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// Fast, slow and resting followers, one that began before there was anything, one that comes when half is there, and
/// one that looks only when all of it is there.
pub async fn followers_of_any_pace_see_everything_once_and_in_order(
    mut harness: impl BrokerHarness,
) {
    const ALL: usize = 600;
    let broker = harness.open();
    create(&*broker, "orders", 1).await;
    let orders = at("orders", 0);
    let mut idle = Tail::new(broker.clone(), orders.clone(), position(0)).unwrap();
    assert!(idle.try_next().await.unwrap().is_none());
    let mut followers: Vec<_> = PACES
        .iter()
        .map(|pace| follow(&broker, &orders, 0, ALL, *pace))
        .collect();
    for n in (0..ALL).step_by(3) {
        if n == ALL / 2 {
            followers.extend(PACES.map(|pace| follow(&broker, &orders, 0, ALL, pace)));
        }
        append(&*broker, &orders, numbers(n..n + 3)).await;
    }
    let expected = numbers(0..ALL);
    for follower in followers {
        assert_eq!(within(follower).await.unwrap(), expected);
    }
    let mut seen = Vec::new();
    while let Some(fetched) = idle.try_next().await.unwrap() {
        seen.extend(values(&fetched.batches));
    }
    assert_eq!(seen, expected);
    append(&*broker, &orders, ["after"]).await;
    let last = within(idle.next()).await.unwrap();
    assert_eq!(values(&last.batches), ["after"]);
}

/// A follower that goes on where it was after a kill misses nothing and sees nothing else; what any
/// follower ever saw is in the log.
pub async fn what_followers_saw_is_what_stays_after_kills(mut harness: impl BrokerHarness) {
    const EACH: usize = 60;
    let orders = at("orders", 0);
    let mut seen: Vec<String> = Vec::new();
    for round in 0..4 {
        let broker = harness.open();
        if round == 0 {
            create(&*broker, "orders", 1).await;
        }
        let from = u64::try_from(seen.len()).unwrap();
        let followers: Vec<_> = PACES
            .iter()
            .map(|pace| follow(&broker, &orders, from, EACH, *pace))
            .collect();
        let begin = round * EACH;
        let mut appends = tokio::task::JoinSet::new();
        for n in (begin..begin + EACH).step_by(2) {
            // One that is not waited for may be lost; it is not there then for anybody.
            append(&*broker, &orders, [n.to_string()]).await;
            let (broker, orders) = (broker.clone(), orders.clone());
            appends.spawn(async move {
                let batches = vec![batch([(n + 1).to_string()])];
                broker.append(&orders, batches, Durability::Flushed).await
            });
        }
        let mut saw = Vec::new();
        for follower in followers {
            saw.push(within(follower).await.unwrap());
        }
        assert!(saw.iter().all(|other| *other == saw[0]), "{saw:?}");
        seen.append(&mut saw[0]);
        while let Some(done) = within(appends.join_next()).await {
            done.unwrap().unwrap();
        }
        drop(broker);
        harness.kill().await;
    }
    let broker = harness.open();
    let kept = read_all(&*broker, &orders, 0).await;
    let kept: Vec<String> = kept.into_iter().map(|(_, value)| value).collect();
    assert_eq!(kept, seen);
    let mut sorted: Vec<usize> = seen.iter().map(|value| value.parse().unwrap()).collect();
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(0..4 * EACH), "each once");
}
