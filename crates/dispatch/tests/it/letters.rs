//! Dead letters: looked at, chosen, sent again.

use std::time::Duration;

use dispatch::{Filter, Letter, LetterError, Outcome, Replay, Replayed};
use flow::Rate;
use tokio::sync::watch;

use crate::rig::{Answer, Rig};

const NONE: &[(&str, &str)] = &[];

/// A listener that gave up every record whose value begins with `bad`.
async fn rig() -> Rig {
    let rig = Rig::new();
    rig.topic("orders", 2).await;
    rig.listener("{topics: orders, native: probe, concurrency: 1}")
        .await;
    rig.probe.script(|_, value| match value {
        bad if bad.starts_with("bad") => Answer {
            after: Duration::ZERO,
            outcome: Outcome::Refused {
                error: format!("400 {bad}"),
            },
        },
        _ => Answer::done(0),
    });
    let id: &[(&str, &str)] = &[("ce_id", "7"), ("x-deadline-ms", "1763690009999999")];
    let records = [
        ("a", "bad1", id),
        ("b", "good", NONE),
        ("c", "bad2", NONE),
        ("a", "bad3", NONE),
    ];
    rig.produce("orders", 1, &records).await;
    rig.until_finished().await;
    rig
}

async fn letters(rig: &Rig, filter: &[&str]) -> Vec<Letter> {
    let filter = Filter::parse(filter.iter().copied()).unwrap();
    let topic = "orders.dlq".parse().unwrap();
    rig.handle
        .letters(&topic, None, None, 100, &filter)
        .await
        .unwrap()
        .letters
}

async fn replay(rig: &Rig, replay: Replay) -> Result<Replayed, LetterError> {
    let topic = "orders.dlq".parse().unwrap();
    rig.handle
        .replay(&topic, &replay, &watch::Sender::default())
        .await
}

fn filtered(part: &str) -> Replay {
    Replay {
        filter: Filter::parse([part]).unwrap(),
        ..Replay::default()
    }
}

#[tokio::test(start_paused = true)]
async fn letters_are_shown_in_words_and_chosen_by_filters() {
    let rig = rig().await;
    let topics = rig.handle.letter_topics().await.unwrap();
    assert_eq!(
        (topics.len(), topics[0].topic.as_str(), topics[0].letters),
        (1, "orders.dlq", 3)
    );
    let all = letters(&rig, &[]).await;
    let shown = serde_json::to_value(&all[0]).unwrap();
    assert_eq!(shown["value"], "bad1");
    assert_eq!(shown["origin"]["partition"], 1);
    assert_eq!(shown["headers"][0], serde_json::json!(["ce_id", "7"]));
    assert_eq!(shown["attempts"][0]["error"], "400 bad1");
    assert!(
        shown["buriedAt"]
            .as_str()
            .unwrap()
            .starts_with("2025-11-21T01:53:2"),
        "{shown}"
    );
    for (filter, expected) in [
        (&["key=a"][..], 2),
        (&["key=a", "error=bad3"], 1),
        (&["listener=l", "reason=refused", "topic=orders"], 3),
        (&["reason=expired"], 0),
        (&["listener=other"], 0),
    ] {
        assert_eq!(letters(&rig, filter).await.len(), expected, "{filter:?}");
    }
    let other = "orders".parse().unwrap();
    let error = rig
        .handle
        .letters(&other, None, None, 1, &Filter::default())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "'orders' is no topic of dead letters");
}

#[tokio::test(start_paused = true)]
async fn a_replay_sends_each_letter_once_to_the_listener_that_gave_it_up() {
    let rig = rig().await;
    rig.listen(&[
        ("l", "{topics: orders, native: probe, concurrency: 1}"),
        ("other", "{topics: orders, native: probe, concurrency: 1}"),
    ])
    .unwrap();
    rig.until(|| rig.handle.list().len() == 2).await;
    rig.probe.script(|_, _| Answer::done(0));
    rig.probe.seen.lock().clear();

    let dry = Replay {
        dry_run: true,
        ..filtered("key=c")
    };
    assert_eq!(replay(&rig, dry).await.unwrap().sent, 1);
    let sent = replay(&rig, filtered("key=c")).await.unwrap();
    assert_eq!((sent.sent, sent.left_out), (1, 2));
    let sent = replay(&rig, Replay::default()).await.unwrap();
    assert_eq!(
        (sent.sent, sent.before),
        (2, 1),
        "not the one that was sent before"
    );
    assert_eq!(replay(&rig, Replay::default()).await.unwrap().sent, 0);
    rig.until_finished().await;
    assert_eq!(
        rig.probe.values(),
        ["bad2", "bad1", "bad3"],
        "by one listener only"
    );
    let sent: Vec<_> = rig.records("orders").await.split_off(4);
    let first = sent.iter().find(|(_, value, _)| value == "bad1").unwrap();
    let names: Vec<_> = first.2.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["ce_id", "x-hlc", "x-listener"],
        "without what made it a letter"
    );

    let again = Replay {
        again: true,
        ..Replay::default()
    };
    assert_eq!(replay(&rig, again).await.unwrap().sent, 3);
}

#[tokio::test(start_paused = true)]
async fn a_replay_keeps_its_rate() {
    let rig = rig().await;
    let begin = rig.clock.monotonic();
    let slow = Replay {
        rate: Some(Rate::new(2, 1)),
        ..Replay::default()
    };
    assert_eq!(replay(&rig, slow).await.unwrap().sent, 3);
    let took = rig.clock.monotonic().saturating_sub(begin);
    assert!(
        (Duration::from_millis(450)..Duration::from_millis(1_600)).contains(&took),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_letter_whose_topic_is_gone_is_named() {
    let rig = rig().await;
    rig.broker
        .delete_topic(&"orders".parse().unwrap())
        .await
        .unwrap();
    let error = replay(&rig, Replay::default())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("letter 0 of orders.dlq") && error.contains("'orders'"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn two_replays_at_once_do_not_send_twice() {
    let rig = rig().await;
    // Nobody is there to refuse them again.
    rig.listen(&[]).unwrap();
    rig.until(|| rig.handle.list().is_empty()).await;
    let topic: model::TopicName = "orders.dlq".parse().unwrap();
    let told = watch::Sender::default();
    let slow = Replay {
        rate: Some(Rate::new(1, 1)),
        ..Replay::default()
    };
    let first = rig.handle.replay(&topic, &slow, &told);
    let second = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let error = replay(&rig, Replay::default()).await.unwrap_err();
        let dry = Replay {
            dry_run: true,
            ..Replay::default()
        };
        assert_eq!(replay(&rig, dry).await.unwrap().sent, 3, "nothing is sent");
        error.to_string()
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.unwrap().sent, 3);
    for part in ["'orders.dlq'", "since 2025-11-21T", "letters so far"] {
        assert!(second.contains(part), "{second}");
    }
    let after = replay(&rig, Replay::default()).await.unwrap();
    assert_eq!((after.sent, after.before), (0, 3), "the way is free again");
    assert_eq!(rig.records("orders").await.len(), 7);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_remembered_is_not_sent() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.topic("orders.dlq", 1).await;
    // Every second letter has the key that is asked for.
    for chunk in 0..26 {
        let letter: &[(&str, &str)] = &[
            ("x-dlq-topic", "orders"),
            ("x-dlq-partition", "0"),
            ("x-dlq-offset", "0"),
            ("x-dlq-timestamp", "1763690000000"),
            ("x-dlq-listener", "nobody"),
            ("x-dlq-reason", "refused"),
            ("x-dlq-attempts", "[]"),
        ];
        let key = |number: usize| {
            if usize::is_multiple_of(number, 2) {
                "even"
            } else {
                "odd"
            }
        };
        let letters: Vec<_> = (0..500)
            .map(|number| (key(number + chunk * 500), "v", letter))
            .collect();
        rig.produce("orders.dlq", 0, &letters).await;
    }
    let error = replay(&rig, filtered("key=odd")).await.unwrap_err();
    let LetterError::TooScattered { offset, .. } = error else {
        panic!("{error}");
    };
    let sent = rig.records("orders").await.len();
    assert!(
        sent > 2_000 && offset == 2 * sent as u64 + 1,
        "{sent}, {offset}"
    );
    let error = replay(&rig, filtered("key=odd")).await.unwrap_err();
    assert!(error.to_string().contains("too many gaps"), "{error}");
    assert_eq!(
        rig.records("orders").await.len(),
        sent,
        "nothing comes twice"
    );
}
