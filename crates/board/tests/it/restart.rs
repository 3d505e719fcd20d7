//! Lanes go on where they were.

use std::time::Duration;

use crate::rig::{Display, Rig, START_MS};

const BOARD: &str = "
apiVersion: lantern/v1
kind: Board
metadata: {name: b}
spec:
  lanes:
    - marquee: {items: [{label: a, detail: a, interval: 4s}, {label: b, detail: b, interval: 4s}, {label: c, detail: c, interval: 4s}]}
";

/// The place of the item at the head.
fn head(display: &Display) -> usize {
    let items = display.layout["board"]["lanes"][0]["items"]
        .as_array()
        .unwrap();
    let lane = display.state.lanes.values().next().unwrap();
    items.iter().position(|item| item["id"] == lane.0).unwrap()
}

async fn third(rig: &Rig) {
    rig.apply(BOARD);
    let mut display = rig.display("b");
    display.open().await;
    assert_eq!(head(&display), 0);
    display
        .until(Duration::from_secs(9), |it| head(it) == 2)
        .await;
    // The record of the turn is written.
    tokio::time::sleep(Duration::from_millis(500)).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_kill() {
    let rig = Rig::new();
    third(&rig).await;
    let disk = rig.kill().await;
    let rig = Rig::on(disk, START_MS + 3_600_000);
    rig.apply(BOARD);
    let mut display = rig.display("b");
    display.open().await;
    assert_eq!(head(&display), 2);
    display
        .until(Duration::from_secs(5), |it| head(it) == 0)
        .await;
}

#[tokio::test(start_paused = true)]
async fn after_a_shutdown_with_the_time_left() {
    let rig = Rig::new();
    third(&rig).await;
    let disk = rig.stop().await;
    let rig = Rig::on(disk, START_MS + 3_600_000);
    rig.apply(BOARD);
    let mut display = rig.display("b");
    display.open().await;
    assert_eq!(head(&display), 2);
    let (_, since, until) = display.state.lanes.values().next().unwrap();
    assert!((until - since - 4_000.0).abs() < 1.0);
    assert!(
        *since < (START_MS + 3_600_000) as f64,
        "half a second of the turn is over"
    );
}

#[tokio::test(start_paused = true)]
async fn lanes_stand_still_while_nobody_looks() {
    let rig = Rig::new();
    third(&rig).await;
    tokio::time::sleep(Duration::from_secs(40)).await;
    let mut display = rig.display("b");
    display.open().await;
    // The board went on for five seconds after the last display left, one turn.
    assert_eq!(head(&display), 0);
}
