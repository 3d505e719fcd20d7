//! Queries become values, texts, levels and charts.

use std::time::Duration;

use board::{Alert, AlertState};
use frame::Level;
use model::Timestamp;
use series::Labels;
use std::sync::Arc;

use crate::rig::{Rig, START_MS};

const BOARD: &str = "
apiVersion: lantern/v1
kind: Board
metadata: {name: host}
spec:
  beat: 20
  lanes:
    - marquee:
        items:
          - {label: CPU, query: 'avg(cpu)', unit: percent, levels: {warning: '> 80', critical: '> 95'}, detail: '{value} of {used:bytes}', with: {used: sum(used)}}
          - {label: Worst disk, query: free, unit: percent, levels: {warning: '< 20'}, detail: '{label.disk}'}
          - {label: About, detail: 走马灯}
    - charts:
        charts:
          - {title: By core, query: cpu, legend: 'core {core}', window: 1m, step: 1s}
          - {title: Fixed, window: 1m, series: [{label: a, query: 'sum(cpu)'}, {label: none, query: nothing}]}
    - alerts: {title: Alerts}
";

fn filled() -> Rig {
    let rig = Rig::new();
    rig.apply(BOARD);
    rig.fill(&[("__name__", "cpu"), ("core", "0")], 120, |second| {
        second as f64
    });
    rig.fill(&[("__name__", "cpu"), ("core", "1")], 120, |_| 60.0);
    rig.fill(&[("__name__", "used")], 1, |_| 1_073_741_824.0);
    for (disk, free) in [("a", 50.0), ("b", 10.0), ("c", 15.0)] {
        rig.fill(&[("__name__", "free"), ("disk", disk)], 1, |_| free);
    }
    rig
}

#[tokio::test(start_paused = true)]
async fn a_page_that_opens_sees_everything_at_once() {
    let rig = filled();
    let mut display = rig.display("host");
    display.open().await;
    assert_eq!(display.hello["protocol"], 1);
    assert_eq!(display.layout["board"]["beat_hz"], 20);
    assert_eq!(
        (display.value("CPU"), display.text("CPU")),
        (90.0, "90 % of 1 GiB")
    );
    assert_eq!(
        display.state.scalars[&display.cell("CPU")].1,
        Level::Warning
    );
    assert_eq!(
        (display.value("Worst disk"), display.text("Worst disk")),
        (10.0, "b"),
        "small is bad here"
    );
    assert_eq!(display.text("About"), "走马灯");
    let chart = display.chart("By core");
    assert_eq!(chart.keys().collect::<Vec<_>>(), ["core 0", "core 1"]);
    let points = &chart["core 0"];
    assert_eq!(points.len(), 61, "a minute of history");
    assert_eq!(
        (points[0], points[60]),
        ((START_MS as f64 - 60_000.0, 60.0), (START_MS as f64, 120.0))
    );
    assert_eq!(display.state.lanes.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn new_samples_are_shown_soon_and_lengthen_the_charts() {
    let rig = filled();
    let mut display = rig.display("host");
    display.open().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let labels = Labels::of(&[("__name__", "cpu"), ("core", "0")]);
    rig.store.append(&labels, rig.now(), 140.0).unwrap();
    display
        .until(Duration::from_secs(1), |it| {
            it.value("CPU").to_bits() == 100.0_f64.to_bits()
        })
        .await;
    assert_eq!(
        display.state.scalars[&display.cell("CPU")].1,
        Level::Critical
    );
    display
        .until(Duration::from_secs(3), |it| {
            it.chart("By core")["core 0"].last().unwrap().1 > 130.0
        })
        .await;
    let times: Vec<_> = display
        .chart("By core")
        .values()
        .map(|points| points.last().unwrap().0)
        .collect();
    assert!(
        times
            .windows(2)
            .all(|pair| pair[0].to_bits() == pair[1].to_bits()),
        "{times:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn series_that_come_and_go_are_declared() {
    let rig = filled();
    let mut display = rig.display("host");
    display.open().await;
    let new = Labels::of(&[("__name__", "cpu"), ("core", "2")]);
    rig.store.append(&new, rig.now(), 7.0).unwrap();
    display
        .until(Duration::from_secs(3), |it| it.chart("By core").len() == 3)
        .await;
    for core in ["0", "1", "2"] {
        let labels = Labels::of(&[("__name__", "cpu"), ("core", core)]);
        rig.store
            .append(&labels, rig.now(), series::STALE_NAN)
            .unwrap();
    }
    let labels = Labels::of(&[("__name__", "cpu"), ("core", "0")]);
    // All but one end; a minute later only that one is left.
    for _ in 0..70 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        rig.store.append(&labels, rig.now(), 1.0).unwrap();
        display.catch_up();
    }
    display
        .until(Duration::from_secs(3), |it| it.chart("By core").len() == 1)
        .await;
    assert!(display.chart("By core").contains_key("core 0"));
}

#[tokio::test(start_paused = true)]
async fn alerts_come_and_are_resolved() {
    let rig = filled();
    let mut display = rig.display("host");
    display.open().await;
    let alert = Alert {
        labels: Labels::of(&[("alertname", "Down"), ("severity", "critical")]),
        summary: "it is down".into(),
        state: AlertState::Firing,
        since: Timestamp::from_millis(START_MS),
    };
    rig.alerts.send_replace(Arc::new(vec![alert]));
    let cell = display.cell("Alerts");
    let state = |it: &crate::rig::Display| {
        let rows = it.state.rows.get(&cell)?;
        let text: serde_json::Value = serde_json::from_str(&rows.first()?.text).unwrap();
        text["state"].as_str().map(str::to_owned)
    };
    display
        .until(Duration::from_millis(60), |it| {
            state(it).as_deref() == Some("firing")
        })
        .await;
    rig.alerts.send_replace(Arc::default());
    display
        .until(Duration::from_millis(60), |it| {
            state(it).as_deref() == Some("resolved")
        })
        .await;
    display
        .until(Duration::from_secs(31), |it| state(it).is_none())
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_board_nobody_looks_at_evaluates_nothing() {
    let rig = filled();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(rig.metric("lantern_board_evaluations_total"), 0.0);
    let mut display = rig.display("host");
    display.open().await;
    drop(display);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (evaluated, frames) = (
        rig.metric("lantern_board_evaluations_total"),
        rig.metric("lantern_board_frames_total"),
    );
    assert!(evaluated > 0.0);
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(rig.metric("lantern_board_evaluations_total"), evaluated);
    assert_eq!(rig.metric("lantern_board_frames_total"), frames);
    assert_eq!(rig.metric("lantern_board_viewers"), 0.0);
    // And it is there again at once.
    let mut display = rig.display("host");
    display.open().await;
    assert_eq!(display.text("About"), "走马灯");
}

#[tokio::test(start_paused = true)]
async fn samples_that_arrive_are_shown_at_the_next_beat_and_others_cost_no_evaluation() {
    let rig = Rig::with_ingest().await;
    rig.apply(&BOARD.replace("beat: 20", "beat: 100"));
    let mut display = rig.display("host");
    display.open().await;
    let broker: broker::DynBroker = rig.broker.clone();
    let write = async |name: &str, value: f64| {
        let labels = Labels::of(&[("__name__", name), ("core", "0")]);
        let samples = [(labels, vec![(rig.now(), value)])];
        ingest::write(&broker, &samples, ingest::Origin::Samples)
            .await
            .unwrap();
    };
    // The topic is found, and the first evaluation is behind us.
    write("cpu", 1.0).await;
    display
        .until(Duration::from_secs(3), |it| it.value("CPU") > 0.5)
        .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    display.catch_up();
    let start = rig.now();
    write("cpu", 42.0).await;
    display
        .until(Duration::from_millis(40), |it| it.value("CPU") > 41.5)
        .await;
    let took = rig.now().since(start);
    assert!(took <= Duration::from_millis(30), "{took:?}");
    // Series nobody selects: evaluated by time alone.
    let before = rig.metric("lantern_board_evaluations_total");
    for _ in 0..100 {
        write("unrelated", 1.0).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        display.catch_up();
    }
    let more = rig.metric("lantern_board_evaluations_total") - before;
    assert!(
        more <= 2.0 * 7.0,
        "seven queries in about a second: {more} evaluations"
    );
}
