//! What a listener makes of its records: keys, places, headers, and what is refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::{Cleanup, CleanupPolicy, EmbeddedBroker, Options, TopicConfig, TopicSpec};
use delivery::Hlc;
use dispatch::{Inputs, ListenerFile, Outcome, Output, Service};
use model::partition_of;

use crate::rig::{Answer, Rig};

const NONE: &[(&str, &str)] = &[];

/// A house with a listener from `orders` (two partitions) to `paid` (four).
async fn rig(more: &str) -> Rig {
    let rig = Rig::new();
    rig.topic("orders", 2).await;
    rig.topic("paid", 4).await;
    rig.listener(&format!(
        "{{topics: orders, native: probe, output: {{topic: paid}}{more}}}"
    ))
    .await;
    rig
}

#[tokio::test(start_paused = true)]
async fn an_output_has_its_inputs_key_trace_and_a_later_time_unless_it_says_otherwise() {
    let rig = rig("").await;
    rig.probe.making(|value| match value {
        "1" => vec![Output::new("plain"), Output::new("second")],
        "2" => vec![
            Output::new("own")
                .with_key("mine")
                .with_header("traceparent", "00-9-9-01")
                .with_header("x-hlc", "1-1"),
            Output::new("none").without_key(),
        ],
        _ => vec![Output::tombstone()],
    });
    let cause = Hlc::from(rig.clock.now().plus(Duration::from_hours(1)));
    let time = cause.to_string();
    let headers = &[
        ("traceparent", "00-1-2-01"),
        ("tracestate", "shop=1"),
        ("x-hlc", &time),
        ("ce_id", "17"),
    ][..];
    let records = [("a", "1", headers), ("b", "2", headers), ("c", "3", NONE)];
    rig.produce("orders", 1, &records).await;
    rig.until_finished().await;
    let all = rig.records("paid").await;
    let found: BTreeMap<&str, _> = all
        .iter()
        .map(|(key, value, headers)| (value.as_str(), (key.as_str(), headers)))
        .collect();
    assert_eq!(found["plain"].0, "a");
    assert_eq!(found["plain"].1["traceparent"], "00-1-2-01");
    assert_eq!(found["plain"].1["tracestate"], "shop=1");
    assert!(
        !found["plain"].1.contains_key("ce_id"),
        "it is another event"
    );
    assert_eq!(found["own"].0, "mine");
    assert_eq!(found["own"].1["traceparent"], "00-9-9-01");
    assert!(
        !found["own"].1.contains_key("tracestate"),
        "that was another trace's"
    );
    assert_eq!((found["none"].0, found[""].0), ("", "c"));
    let time = |value: &str| found[value].1["x-hlc"].parse::<Hlc>().unwrap();
    assert!(
        time("plain") > cause && time("second") > time("plain"),
        "an effect is later"
    );
    assert!(time("own") > cause);
    // A key is where any Kafka client looks for it; what has none is where its input was.
    let paid = rig.broker.topic(&"paid".parse().unwrap()).unwrap();
    for (key, partition) in [
        ("a", partition_of(b"a", 4)),
        ("mine", partition_of(b"mine", 4)),
        ("", model::PartitionId::new(1)),
    ] {
        let at = paid.partition(partition.get());
        let limit = broker::ReadLimit {
            bytes: 1 << 20,
            at_least_one: true,
        };
        let read = rig.broker.read(&at, model::Position::default(), limit);
        let batches = record::Batches::new(read.await.unwrap().batches);
        let mut records = batches.flat_map(|batch| batch.unwrap().records().into_iter());
        let has = records.any(|records| {
            let mut records = records.iter().flatten();
            records.any(|one| one.key.unwrap_or_default() == key.as_bytes())
        });
        assert!(has, "'{key}' is not in {at}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_output_topic_is_made_as_wide_as_its_source() {
    let rig = Rig::new();
    rig.topic("orders", 3).await;
    rig.listener("{topics: orders, native: probe, output: {topic: invoices}}")
        .await;
    rig.probe
        .making(|value| vec![Output::new(value.to_owned())]);
    rig.produce("orders", 2, &[("a", "1", NONE)]).await;
    rig.until_finished().await;
    let invoices = rig.broker.topic(&"invoices".parse().unwrap()).unwrap();
    assert_eq!(invoices.partitions, 3);
    assert_eq!(rig.records("invoices").await.len(), 1);
    assert_eq!(rig.handle.list()[0].output.as_deref(), Some("invoices"));
}

#[tokio::test(start_paused = true)]
async fn what_its_topic_would_never_take_is_refused_once_and_holds_nobody_up() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    let mut paid = TopicSpec::new("paid".parse().unwrap(), 1);
    paid.config = TopicConfig {
        batch_bytes: stdx::ByteSize::from_kib(8),
        cleanup: Cleanup {
            policy: CleanupPolicy::Compact,
            ..Cleanup::default()
        },
        ..TopicConfig::default()
    };
    rig.broker.create_topic(paid).await.unwrap();
    rig.listener("{topics: orders, native: probe, output: {topic: paid}}")
        .await;
    rig.probe.making(|value| match value {
        "large" => vec![Output::new("small"), Output::new(vec![7; 9_000])],
        "keyless" => vec![Output::new("x").without_key()],
        value => vec![Output::new(value.to_owned())],
    });
    let records = [
        ("a", "large", NONE),
        ("b", "keyless", NONE),
        ("a", "good", NONE),
    ];
    rig.produce("orders", 0, &records).await;
    rig.until_finished().await;
    let paid = rig.records("paid").await;
    assert_eq!(paid.len(), 1, "all of an input's outputs or none: {paid:?}");
    assert_eq!((paid[0].0.as_str(), paid[0].1.as_str()), ("a", "good"));
    let letters = rig.records("orders.dlq").await;
    let why = |value: &str| {
        let letter = letters.iter().find(|(_, one, _)| one == value).unwrap();
        assert_eq!(letter.2["x-dlq-reason"], "refused");
        letter.2["x-dlq-attempts"].clone()
    };
    assert_eq!(letters.len(), 2);
    assert!(why("large").contains("is larger than 8192, the limit of topic 'paid'"));
    assert!(why("keyless").contains("topic 'paid' is compacted"));
    assert_eq!(rig.probe.values().len(), 3, "each was called once");
}

/// Inside a transaction such a letter would fail the answers of all others, again and again.
#[tokio::test(start_paused = true)]
async fn a_letter_that_its_topic_does_not_take_holds_back_its_record_and_no_transaction() {
    let rig = rig("").await;
    let mut letters = TopicSpec::new("orders.dlq".parse().unwrap(), 1);
    letters.config.batch_bytes = stdx::ByteSize::from_kib(4);
    let mut config = letters.config.clone();
    rig.broker.create_topic(letters).await.unwrap();
    rig.probe.script(|_, value| match value {
        bad if bad.starts_with("bad") => Answer {
            after: Duration::ZERO,
            outcome: Outcome::Refused {
                error: "nonsense".to_owned(),
            },
        },
        _ => Answer::done(0),
    });
    rig.probe
        .making(|value| vec![Output::new(value.to_owned())]);
    let (key, value) = ("k".repeat(5_000), format!("bad{}", "v".repeat(5_000)));
    let records = [
        ("a", value.as_str(), NONE),
        (key.as_str(), "bad", NONE),
        ("b", "good", NONE),
    ];
    rig.produce("orders", 0, &records).await;
    rig.until(|| rig.figure("output_records_total") == 1).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    let written = rig.records("orders.dlq").await;
    assert_eq!(written.len(), 1, "{written:?}");
    assert_eq!((written[0].0.as_str(), written[0].1.as_str()), ("a", ""));
    assert_eq!(written[0].2["x-dlq-value-bytes"], "5003");
    assert_eq!(rig.probe.values().len(), 3, "nothing began again");

    config.batch_bytes = stdx::ByteSize::from_kib(8);
    let topic = "orders.dlq".parse().unwrap();
    rig.broker.configure_topic(&topic, config).await.unwrap();
    rig.until_finished().await;
    let written = rig.records("orders.dlq").await;
    assert_eq!((written.len(), written[1].1.as_str()), (2, "bad"));
    assert_eq!(rig.probe.values().len(), 3, "each was called once");
}

#[tokio::test(start_paused = true)]
async fn outputs_without_a_topic_are_refused_and_not_lost() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.listener("{topics: orders, native: probe}").await;
    rig.probe
        .making(|value| vec![Output::new(value.to_owned())]);
    rig.produce("orders", 0, &[("a", "1", NONE)]).await;
    rig.until_finished().await;
    let letters = rig.records("orders.dlq").await;
    assert!(letters[0].2["x-dlq-attempts"].contains("names no output topic"));
}

#[tokio::test(start_paused = true)]
async fn only_what_was_taken_has_an_output() {
    let rig = rig(", batch: 10, concurrency: 1, retry: {attempts: 2, initial: 10ms}").await;
    rig.probe
        .script(|delivery, value| match (value, delivery.attempt) {
            ("a2", 1) | ("b1", _) => Answer::failed("no"),
            ("c1", _) => Answer {
                after: Duration::ZERO,
                outcome: Outcome::Refused {
                    error: "nonsense".to_owned(),
                },
            },
            _ => Answer::done(1),
        });
    rig.probe
        .making(|value| vec![Output::new(format!("{value}+"))]);
    let records = [
        ("a", "a1", NONE),
        ("a", "a2", NONE),
        // Answered in the first call, too, and of no account there: it follows a2.
        ("a", "a3", NONE),
        ("b", "b1", NONE),
        ("c", "c1", NONE),
        ("d", "d1", NONE),
    ];
    rig.produce("orders", 0, &records).await;
    rig.until_finished().await;
    let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value, _) in rig.records("paid").await {
        by_key.entry(key).or_default().push(value);
    }
    let expected = [("a", &["a1+", "a2+", "a3+"][..]), ("d", &["d1+"][..])];
    let expected = expected.map(|(key, values)| {
        let values = values.iter().map(ToString::to_string).collect();
        (key.to_owned(), values)
    });
    assert_eq!(by_key, expected.into());
    assert_eq!(rig.records("orders.dlq").await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_waits_for_its_time_has_its_output_once_over_a_kill() {
    let mut rig = rig("").await;
    let making = |value: &str| vec![Output::new(format!("{value}+"))];
    rig.probe.making(making);
    let due = (rig.clock.now().millis() + 5_000).to_string();
    let due: &[(&str, &str)] = &[("x-deliver-at-ms", &due)];
    rig.produce("orders", 0, &[("a", "later", due), ("a", "now", NONE)])
        .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(rig.probe.values(), ["now"]);
    for _ in 0..2 {
        let (disk, now) = rig.kill().await;
        rig = Rig::on(disk, now);
        rig.probe.making(making);
        rig.listener("{topics: orders, native: probe, output: {topic: paid}}")
            .await;
        rig.until_finished().await;
    }
    let paid = rig.records("paid").await;
    let mut values: Vec<&str> = paid.iter().map(|(_, value, _)| value.as_str()).collect();
    values.sort_unstable();
    assert_eq!(values, ["later+", "now+"]);
    let delayed = "lantern.delayed.l".parse().unwrap();
    assert!(rig.broker.topic(&delayed).is_none(), "no copy was made");
}

/// Transactions cost flushes: under load many answers share one, and none waits long when there are few.
#[tokio::test(start_paused = true)]
async fn answers_share_transactions_and_a_lone_one_waits_for_no_other() {
    let rig = rig(", concurrency: 64, ordering: none").await;
    rig.probe
        .making(|value| vec![Output::new(value.to_owned())]);
    let begin = rig.clock.now();
    rig.produce("orders", 0, &[("", "lone", NONE)]).await;
    while rig.records("paid").await.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = rig.clock.now().since(begin);
    // Ten milliseconds, and some flushes of five in this house.
    assert!(took < Duration::from_millis(100), "{took:?}");
    rig.produce("orders", 0, &vec![("", "many", NONE); 10_000])
        .await;
    rig.until_finished().await;
    let committed = "listener=\"l\",outcome=\"committed\"";
    // Told when the listener hears of the last commit, which others see before.
    rig.until(|| rig.figure("output_records_total") == 10_001)
        .await;
    let transactions = rig.figure_of("transactions_total", committed);
    assert!((2..200).contains(&transactions), "{transactions}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_hold_is_refused_with_file_place_and_reason() {
    let rig = Rig::new();
    for (spec, reason) in [
        ("output: {topic: orders}", "one of its own topics"),
        (
            "output: {topic: lantern.groups}",
            "Lantern's own and takes part in no transaction",
        ),
        ("output: {topic: orders.dlq}", "its topic of dead letters"),
        (
            "output: {topic: a}, deadLetters: {topic: a}",
            "its topic of dead letters",
        ),
        ("output: {}", "topic"),
    ] {
        let spec = format!("{{topics: orders, native: probe, {spec}}}");
        let problems = rig.listen(&[("l", &spec)]).unwrap_err().to_string();
        assert!(problems.starts_with("listener l: "), "{problems}");
        assert!(
            problems.contains(reason),
            "'{reason}' is not in: {problems}"
        );
    }
    let alone = EmbeddedBroker::open(Options::in_memory()).unwrap();
    let service = Service::new(Inputs::new(Arc::<EmbeddedBroker>::clone(&alone)));
    let webhook = "{topics: orders, webhook: {url: 'http://localhost:1/'}, output: {topic: paid}}";
    let problems = service.handle().apply(&[ListenerFile::of("l", webhook)]);
    let problems = problems.unwrap_err().to_string();
    assert!(
        problems.contains("spec.output: nobody coordinates transactions"),
        "{problems}"
    );
    alone.shutdown().await.unwrap();
}
