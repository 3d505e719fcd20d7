//! Heat maps and tables.

use std::time::Duration;

use broker::{Broker as _, Commit};
use env::Clock as _;
use model::{Offset, PartitionId, TopicPartition};

use crate::rig::{Rig, START_MS};

const BOARD: &str = "
apiVersion: lantern/v1
kind: Board
metadata: {name: late}
spec:
  lanes:
    - charts:
        charts:
          - {title: All, draw: heatmap, delays: {}, unit: seconds}
          - {title: Shop, draw: heatmap, delays: {group: shop, topic: orders}, steps: [1, 2]}
          - {title: Rates, draw: heatmap, query: 'rate(cpu[10s])', legend: '{core}', steps: [50], window: 1m, step: 5s}
    - table:
        title: {en: Cores}
        label: Core
        by: [core]
        rows: 2
        columns:
          - {label: Use, query: cpu, unit: percent, levels: {warning: '> 80'}}
          - {label: Heat, query: 'max by (core) (heat)'}
";

fn at(partition: u32) -> TopicPartition {
    TopicPartition::new("orders".parse().unwrap(), PartitionId::new(partition))
}

async fn commit(rig: &Rig, group: &str, partition: u32, position: u64) {
    let commit = Commit {
        position: Offset::new(position).into(),
        leader_epoch: None,
        metadata: String::new(),
        at: rig.now(),
    };
    let group = group.parse().unwrap();
    let commits = vec![(at(partition), commit)];
    rig.broker.commit(&group, commits).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_group_that_stands_still_is_seen_to_grow_late() {
    let rig = Rig::new();
    rig.topic("orders", 2).await;
    for (group, partition) in [("shop", 0), ("shop", 1), ("audit", 0)] {
        commit(&rig, group, partition, 0).await;
    }
    rig.publish("orders", 0, &[(0, "a", "k", "{}"), (0, "a", "k", "{}")])
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    commit(&rig, "shop", 0, 1).await;
    rig.apply(BOARD);
    let mut display = rig.display("late");
    display.open().await;
    // What was before somebody looked is there; partition 1 has nothing to show.
    let all = display.chart("All");
    let names: Vec<_> = all.keys().map(String::as_str).collect();
    assert_eq!(names, ["audit · orders/0", "shop · orders/0"]);
    let column = (START_MS / 10_000 * 10_000) as f64;
    let shop = &display.chart("Shop")["0"];
    assert_eq!(shop.len(), 1);
    assert_eq!(
        shop[0].0, column,
        "a point stands at the beginning of its slice"
    );
    assert!((0.3..0.4).contains(&shop[0].1), "{shop:?}");
    // A second record waits and nobody passes it: every slice is later than the one before.
    display
        .until(Duration::from_secs(40), |it| {
            it.chart("Shop")["0"]
                .last()
                .is_some_and(|point| point.0 >= column + 30_000.0)
        })
        .await;
    let shop = &display.chart("Shop")["0"];
    let times: Vec<f64> = shop.iter().map(|point| point.0 - column).collect();
    assert_eq!(times, [0.0, 10_000.0, 20_000.0, 30_000.0]);
    let begun = rig.clock.unix_nanos() / 1_000_000 - START_MS;
    assert!(begun >= 30_000);
    for (slice, point) in shop.iter().enumerate().take(3) {
        // At the end of its slice the record had waited since a moment after the start.
        let end = (slice as f64 + 1.0) * 10.0 - (START_MS as f64 - column) / 1_000.0;
        assert!((end - 0.1..=end).contains(&point.1), "{slice}: {point:?}");
    }
    // It is passed at last: nothing waits, and the late ones stay in sight.
    commit(&rig, "shop", 0, 2).await;
    let late = display.chart("Shop")["0"].len();
    display
        .until(Duration::from_secs(20), |it| {
            it.chart("All")["audit · orders/0"].len() > late
        })
        .await;
    assert_eq!(display.chart("Shop")["0"].len(), late);
    // A page that comes now sees the same.
    let mut other = rig.display("late");
    other.open().await;
    assert_eq!(other.chart("All"), display.chart("All"));
}

#[tokio::test(start_paused = true)]
async fn a_query_can_be_a_heat_map_and_several_a_table() {
    let rig = Rig::new();
    rig.apply(BOARD);
    for (core, slope, use_) in [("0", 10.0, 20.0), ("1", 100.0, 90.0), ("2", 1.0, 30.0)] {
        rig.fill(&[("__name__", "cpu"), ("core", core)], 120, |second| {
            if second == 120 {
                use_
            } else {
                second as f64 * slope
            }
        });
    }
    rig.fill(
        &[("__name__", "heat"), ("core", "1"), ("sensor", "a")],
        1,
        |_| 41.0,
    );
    rig.fill(
        &[("__name__", "heat"), ("core", "1"), ("sensor", "b")],
        1,
        |_| 44.0,
    );
    let mut display = rig.display("late");
    display.open().await;
    let layout = display.layout["board"]["lanes"][0]["charts"][2].to_string();
    assert!(layout.contains("\"draw\":\"heatmap\""), "{layout}");
    assert!(layout.contains("\"step_ms\":5000"), "{layout}");
    assert!(layout.contains("\"steps\":[50.0]"), "{layout}");
    assert_eq!(display.chart("Rates").len(), 3);
    let cell = display.cell("Cores");
    display
        .until(Duration::from_secs(5), |it| {
            it.state
                .rows
                .get(&cell)
                .is_some_and(|rows| !rows.is_empty())
        })
        .await;
    let rows: Vec<_> = display.state.rows[&cell]
        .iter()
        .map(|row| (row.level.code(), row.text.clone()))
        .collect();
    // The one in warning first, and no more rows than there is room for.
    assert_eq!(
        rows,
        [
            (
                3,
                r#"{"key":["1"],"levels":[3,0],"values":[90.0,44.0]}"#.to_owned()
            ),
            (
                1,
                r#"{"key":["0"],"levels":[1,0],"values":[20.0,null]}"#.to_owned()
            ),
        ]
    );
}
