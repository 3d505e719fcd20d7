//! Records whose time has not come: held back alone, of any number, over restarts, in a log that stays small.

use std::collections::BTreeMap;
use std::time::Duration;

use dispatch::MemoryOptions;
use model::{PartitionId, TopicPartition};

use crate::rig::{Answer, Rig};

const NONE: &[(&str, &str)] = &[];

/// Produces `count` records due at different times in the next five minutes, and one that is not delayed.
async fn produce_delayed(rig: &Rig, count: usize) {
    let now = rig.clock.now().millis();
    for number in 0..count {
        let after = i64::try_from(number * 7_919 % 300_000).unwrap();
        let due = (now + 2_000 + after).to_string();
        let headers: &[(&str, &str)] = &[("x-deliver-at-ms", &due), ("x-due", &due)];
        rig.produce("orders", 0, &[("k", &format!("d{number:04}"), headers)])
            .await;
    }
    rig.produce("orders", 0, &[("k", "now", NONE)]).await;
}

#[tokio::test(start_paused = true)]
async fn records_that_wait_for_their_time_hold_nobody_back_and_survive_restarts_and_kills() {
    let mut rig = Rig::new();
    rig.topic("orders", 1).await;
    let spec = "{topics: orders, native: probe, deadline: {timeout: 5s}}";
    rig.listener(spec).await;
    produce_delayed(&rig, 1_200).await;
    rig.until(|| rig.probe.values().contains(&"now".to_owned()))
        .await;
    let mut all: BTreeMap<String, usize> = BTreeMap::new();
    for life in 0..6_u64 {
        tokio::time::sleep(Duration::from_secs(30 + life * 7)).await;
        for seen in rig.probe.seen.lock().iter() {
            *all.entry(seen.value.clone()).or_default() += 1;
        }
        let (disk, now) = if life % 2 == 0 {
            rig.kill().await
        } else {
            rig.stop().await
        };
        rig = Rig::on(disk, now);
        rig.listener(spec).await;
    }
    rig.until_finished().await;
    for seen in rig.probe.seen.lock().iter() {
        *all.entry(seen.value.clone()).or_default() += 1;
    }
    assert_eq!(all.len(), 1_201, "every record came");
    let again: usize = all.values().map(|times| times - 1).sum();
    assert!(again <= 20, "{again} came again in three kills");
    assert_eq!(
        rig.records("orders.dlq").await,
        [],
        "to wait is not to be late"
    );
}

#[tokio::test(start_paused = true)]
async fn a_record_that_waited_is_delivered_at_its_time_with_its_own_coordinates() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.listener("{topics: orders, native: probe}").await;
    let clock = std::sync::Arc::clone(&rig.clock);
    rig.probe.script(move |delivery, _| {
        let due = delivery
            .record()
            .headers
            .get("x-due")
            .flatten()
            .map(<[u8]>::to_vec);
        if let Some(due) = due {
            let due: i64 = String::from_utf8(due).unwrap().parse().unwrap();
            let late = clock.now().millis() - due;
            assert!((0..20).contains(&late), "{late} ms late");
        }
        assert_eq!(delivery.partition.topic.as_str(), "orders");
        Answer {
            after: Duration::ZERO,
            outcome: dispatch::Outcome::Refused {
                error: delivery.offset.get().to_string(),
            },
        }
    });
    produce_delayed(&rig, 40).await;
    rig.until_finished().await;
    let letters = rig.records("orders.dlq").await;
    assert_eq!(letters.len(), 41);
    for (_, value, letter) in letters {
        let number = value
            .strip_prefix('d')
            .map_or(40, |number| number.parse().unwrap());
        assert_eq!(letter["x-dlq-offset"], number.to_string(), "{value}");
        assert!(!letter.contains_key("x-delayed-topic"));
    }
}

fn few_in_memory() -> Rig {
    Rig::with_memory(MemoryOptions {
        delayed: 50,
        ..MemoryOptions::default()
    })
}

/// Records between the start and the end of the listener's log of delayed records.
async fn log_length(rig: &Rig) -> u128 {
    let at = TopicPartition::new("lantern.delayed.l".parse().unwrap(), PartitionId::new(0));
    let marks = rig.broker.marks(&at).await.unwrap();
    marks.log_end.bits() - marks.log_start.bits()
}

#[tokio::test(start_paused = true)]
async fn any_number_may_be_due_in_one_millisecond() {
    let rig = few_in_memory();
    rig.topic("orders", 1).await;
    rig.listener("{topics: orders, native: probe, batch: 20}")
        .await;
    let due = (rig.clock.now().millis() + 60_000).to_string();
    let due: &[(&str, &str)] = &[("x-deliver-at-ms", &due)];
    for number in 0..300 {
        let values: Vec<String> = (0..2)
            .map(|half| format!("{:04}", number * 2 + half))
            .collect();
        let records = [("", values[0].as_str(), due), ("", values[1].as_str(), due)];
        rig.produce("orders", 0, &records).await;
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(
        rig.figure("delayed") <= 101,
        "{} in memory",
        rig.figure("delayed")
    );
    assert_eq!(rig.probe.values().len(), 0);
    rig.until(|| rig.probe.values().len() >= 600).await;
    rig.until_finished().await;
    let mut seen = rig.probe.values();
    seen.sort();
    seen.dedup();
    assert_eq!((seen.len(), rig.probe.values().len()), (600, 600));
}

#[tokio::test(start_paused = true)]
async fn the_log_of_what_waits_stays_small_and_what_waits_long_is_carried() {
    let mut rig = few_in_memory();
    rig.topic("orders", 1).await;
    rig.listener("{topics: orders, native: probe, batch: 50}")
        .await;
    let long_after = Duration::from_mins(6);
    let long = (rig.clock.now().plus(long_after).millis()).to_string();
    let long: &[(&str, &str)] = &[("x-deliver-at-ms", &long)];
    rig.produce("orders", 0, &[("a", "long", long)]).await;
    let mut longest = 0;
    for _ in 0..30 {
        let soon = (rig.clock.now().millis() + 3_000).to_string();
        let soon: &[(&str, &str)] = &[("x-deliver-at-ms", &soon)];
        rig.produce("orders", 0, &[("", "soon", soon); 30]).await;
        tokio::time::sleep(Duration::from_secs(6)).await;
        longest = longest.max(log_length(&rig).await);
    }
    assert!(longest <= 200, "{longest} of 901 records are kept for one");
    let count = |rig: &Rig, what: &str| {
        let seen = rig.probe.values();
        seen.iter().filter(|value| *value == what).count()
    };
    assert_eq!((count(&rig, "soon"), count(&rig, "long")), (900, 0));
    let (disk, now) = rig.stop().await;
    rig = Rig::on(disk, now);
    rig.listener("{topics: orders, native: probe, batch: 50}")
        .await;
    tokio::time::sleep(long_after).await;
    assert_eq!(rig.probe.values(), ["long"], "carried, and over a restart");
    let begin = rig.clock.now();
    while log_length(&rig).await > 0 {
        let patience = Duration::from_mins(1);
        assert!(rig.clock.now().since(begin) < patience, "nothing waits");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_before_its_time_ends_a_record_at_the_deadline() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.listener("{topics: orders, native: probe}").await;
    let now = rig.clock.now();
    let (late, due) = (
        (now.millis() + 5_000).to_string(),
        (now.millis() + 60_000).to_string(),
    );
    let both: &[(&str, &str)] = &[("x-deliver-at-ms", &due), ("x-deadline-ms", &late)];
    rig.produce("orders", 0, &[("a", "never", both)]).await;
    while rig.records("orders.dlq").await.is_empty() {
        assert!(rig.clock.now().since(now) < Duration::from_secs(6));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(rig.probe.values().len(), 0);
}
