//! Boards that are refused, and what is said about them; and one that is taken.

use insta::assert_snapshot;

use super::*;

const GOOD: &str = include_str!("tests/good.yaml");

/// Compiles the good board with one line replaced: `line` (from 1) becomes `text` at its indentation.
fn with(line: usize, text: &str) -> String {
    let lines = GOOD.lines().enumerate().map(|(at, kept)| {
        if at + 1 != line {
            return kept.to_owned();
        }
        let indent = kept.len() - kept.trim_start().len();
        format!("{}{text}", " ".repeat(indent))
    });
    problems(&lines.collect::<Vec<_>>().join("\n"))
}

fn problems(text: &str) -> String {
    match compile("b.yaml", text) {
        Ok(_) => "fine".to_owned(),
        Err(problems) => problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

/// The number of the line that starts with `text`.
fn line(text: &str) -> usize {
    let found = GOOD
        .lines()
        .position(|line| line.trim_start().trim_start_matches("- ").starts_with(text));
    found.unwrap_or_else(|| panic!("no line starts with {text}")) + 1
}

/// Cases and what is said about each, one under the other.
fn table(cases: impl IntoIterator<Item = (String, String)>) -> String {
    let show =
        |(case, said): (String, String)| format!("{case}\n    {}", said.replace('\n', "\n    "));
    cases.into_iter().map(show).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_good_board_is_good() {
    assert_eq!(problems(GOOD), "fine");
    let plan = compile("b.yaml", GOOD).unwrap().remove(0);
    assert_eq!(plan.name, "good");
    assert_eq!(plan.beat.hertz(), 50);
    assert_eq!(plan.queries.len(), 4, "equal queries are one");
    let layout = crate::layout::layout(&plan, 7);
    let value: serde_json::Value = serde_json::from_slice(&layout.message).unwrap();
    assert_snapshot!(serde_json::to_string_pretty(&value).unwrap());
}

#[test]
fn what_is_refused_and_why() {
    let cases = [
        ("apiVersion", "apiVersion: v1"),
        ("kind", "kind: Bord"),
        ("metadata", "metadata: {name: No Name}"),
        ("beat", "beat: 241"),
        ("beat", "beet: 50"),
        ("beat", "beat: fast"),
        ("interval", "interval: 10ms"),
        ("interval", "interval: soon"),
        ("priority", "priority: 12"),
        ("unit: percent", "unit: parsecs"),
        ("levels: {warning", "levels: {warning: high}"),
        ("levels: {warning", "levels: {}"),
        ("detail", "detail: '{usd:bytes}'"),
        ("detail", "detail: '{used:furlongs}'"),
        ("with", "with: {value: x}"),
        ("rows", "rows: 1000"),
        ("topic: orders", "topic: no/topic"),
        ("text:", "text: '{region}'"),
        ("levels: {order", "levels: {order.stalled: bad}"),
        ("window", "window: 1s"),
        ("window", "window: 1d\n            step: 1s"),
        ("max", "max: 0"),
        ("query: avg", "query: sum(rate(x[5m])"),
        ("query: avg", "query: x[5m]"),
        ("query: avg", "query: holt_winters(x[5m], 0.5, 0.5)"),
    ];
    let cases = cases.map(|(needle, text)| (text.to_owned(), with(line(needle), text)));
    assert_snapshot!(table(cases));
}

#[test]
fn all_problems_of_a_board_are_said_at_once() {
    let text = GOOD
        .replace("beat: 50", "beat: 0")
        .replace("priority: 3", "priority: 30")
        .replace("rows: 20", "rows: 0");
    assert_eq!(problems(&text).lines().count(), 3);
}

#[test]
fn files_that_are_no_boards() {
    let twice = GOOD.to_owned() + "\n---\n" + GOOD;
    let chart = "          - {title: a, query: a, limit: 64, window: 10m, step: 200ms}\n";
    let many = GOOD.replace(
        "        charts:\n",
        &format!("        charts:\n{}", chart.repeat(6)),
    );
    let cases = [
        ("unclosed", "spec: [unclosed".to_owned()),
        ("empty", String::new()),
        ("unknown lane", GOOD.replace("marquee:", "marquis:")),
        ("twice", twice),
        ("too many points", many),
        (
            "no lanes",
            "apiVersion: lantern/v1\nkind: Board\nmetadata: {name: b}\nspec: {lanes: []}"
                .to_owned(),
        ),
    ];
    assert_snapshot!(table(
        cases.map(|(case, text)| (case.to_owned(), problems(&text)))
    ));
}

#[test]
fn a_value_has_one_source_and_a_plain_name() {
    let item = |text: &str| {
        let head = "apiVersion: lantern/v1\nkind: Board\nmetadata: {name: b}\nspec:\n  lanes:\n    - marquee:\n        items: ";
        (text.to_owned(), problems(&format!("{head}[{text}]")))
    };
    let cases = [
        "",
        "{label: a}",
        "{label: '', query: x}",
        "{label: a, query: x, count: {topic: t}}",
        "{label: a, query: x}, {label: A, query: y}",
        "{label: a, detail: b, levels: {info: '> 1'}}",
        "{label: a, count: {topic: t, types: [b]}}",
        "{label: a, count: {topic: t, window: 5s}}",
        "{label: {zh: 处理器}, count: {topic: t, show: rate, types: [b], window: 10s}}",
    ];
    assert_snapshot!(table(cases.map(item)));
}

#[test]
fn a_heat_map_has_steps_and_one_source() {
    let chart = |text: &str| {
        let head = "apiVersion: lantern/v1\nkind: Board\nmetadata: {name: b}\nspec:\n  lanes:\n    - charts:\n        charts: ";
        (text.to_owned(), problems(&format!("{head}[{text}]")))
    };
    let cases = [
        "{title: a, draw: heatmap, delays: {group: g, topic: t}, legend: '{topic}/{partition}'}",
        "{title: a, draw: heatmap, query: x, steps: [1, 10]}",
        "{title: a, draw: heatmap, query: x}",
        "{title: a, draw: heatmap, query: x, steps: [10, 1]}",
        "{title: a, draw: heatmap, query: x, steps: []}",
        "{title: a, draw: heatmap, query: x, steps: [1], stack: true}",
        "{title: a, query: x, steps: [1]}",
        "{title: a, delays: {}}",
        "{title: a, draw: heatmap, delays: {}, query: x}",
        "{title: a, draw: heatmap, delays: {}, step: 1s, window: 10m}",
        "{title: a, draw: heatmap, delays: {topic: no/topic}, legend: '{region}'}",
        "{title: a, draw: pie, query: x}",
    ];
    assert_snapshot!(table(cases.map(chart)));
}

#[test]
fn a_table_has_labels_and_columns() {
    let lane = |text: &str| {
        let head = "apiVersion: lantern/v1\nkind: Board\nmetadata: {name: b}\nspec:\n  lanes:\n    - table: ";
        (text.to_owned(), problems(&format!("{head}{text}")))
    };
    let cases = [
        "{by: [a], label: A, columns: [{label: x, query: x, unit: bytes, levels: {info: '> 1'}}]}",
        "{by: [], label: A, columns: []}",
        "{by: [a], label: A, rows: 101, columns: [{label: x, query: 'x['}]}",
        "{by: [a], columns: [{label: x, query: x}]}",
    ];
    assert_snapshot!(table(cases.map(lane)));
}
