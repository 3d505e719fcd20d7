//! Events of topics: on screen one beat after they can be read.

use std::time::Duration;

use crate::rig::Rig;

const BOARD: &str = "
apiVersion: lantern/v1
kind: Board
metadata: {name: orders}
spec:
  beat: 100
  lanes:
    - stats:
        stats:
          - {label: Total, count: {topic: orders}}
          - {label: Paid, unit: per_second, count: {topic: orders, show: rate, types: [paid], window: 2s}}
    - ticker: {title: Events, topic: orders, rows: 5, text: '{value.amount:cents}', levels: {stalled: warning}}
";

fn rows(display: &crate::rig::Display) -> Vec<String> {
    let rows = display
        .state
        .rows
        .get(&display.cell("Events"))
        .into_iter()
        .flatten();
    let text = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    rows.map(|row| text(&row.text))
        .map(|row| {
            format!(
                "{} {} {}",
                row["type"].as_str().unwrap(),
                row["subject"].as_str().unwrap(),
                row["text"].as_str().unwrap()
            )
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn an_event_is_on_screen_one_beat_after_it_arrived() {
    let rig = Rig::new();
    rig.apply(BOARD);
    rig.topic("orders", 2).await;
    let mut display = rig.display("orders");
    display.open().await;
    display
        .until(Duration::from_secs(2), |it| it.value("Total").abs() < 0.5)
        .await;
    let sent_ms = rig.now().millis();
    rig.publish(
        "orders",
        1,
        &[
            (0, "paid", "o-1", r#"{"amount":1234}"#),
            (0, "stalled", "o-2", ""),
        ],
    )
    .await;
    display.heads.clear();
    display
        .until(Duration::from_millis(30), |it| it.value("Total") > 1.5)
        .await;
    assert_eq!(rows(&display), ["paid o-1 € 12.34", "stalled o-2 –"]);
    let head = display.heads.iter().find(|head| head.events > 0).unwrap();
    let sent_ns = u64::try_from(sent_ms).unwrap() * 1_000_000;
    assert_eq!(
        (head.events, head.stamp_ns, head.stamp_newest_ns),
        (2, sent_ns, sent_ns),
        "stamps are the times of sending"
    );
    assert!(
        head.sent_ns - head.stamp_ns <= 20_000_000,
        "publish, one beat and the tests' writer: {}",
        head.sent_ns - head.stamp_ns
    );
    display
        .until(Duration::from_millis(200), |it| it.value("Paid") > 0.4)
        .await;
    display
        .until(Duration::from_secs(3), |it| it.value("Paid") < 0.1)
        .await;
    assert_eq!(rig.metric("lantern_board_events_total"), 2.0);
}

#[tokio::test(start_paused = true)]
async fn a_page_opens_with_the_newest_rows_and_the_whole_count() {
    let rig = Rig::new();
    rig.topic("orders", 2).await;
    for number in 0..20_u32 {
        let key = format!("o-{number}");
        rig.publish("orders", number % 2, &[(0, "paid", &key, "")])
            .await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.apply(BOARD);
    let mut display = rig.display("orders");
    display.open().await;
    display
        .until(Duration::from_secs(1), |it| {
            it.value("Total") > 19.5 && rows(it).len() == 5
        })
        .await;
    assert_eq!(
        rows(&display),
        [
            "paid o-15 –",
            "paid o-16 –",
            "paid o-17 –",
            "paid o-18 –",
            "paid o-19 –"
        ]
    );
    assert!(
        display.value("Paid") > 1.0,
        "the rate knows the last seconds"
    );
    assert!(
        display.heads.iter().all(|head| head.events == 0),
        "history is no news"
    );
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_comes_later_is_found() {
    let rig = Rig::new();
    rig.apply(BOARD);
    let mut display = rig.display("orders");
    display.open().await;
    assert!(display.value("Total").is_nan());
    rig.topic("orders", 1).await;
    rig.publish("orders", 0, &[(0, "created", "o-1", "")]).await;
    display
        .until(Duration::from_secs(3), |it| it.value("Total") > 0.5)
        .await;
    assert_eq!(rows(&display), ["created o-1 –"]);
}

#[tokio::test(start_paused = true)]
async fn many_events_make_few_rows_and_no_lost_count() {
    let rig = Rig::new();
    rig.apply(BOARD);
    rig.topic("orders", 1).await;
    let mut display = rig.display("orders");
    display.open().await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let events: Vec<_> = (0..500).map(|_| (0, "created", "o", "")).collect();
    for _ in 0..20 {
        rig.publish("orders", 0, &events).await;
        display.catch_up();
    }
    display
        .until(Duration::from_secs(1), |it| it.value("Total") > 9_999.5)
        .await;
    assert_eq!(
        display
            .heads
            .iter()
            .map(|head| u64::from(head.events))
            .sum::<u64>(),
        10_000
    );
    assert!(rows(&display).len() <= 5);
}
