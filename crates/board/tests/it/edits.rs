//! Boards are replaced while displays look at them.

use std::time::Duration;

use crate::rig::{Rig, file};

const BOARD: &str = "
apiVersion: lantern/v1
kind: Board
metadata: {name: b}
spec:
  title: One
  lanes:
    - marquee: {items: [{label: a, detail: first, interval: 5s}, {label: b, detail: second, interval: 5s}]}
";

#[tokio::test(start_paused = true)]
async fn an_edit_reaches_an_open_display() {
    let rig = Rig::new();
    rig.apply(BOARD);
    let mut display = rig.display("b");
    display
        .until(Duration::from_secs(7), |it| {
            it.state.lanes.values().any(|lane| {
                lane.2 > lane.1 && it.layout["board"]["lanes"][0]["items"][1]["id"] == lane.0
            })
        })
        .await;
    let (generation, seq) = (display.state.generation, display.state.seq);
    let edited = BOARD.replace("One", "Two").replace("first", "changed");
    rig.apply(&edited);
    display
        .until(Duration::from_secs(1), |it| {
            it.state.generation > generation
        })
        .await;
    assert_eq!(display.layout["board"]["title"]["en"], "Two");
    assert_eq!(display.text("a"), "changed");
    assert!(display.state.seq > seq, "seq goes on");
    let head = display.state.lanes.values().next().unwrap().0;
    assert_eq!(
        display.layout["board"]["lanes"][0]["items"][1]["id"], head,
        "the lane stays where it was"
    );
    // The same again is no change.
    let applied = rig.handle.apply(vec![file("board.yaml", &edited)]);
    assert_eq!((applied.changed, applied.removed), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_broken_edit_changes_nothing_and_says_where() {
    let rig = Rig::new();
    rig.apply(BOARD);
    let mut display = rig.display("b");
    display.open().await;
    let before = rig.handle.list();
    let broken = file(
        "board.yaml",
        &BOARD.replace("interval: 5s", "interval: 5 parsecs"),
    );
    let other = file("other.yaml", &BOARD.replace("name: b", "name: other"));
    let applied = rig.handle.apply(vec![broken.clone(), other.clone()]);
    assert_eq!(applied.changed, ["other"], "the good file is applied");
    assert_eq!(applied.removed, [""; 0]);
    let problem = applied.problems[0].to_string();
    assert!(problem.starts_with("board.yaml:8:"), "{problem}");
    assert!(board::Handle::check(&broken).is_err() && board::Handle::check(&other).is_ok());
    assert_eq!(rig.handle.list()[0], before[0]);
    display.heads.clear();
    display
        .until(Duration::from_secs(3), |it| it.heads.len() > 1)
        .await;
    assert!(
        display.heads.iter().all(|head| !head.keyframe),
        "the old one goes on"
    );
}

#[tokio::test(start_paused = true)]
async fn a_removed_board_says_so_and_may_come_back() {
    let rig = Rig::new();
    rig.apply(BOARD);
    let mut display = rig.display("b");
    display.open().await;
    let applied = rig.handle.apply(vec![]);
    assert_eq!(applied.removed, ["b"]);
    while display.step().await {}
    assert_eq!(display.answers.last().unwrap()["type"], "gone");
    let error = rig.handle.attach("b").unwrap_err();
    assert_eq!(error.to_string(), "there is no board 'b'");
    rig.apply(BOARD);
    let mut display = rig.display("b");
    display.open().await;
    assert_eq!(display.text("a"), "first");
}

#[tokio::test(start_paused = true)]
async fn a_board_in_two_files_is_refused_once() {
    let rig = Rig::new();
    let applied = rig
        .handle
        .apply(vec![file("a.yaml", BOARD), file("z.yaml", BOARD)]);
    assert_eq!(applied.changed, ["b"]);
    assert_eq!(
        applied.problems[0].to_string(),
        "z.yaml: metadata.name: board 'b' is in a.yaml already"
    );
    assert_eq!(rig.handle.list()[0].file, "a.yaml");
}
