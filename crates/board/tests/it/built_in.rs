//! The boards that come with Lantern.

use std::time::Duration;

use crate::rig::{Rig, file};

fn boards() -> Vec<board::BoardFile> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../conf.d/boards");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "yaml"))
        .map(|path| {
            file(
                &path.file_name().unwrap().to_string_lossy(),
                &std::fs::read_to_string(&path).unwrap(),
            )
        })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

#[tokio::test(start_paused = true)]
async fn they_are_in_force_and_run_without_any_data() {
    let rig = Rig::new();
    let applied = rig.handle.apply(boards());
    let problems: Vec<_> = applied.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems, [""; 0]);
    assert_eq!(applied.changed, ["consumers", "orders", "this-machine"]);
    for board in ["consumers", "orders", "this-machine"] {
        let mut display = rig.display(board);
        display.open().await;
        display
            .until(Duration::from_secs(5), |it| it.heads.len() > 3)
            .await;
    }
    assert_eq!(rig.metric("lantern_board_evaluation_failures_total"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn every_text_is_there_in_both_languages() {
    let rig = Rig::new();
    assert_eq!(rig.handle.apply(boards()).problems, []);
    for board in ["consumers", "orders", "this-machine"] {
        let mut display = rig.display(board);
        display.open().await;
        let text = display.layout["board"].to_string();
        let same = text.matches("{\"en\":\"p50\",\"zh\":\"p50\"}").count()
            + text.matches("{\"en\":\"p99\",\"zh\":\"p99\"}").count();
        let chinese = |part: &&str| {
            part.chars()
                .take_while(|c| *c != '"')
                .any(|c| ('一'..='龥').contains(&c))
        };
        let all = text.split("\"zh\":\"").skip(1).count();
        let translated = text.split("\"zh\":\"").skip(1).filter(chinese).count();
        assert_eq!(translated + same, all, "{text}");
    }
}
