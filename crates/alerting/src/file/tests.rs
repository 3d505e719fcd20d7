//! Rule files: what is taken, and what is refused with its place.

use super::*;

fn compiled(text: &str) -> Result<Vec<Arc<GroupSpec>>, Vec<String>> {
    let file = RuleFile {
        path: "rules/desk.yaml".into(),
        name: "desk.yaml".to_owned(),
        text: text.to_owned(),
    };
    compile(&[file], Duration::from_mins(1))
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn a_file_of_prometheus_is_taken_as_it_is() {
    let groups = compiled(
        r#"
# A comment.
groups:
  - name: desk
    interval: 15s
    limit: 20
    query_offset: 5s
    labels: {team: risk, tier: one}
    rules:
      - record: desk:exposure:sum
        expr: sum by (desk) (exposure)
        labels: {tier: "{{ not a template }}"}
      - alert: ExposureHigh
        expr: |
          desk:exposure:sum
            > 100
        for: 1h30m
        keep_firing_for: 90s
        labels: {severity: critical}
        annotations:
          summary: "{{ $labels.desk }} is at {{ $value | humanize }}"
      - {alert: One, expr: 1}
  - name: other
    early_evaluation: false
"#,
    )
    .unwrap();
    let desk = &groups[0];
    assert_eq!((desk.interval, desk.limit), (Duration::from_secs(15), 20));
    assert!(
        !desk.early,
        "what lies back in time is not there when a sample arrives"
    );
    let labels = |rule: usize| -> Vec<(&str, &str)> {
        let labels = desk.rules[rule].labels.iter();
        labels
            .map(|(name, text)| (name.as_str(), text.text()))
            .collect()
    };
    assert_eq!(
        labels(0),
        [("team", "risk"), ("tier", "{{ not a template }}")]
    );
    assert_eq!(
        labels(1),
        [("severity", "critical"), ("team", "risk"), ("tier", "one")]
    );
    let alert = desk.rules[1].alert.as_ref().unwrap();
    assert_eq!(alert.wait, Duration::from_mins(90));
    assert_eq!(alert.keep_firing_for, Duration::from_secs(90));
    assert_eq!(desk.rules[2].expr.text(), "1");
    assert_eq!(
        (groups[1].early, groups[1].interval),
        (false, Duration::from_mins(1))
    );
}

#[test]
fn nothing_is_a_file_without_groups() {
    for text in ["", "# only a comment\n", "groups: []\n"] {
        assert!(compiled(text).unwrap().is_empty(), "{text:?}");
    }
}

#[test]
fn everything_that_is_wrong_is_said_with_its_place() {
    let problems = compiled(
        "groups:
  - name: a
    interval: 0s
    rules:
      - alert: A
        expr: up >
      - record: 'not a name'
        expr: up
        for: 5m
      - record: both
        alert: both
        expr: up
      - expr: up
      - alert: NoExpression
      - alert: Matrix
        expr: up[5m]
      - alert: Template
        expr: up
        labels: {'a-b': c}
        annotations: {summary: '{{ $lables.x }}'}
  - name: a
",
    )
    .unwrap_err();
    let places: Vec<&str> = problems
        .iter()
        .map(|problem| {
            let rest = problem.strip_prefix("rules/desk.yaml:").unwrap();
            rest.split(": ").next().unwrap()
        })
        .collect();
    insta::assert_snapshot!(problems.join("\n"));
    assert_eq!(places.len(), 11);
}

#[test]
fn words_that_do_not_exist_are_named() {
    for (text, part) in [
        ("groups: [{name: a, intervall: 5s}]", "intervall"),
        (
            "groups: [{name: a, rules: [{alert: A, expr: up, fro: 5m}]}]",
            "fro",
        ),
        (
            "groups: [{name: a, interval: soon}]",
            "'soon' is not a duration",
        ),
        ("groups: {", "desk.yaml:1:"),
        ("rules: []", "rules"),
        ("groups: [{rules: []}]", "name"),
    ] {
        let problems = compiled(text).unwrap_err();
        assert!(problems[0].contains(part), "{text}: {problems:?}");
        assert!(
            problems[0].starts_with("rules/desk.yaml:1:"),
            "{problems:?}"
        );
    }
}

#[test]
fn rules_are_known_by_file_group_name_and_labels() {
    let rules =
        "rules: [{alert: A, expr: a}, {alert: A, expr: b}, {alert: A, expr: c, labels: {d: e}}]";
    let groups = compiled(&format!("groups: [{{name: g, {rules}}}]")).unwrap();
    let ids: Vec<&str> = groups[0]
        .rules
        .iter()
        .map(|rule| rule.id.as_str())
        .collect();
    assert_eq!(
        ids,
        [
            "desk.yaml/g/A[]",
            "desk.yaml/g/A[]#1",
            "desk.yaml/g/A[(\"d\", \"e\")]"
        ]
    );
    let changed = compiled(&format!("groups: [{{name: g, interval: 5s, {rules}}}]")).unwrap();
    assert!(changed[0].is(&groups[0]) && !changed[0].same_as(&groups[0]));
}

#[test]
fn the_rules_of_the_project_are_good() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../rules");
    let files: Vec<RuleFile> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            RuleFile {
                text: std::fs::read_to_string(&path).unwrap(),
                name: path.display().to_string(),
                path,
            }
        })
        .collect();
    let report = check(&files).unwrap();
    assert!(report.rules > 10, "{report:?}");
}
