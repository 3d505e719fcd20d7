//! Any text as a file of `conf.d/` and as one of `rules/`, the way the binary takes them.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "the binary says more of a refusal")]
#[path = "../../crates/lantern/src/resources/kinds.rs"]
mod kinds;

fuzz_target!(|text: &str| {
    let file = kinds::File {
        path: "conf.d/it.yaml".into(),
        text: text.to_owned(),
    };
    let sorted = kinds::by_kind(vec![file]);
    let all = [
        sorted.boards.len(),
        sorted.meters.len(),
        sorted.listeners.len(),
        sorted.problems.len(),
    ];
    assert_eq!(
        all.iter().sum::<usize>(),
        1,
        "a file is of one kind, or refused with one reason"
    );
    for refusal in &sorted.problems {
        assert!(refusal.text.contains(&refusal.file), "{}", refusal.text);
    }
    for kinds::File { path, text } in sorted.boards {
        let file = board::BoardFile {
            path: path.display().to_string(),
            text,
        };
        if let Err(problems) = board::Handle::check(&file) {
            assert!(!problems.is_empty());
            assert!(
                problems
                    .iter()
                    .all(|problem| problem.to_string().contains("it.yaml"))
            );
        }
    }
    for kinds::File { path, text } in sorted.meters {
        match (meter::MeterFile { path, text }).parse() {
            Ok(meter) => assert!(!meter.name.is_empty() && !meter.metrics.is_empty()),
            Err(problems) => assert!(!problems.is_empty()),
        }
    }
    for kinds::File { path, text } in sorted.listeners {
        match (dispatch::ListenerFile { path, text }).parse() {
            Ok(spec) => assert!(!spec.name.is_empty() && !spec.topics.is_empty()),
            Err(problems) => assert!(!problems.is_empty()),
        }
    }
    let rules = alerting::RuleFile {
        path: "rules/it.yaml".into(),
        name: "it.yaml".to_owned(),
        text: text.to_owned(),
    };
    if let Err(problems) = alerting::check(&[rules]) {
        assert!(!problems.is_empty());
    }
});
