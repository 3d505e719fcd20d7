//! Records whose headers and times are nonsense, and letters that somebody else wrote: they come to an end like others, hold nobody
//! up, and reach nothing that they should not.

use std::collections::BTreeSet;

use broker::Durability;
use dispatch::{Filter, Letter, LetterError, Replay, headers};
use model::limits::GROUPS_TOPIC;
use model::{PartitionId, Timestamp, TopicPartition};
use record::{BatchBuilder, Compression};
use test_kit::clock::START;
use tokio::sync::watch;

use crate::rig::{Answer, Rig};

/// What numbers are written as.
const TEXTS: [&[u8]; 16] = [
    b"",
    b" ",
    b"0",
    b"-0",
    b"-1",
    b"9",
    b"10",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"1e9",
    b"NaN",
    b"9223372036854775807-4294967295",
    b"\xff\xfe",
    b"00-00000000000000000000000000000000-0000000000000000-01",
    &[b'7'; 2_000],
];

/// Headers that mean something. Not that of the time to be delivered at: it may be hundreds of millions of years away.
const NAMES: [&str; 21] = [
    headers::DEADLINE,
    headers::REQUEST_TIMEOUT,
    headers::ARRIVAL,
    headers::PRIORITY,
    headers::LISTENER,
    headers::DLQ_TOPIC,
    headers::DLQ_PARTITION,
    headers::DLQ_OFFSET,
    headers::DLQ_TIMESTAMP,
    headers::DLQ_LISTENER,
    headers::DLQ_REASON,
    headers::DLQ_ATTEMPTS,
    headers::DLQ_VALUE_BYTES,
    headers::DELAYED_TOPIC,
    headers::DELAYED_PARTITION,
    headers::DELAYED_OFFSET,
    "x-hlc",
    "ce_id",
    "ce_time",
    "traceparent",
    "",
];

type Headers<'h> = Vec<(&'h str, Option<&'h [u8]>)>;

async fn append(rig: &Rig, topic: &str, at: Timestamp, value: &str, headers: &Headers<'_>) {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(at, Some(value.as_bytes()), Some(value.as_bytes()), headers);
    let to = TopicPartition::new(topic.parse().unwrap(), PartitionId::new(0));
    let batches = vec![builder.build()];
    let appended = rig.broker.append(&to, batches, Durability::Flushed);
    appended.await.unwrap();
}

async fn letters(rig: &Rig) -> Vec<Letter> {
    let topic = "orders.dlq".parse().unwrap();
    let all = Filter::default();
    rig.handle
        .letters(&topic, None, None, 1_000, &all)
        .await
        .unwrap()
        .letters
}

#[tokio::test(start_paused = true)]
async fn whatever_headers_and_times_say_each_record_ends_once() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.listener(
        "{topics: orders, native: probe, concurrency: 8, retry: {attempts: 2}, deduplicate: {window: 1s}, deadline: {timeout: 1h}}",
    )
    .await;
    rig.probe.script(|_, value| match value {
        bad if bad.ends_with('3') => Answer::failed("no"),
        _ => Answer::done(0),
    });
    let mut sent = BTreeSet::new();
    let times = [i64::MIN, -1, 0, START.millis(), i64::MAX];
    for name in NAMES {
        for (number, text) in TEXTS.into_iter().map(Some).chain([None]).enumerate() {
            let value = format!("{}", sent.len());
            let time = Timestamp::from_millis(times[number % times.len()]);
            // An arrival alone says nothing.
            let other = (headers::REQUEST_TIMEOUT, Some(&b"9223372036854775807"[..]));
            let given = vec![(name, Some(&b"1"[..])), other, (name, text)];
            append(&rig, "orders", time, &value, &given).await;
            // Sent for a listener of another name.
            if name != headers::LISTENER {
                sent.insert(value);
            }
        }
    }
    rig.until_finished().await;
    let seen: Vec<String> = rig.probe.values();
    let mut ended: BTreeSet<String> = seen.into_iter().collect();
    for (_, value, letter) in rig.records("orders.dlq").await {
        assert!(["exhausted", "expired"].contains(&&*letter[headers::DLQ_REASON]));
        ended.insert(value);
    }
    assert_eq!(ended, sent);
    let letters = letters(&rig).await;
    assert!(letters.len() > 30, "{}", letters.len());
    for letter in &letters {
        assert_eq!((&*letter.listener, &*letter.origin.topic), ("l", "orders"));
        assert_eq!(letter.origin.partition, 0);
    }
    // And the next one comes as if nothing had been.
    append(&rig, "orders", rig.clock.now(), "after", &Headers::new()).await;
    rig.until(|| rig.probe.values().contains(&"after".to_owned()))
        .await;
}

#[tokio::test(start_paused = true)]
async fn letters_that_somebody_forged_are_not_sent_into_lanterns_own_topics() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.topic("orders.dlq", 1).await;
    for name in NAMES
        .iter()
        .filter(|name| name.starts_with(headers::DLQ_PREFIX))
    {
        for text in TEXTS {
            let given = vec![
                (headers::DLQ_TOPIC, Some(&b"orders"[..])),
                (headers::DLQ_PARTITION, Some(b"4294967295")),
                (headers::DLQ_OFFSET, Some(b"18446744073709551615")),
                (headers::DLQ_TIMESTAMP, Some(b"9223372036854775807")),
                (headers::DLQ_LISTENER, Some(b"l")),
                (headers::DLQ_REASON, Some(b"refused")),
                (headers::DLQ_ATTEMPTS, Some(b"[[[[[[[{")),
                (*name, Some(text)),
            ];
            append(&rig, "orders.dlq", START, "forged", &given).await;
        }
    }
    // They are shown, and sent where they may be: whoever may write letters may write orders.
    assert!(!letters(&rig).await.is_empty());
    let replay = |filter: &str| Replay {
        filter: Filter::parse([filter]).unwrap(),
        ..Replay::default()
    };
    let letters_topic = "orders.dlq".parse().unwrap();
    let told = watch::Sender::default();
    let replayed = rig
        .handle
        .replay(&letters_topic, &replay("topic=orders"), &told)
        .await;
    assert!(replayed.unwrap().sent > 0);

    let given = vec![
        (headers::DLQ_TOPIC, Some(GROUPS_TOPIC.as_bytes())),
        (headers::DLQ_PARTITION, Some(&b"0"[..])),
        (headers::DLQ_OFFSET, Some(b"0")),
        (headers::DLQ_TIMESTAMP, Some(b"0")),
        (headers::DLQ_LISTENER, Some(b"l")),
    ];
    append(&rig, "orders.dlq", START, "state", &given).await;
    let filter = format!("topic={GROUPS_TOPIC}");
    let refused = rig
        .handle
        .replay(&letters_topic, &replay(&filter), &told)
        .await;
    let refused = refused.unwrap_err();
    assert!(
        matches!(refused, LetterError::OriginInternal { .. }),
        "{refused}"
    );
    assert!(refused.to_string().contains(GROUPS_TOPIC), "{refused}");
    let mut kept = rig.records(GROUPS_TOPIC).await.into_iter();
    assert!(
        kept.all(|(key, _, _)| key != "state"),
        "groups have a record of it"
    );
}

#[tokio::test(start_paused = true)]
async fn letters_of_any_size_are_given_in_bounded_answers_and_each_once() {
    const SIZE: usize = 1 << 20;
    let rig = Rig::new();
    rig.topic("orders.dlq", 1).await;
    let value = "x".repeat(SIZE - 4_096);
    for number in 0..20 {
        let offset = number.to_string();
        let attempts = "[".repeat(2_000);
        let given = vec![
            (headers::DLQ_TOPIC, Some(&b"orders"[..])),
            (headers::DLQ_PARTITION, Some(b"0")),
            (headers::DLQ_OFFSET, Some(offset.as_bytes())),
            (headers::DLQ_TIMESTAMP, Some(b"0")),
            (headers::DLQ_LISTENER, Some(b"l")),
            (headers::DLQ_REASON, Some(b"refused")),
            (headers::DLQ_ATTEMPTS, Some(attempts.as_bytes())),
        ];
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(START, None, Some(value.as_bytes()), &given);
        let to = TopicPartition::new("orders.dlq".parse().unwrap(), PartitionId::new(0));
        let appended = rig
            .broker
            .append(&to, vec![builder.build()], Durability::Flushed);
        appended.await.unwrap();
    }
    let topic = "orders.dlq".parse().unwrap();
    let (mut from, mut seen) = (0, Vec::new());
    loop {
        let all = Filter::default();
        let answer = rig
            .handle
            .letters(&topic, None, Some(from), 1_000, &all)
            .await
            .unwrap();
        assert!(
            (1..=8).contains(&answer.letters.len()),
            "{} at once",
            answer.letters.len()
        );
        seen.extend(answer.letters.iter().map(|letter| letter.origin.offset));
        from = answer.letters.last().unwrap().offset + 1;
        if !answer.more {
            break;
        }
    }
    assert_eq!(seen, (0..20).collect::<Vec<_>>());
}
