//! What a resource may say, and what is said of one that is wrong.

use super::*;

fn parse(spec: &str) -> Result<Spec, String> {
    let text = format!(
        "apiVersion: lantern/v1\nkind: Listener\nmetadata: {{name: billing}}\nspec:\n{spec}"
    );
    let file = ListenerFile {
        path: "l.yaml".into(),
        text,
    };
    file.parse().map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

#[test]
fn what_is_not_written_is_as_documented() {
    let spec = parse("  topics: orders\n  webhook: {url: 'http://localhost:1/x'}\n").unwrap();
    assert_eq!((spec.concurrency, spec.batch, spec.core), (8, 1, true));
    assert_eq!((spec.ordering, spec.from), (Ordering::Key, From::Latest));
    assert_eq!(spec.policy.retry.attempts, 3);
    assert_eq!(spec.policy.lease, Duration::from_secs(40));
    assert_eq!(spec.dead_letters_kept, Duration::from_hours(72));
    assert!(spec.policy.bury_expired && spec.rate.is_none() && spec.deadline.is_none());
    assert_eq!(spec.output, None);
}

#[test]
fn everything_wrong_is_said_at_once() {
    let error = parse(
        "  topics: []\n  webhook: {url: 'ftp://x/', headers: {'a b': c}, timeout: 0s}\n  \
         concurrency: 0\n  batch: 2000\n  priority: 10\n  retry: {attempts: 0, initial: 1m}\n  \
         rate: {perSecond: 0}\n  deduplicate: {window: 2h}\n",
    )
    .unwrap_err();
    for part in [
        "l.yaml: spec.topics is empty",
        "'ftp' is neither",
        "'a b' is no header",
        "timeout: above 0",
        "spec.concurrency: 0 is not 1 to 1024",
        "spec.batch: 2000",
        "spec.priority: 10",
        "attempts: 0",
        "initial is longer",
        "spec.rate",
        "window: at most 1h",
    ] {
        assert!(error.contains(part), "'{part}' is not in:\n{error}");
    }
}

#[test]
fn what_cannot_be_read_is_said_with_its_place() {
    for (spec, parts) in [
        (
            "  topics: orders\n",
            &["exactly one of webhook and native"][..],
        ),
        (
            "  topics: orders\n  webhok: {url: 'http://x'}\n",
            &["webhok"],
        ),
        (
            "  topics: orders\n  webhook: {url: nonsense}\n",
            &["no URL", "line 6"],
        ),
        (
            "  topics: a\n  webhook: {url: 'http://x', headers: {Content-Length: '0'}}\n",
            &["'content-length' is of the connection"],
        ),
        (
            "  topics: orders\n  native: x\n  ordering: sometimes\n",
            &["sometimes", "partition"],
        ),
        (
            "  topics: [a, a.dlq]\n  native: x\n  deadLetters: {topic: a.dlq}\n",
            &["would never end"],
        ),
        (
            "  topics: a\n  native: x\n  deadLetters: {topic: lantern.groups}\n",
            &["spec.deadLetters.topic: 'lantern.groups' is Lantern's own"],
        ),
        (
            "  topics: [a, b]\n  native: x\n  output: {topic: b}\n",
            &["spec.output.topic: 'b' is one of its own topics"],
        ),
        (
            "  topics: a\n  native: x\n  output: {topic: a.dlq}\n",
            &["topic of dead letters"],
        ),
    ] {
        let error = parse(spec).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "'{part}' is not in: {error}");
        }
    }
}

#[test]
fn what_the_fuzzer_begins_with_is_what_people_write() {
    let file = |text: &str| ListenerFile {
        path: "seed.yaml".into(),
        text: text.to_owned(),
    };
    for text in [
        include_str!("../../../../fuzz/seeds/listener/webhook.yaml"),
        include_str!("../../../../fuzz/seeds/listener/native.yaml"),
    ] {
        file(text).parse().unwrap();
    }
    let wrong = include_str!("../../../../fuzz/seeds/listener/wrong.yaml");
    assert!(file(wrong).parse().unwrap_err().len() >= 7);
}
