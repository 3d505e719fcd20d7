//! Viewers: none slows another, whoever falls behind is right again with the next frame.

use std::time::Duration;

use board::ViewerMessage;
use frame::Frame;

use crate::rig::{Display, Rig};

const BOARD: &str = "
apiVersion: lantern/v1
kind: Board
metadata: {name: b}
spec:
  beat: 50
  lanes:
    - stats: {stats: [{label: Total, count: {topic: t}}]}
    - ticker: {title: Rows, topic: t, rows: 20}
    - marquee: {items: [{label: a, detail: a, interval: 1s}, {label: b, detail: b, interval: 1s}]}
";

async fn rig() -> Rig {
    let rig = Rig::new();
    rig.topic("t", 1).await;
    rig.apply(BOARD);
    rig
}

async fn publish(rig: &Rig, number: u32) {
    let key = number.to_string();
    rig.publish("t", 0, &[(0, "x", &key, "")]).await;
}

#[tokio::test(start_paused = true)]
async fn who_follows_and_who_comes_anew_see_the_same_at_every_beat() {
    let rig = rig().await;
    let mut follower = rig.display("b");
    follower.open().await;
    let mut compared = 0;
    for number in 0..120 {
        publish(&rig, number).await;
        let mut fresh = rig.display("b");
        fresh.open().await;
        follower.catch_up();
        if follower.state.seq == fresh.state.seq {
            assert_eq!(follower.state.to_json(), fresh.state.to_json());
            compared += 1;
        }
    }
    assert!(compared > 60, "{compared} comparisons");
    assert_eq!(
        follower.heads.iter().filter(|head| head.keyframe).count(),
        1,
        "who follows needs one keyframe"
    );
}

#[tokio::test(start_paused = true)]
async fn a_viewer_that_does_not_read_costs_nobody_anything() {
    let rig = rig().await;
    let mut quick = rig.display("b");
    quick.open().await;
    let mut stuck = rig.display("b");
    stuck.open().await;
    let keyframes = rig.metric("lantern_board_keyframes_total");
    for number in 0..200 {
        publish(&rig, number).await;
        quick
            .until(Duration::from_millis(60), |it| {
                it.value("Total") > f64::from(number) + 0.5
            })
            .await;
    }
    assert_eq!(
        rig.metric("lantern_board_keyframes_total"),
        keyframes,
        "no keyframe for who does not read"
    );
    let before = stuck.state.seq;
    stuck.heads.clear();
    stuck
        .until(Duration::from_millis(60), |it| it.value("Total") > 199.5)
        .await;
    assert!(
        stuck.heads[0].keyframe && stuck.heads[0].seq > before + 100,
        "{:?}",
        stuck.heads[0]
    );
    assert!(rig.metric("lantern_board_conflated_frames_total") > 100.0);
    quick.catch_up();
    if quick.state.seq == stuck.state.seq {
        assert_eq!(quick.state.to_json(), stuck.state.to_json());
    }
}

#[tokio::test(start_paused = true)]
async fn a_viewer_a_little_behind_gets_every_frame() {
    let rig = rig().await;
    let mut display = rig.display("b");
    display.open().await;
    for round in 0..20 {
        for number in 0..8 {
            publish(&rig, round * 8 + number).await;
        }
        display.catch_up();
    }
    let heads = &display.heads;
    assert!(
        heads
            .windows(2)
            .all(|pair| pair[1].seq == pair[0].seq + 1 && pair[1].base_seq == pair[0].seq)
    );
    assert_eq!(rig.metric("lantern_board_conflated_frames_total"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_mended_by_a_keyframe_of_now() {
    let rig = rig().await;
    let mut display = rig.display("b");
    display.open().await;
    publish(&rig, 1).await;
    // A frame is lost on the way.
    let lost = loop {
        match display.viewer.next().await.unwrap() {
            ViewerMessage::Binary(bytes) => break Frame::parse(&bytes).unwrap().head().seq,
            ViewerMessage::Text(_) => (),
        }
    };
    publish(&rig, 2).await;
    display.viewer.on_message(r#"{"type":"keyframe"}"#);
    display.heads.clear();
    display
        .until(Duration::from_millis(60), |it| it.value("Total") > 1.5)
        .await;
    assert!(display.heads[0].keyframe && display.heads[0].seq >= lost);
    assert_eq!(rig.metric("lantern_board_keyframe_requests_total"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn what_displays_say_is_answered_and_counted() {
    let rig = rig().await;
    let mut display = rig.display("b");
    display.open().await;
    display.viewer.on_message(r#"{"type":"ping","t":12.5}"#);
    display.viewer.on_message("nonsense");
    display.viewer.on_message(r#"{"type":"report","event_to_pixel_ms":{"p50":11.5,"p99":22},"fps":60,"dropped":3,"more":1}"#);
    display
        .until(Duration::from_secs(1), |it| it.answers.len() == 2)
        .await;
    assert_eq!(
        (&display.answers[0]["type"], &display.answers[0]["t"]),
        (&"pong".into(), &12.5.into())
    );
    assert!(
        display.answers[0]["unix_ns"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .is_ok()
    );
    assert_eq!(display.answers[1]["type"], "error");
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(rig.metric("lantern_board_viewer_frames_per_second"), 60.0);
    assert!((rig.metric("lantern_board_viewer_event_to_pixel_seconds") - 0.0335).abs() < 1e-9);
    for _ in 0..100 {
        display.viewer.on_message(r#"{"type":"ping","t":1}"#);
    }
    display.answers.clear();
    display.catch_up();
    assert_eq!(
        display.answers.len(),
        board::ANSWERS_MAX,
        "who asks more than it reads gets no more"
    );
}

#[tokio::test(start_paused = true)]
async fn twelve_hundred_viewers_share_every_frame() {
    let rig = rig().await;
    let mut displays: Vec<Display> = (0..1_200).map(|_| rig.display("b")).collect();
    for display in &mut displays {
        display.open().await;
    }
    assert_eq!(rig.metric("lantern_board_viewers"), 1_200.0);
    let encoded = rig.metric("lantern_board_encoded_bytes_total");
    let (frames, sent) = (
        rig.metric("lantern_board_frames_total"),
        rig.metric("lantern_board_sent_frames_total"),
    );
    for number in 0..20 {
        publish(&rig, number).await;
        for display in &mut displays {
            display
                .until(Duration::from_millis(100), |it| {
                    it.value("Total") > f64::from(number) + 0.5
                })
                .await;
        }
    }
    for display in &mut displays {
        display.catch_up();
    }
    let frames = rig.metric("lantern_board_frames_total") - frames;
    let sent = rig.metric("lantern_board_sent_frames_total") - sent;
    assert_eq!(
        sent,
        frames * 1_200.0,
        "each of {frames} frames went to everybody"
    );
    assert!(
        rig.metric("lantern_board_encoded_bytes_total") - encoded < frames * 4_096.0,
        "and was encoded once"
    );
    let first = displays[0].state.to_json();
    assert!(
        displays
            .iter()
            .all(|display| display.state.to_json() == first)
    );
    drop(displays);
    assert_eq!(rig.metric("lantern_board_viewers"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_board_that_panics_starts_again_and_its_viewers_stay() {
    let rig = rig().await;
    let mut display = rig.display("b");
    display.open().await;
    publish(&rig, 1).await;
    rig.clock.arm();
    display
        .until(Duration::from_secs(5), |it| {
            it.heads.iter().filter(|head| head.keyframe).count() == 2
        })
        .await;
    assert_eq!(rig.metric("lantern_board_panics_total"), 1.0);
    display
        .until(Duration::from_secs(1), |it| it.value("Total") > 0.5)
        .await;
}
