//! Runs the scripts in `tests/scripts`, and those of any other folder on request.
//!
//! `LANTERN_PROMQLTEST_DIR=/path/to/prometheus/promql/promqltest/testdata cargo test -p promql --test it
//! -- official --nocapture` runs Prometheus' own scripts and prints how many float evaluations agree.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use model::Timestamp;
use promql::{Error, Options, RangeSeries, Value, parse};
use series::{Labels, Store, StoreOptions};

use crate::notation::{self, Command, Eval, Line};

#[derive(Debug, Default)]
struct Report {
    passed: usize,
    refused: Vec<String>,
    failed: Vec<String>,
    histograms: usize,
}

fn run(text: &str, options: &Options) -> Result<Report, String> {
    let mut report = Report::default();
    let mut store = Store::new(StoreOptions::default());
    let mut histograms: Vec<String> = Vec::new();
    for command in notation::parse(text)? {
        match command {
            Command::Clear => {
                store = Store::new(StoreOptions::default());
                histograms.clear();
            }
            Command::Load {
                step,
                series,
                histograms: more,
            } => {
                histograms.extend(more);
                for (index, line) in series.iter().enumerate() {
                    // Of two lines for one series the later one counts.
                    if series[index + 1..]
                        .iter()
                        .all(|later| later.labels != line.labels)
                    {
                        load(&store, step, line);
                    }
                }
            }
            Command::Eval(eval) => {
                let plain = |c: char| c.is_alphanumeric() || c == '_';
                let mut words = eval.query.split(|c: char| !plain(c));
                let about = words.any(|word| histograms.iter().any(|name| name == word));
                if eval.has_histograms || about {
                    report.histograms += 1;
                    continue;
                }
                let told = |reason: String| format!("line {}: {}: {reason}", eval.line, eval.query);
                match check(&store, &eval, options) {
                    Ok(()) => report.passed += 1,
                    Err(Failure::Refused(error)) => report.refused.push(told(error.to_string())),
                    Err(Failure::Wrong(reason)) => report.failed.push(told(reason)),
                }
            }
        }
    }
    Ok(report)
}

fn load(store: &Store, step: i64, line: &Line) {
    for (index, value) in (0_i64..).zip(&line.values) {
        if let Some(value) = value {
            let at = Timestamp::from_millis(index * step);
            store
                .append(&line.labels, at, *value)
                .expect("a series within the limits");
        }
    }
}

enum Failure {
    Refused(Error),
    Wrong(String),
}

fn check(store: &Store, eval: &Eval, options: &Options) -> Result<(), Failure> {
    let wrong = |reason: String| Err(Failure::Wrong(reason));
    match evaluate(store, eval, options) {
        Err(error @ Error::Unsupported { .. }) => Err(Failure::Refused(error)),
        Err(_) if eval.fails && eval.message.is_none() => Ok(()),
        Err(error) if eval.fails => {
            let message = eval.message.clone().unwrap_or_default();
            if error.to_string().contains(&message) {
                Ok(())
            } else {
                wrong(format!("fails with '{error}' instead of '{message}'"))
            }
        }
        Err(error) => wrong(format!("fails: {error}")),
        Ok(value) if eval.fails => wrong(format!("gives {value:?} instead of failing")),
        Ok(value) => compare(eval, value).or_else(wrong),
    }
}

fn evaluate(store: &Store, eval: &Eval, options: &Options) -> Result<Value, Error> {
    let expr = parse(&eval.query)?;
    let start = Timestamp::from_millis(eval.start);
    match eval.range {
        None => promql::instant(&expr, store, start, options),
        Some((end, step)) => {
            let step = Duration::from_millis(u64::try_from(step).expect("a positive step"));
            let end = Timestamp::from_millis(end);
            promql::range(&expr, store, start, end, step, options)
        }
    }
}

type Runs = BTreeMap<Labels, Vec<(i64, f64)>>;

fn compare(eval: &Eval, value: Value) -> Result<(), String> {
    match value {
        Value::String(_, text) if Some(&text) == eval.text.as_ref() => Ok(()),
        Value::String(_, text) => Err(format!("gives the text {text:?}")),
        Value::Scalar(_, number) => match eval.scalar {
            Some(expected) if near(expected, number) => Ok(()),
            expected => Err(format!("gives {number}, not {expected:?}")),
        },
        Value::Vector(samples) => {
            if eval.ordered {
                let order: Vec<&Labels> = samples.iter().map(|s| &s.labels).collect();
                let wanted: Vec<&Labels> = eval.expected.iter().map(|e| &e.labels).collect();
                if order != wanted {
                    return Err(format!("gives the order {order:?}"));
                }
            }
            let found = samples
                .into_iter()
                .map(|s| (s.labels, vec![(eval.start, s.value)]));
            same(
                &expected(eval, [eval.start, eval.start, 1]),
                &found.collect(),
            )
        }
        Value::Matrix(matrix) => {
            let times = match (eval.range, eval.vector_times) {
                (Some((end, step)), _) => [eval.start, end, step],
                (None, Some(times)) => times,
                (None, None) => [eval.start, eval.start, 1],
            };
            let millis = |s: RangeSeries| {
                (
                    s.labels,
                    s.samples
                        .into_iter()
                        .map(|(t, v)| (t.millis(), v))
                        .collect(),
                )
            };
            same(
                &expected(eval, times),
                &matrix.into_iter().map(millis).collect(),
            )
        }
    }
}

fn expected(eval: &Eval, [start, _, step]: [i64; 3]) -> Runs {
    let run = |line: &Line| {
        let values = (0_i64..).zip(&line.values);
        let there = values.filter_map(|(index, value)| Some((start + index * step, (*value)?)));
        (line.labels.clone(), there.collect())
    };
    eval.expected.iter().map(run).collect()
}

fn same(expected: &Runs, found: &Runs) -> Result<(), String> {
    let equal = |a: &[(i64, f64)], b: &[(i64, f64)]| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && near(a.1, b.1))
    };
    let all = expected
        .iter()
        .all(|(labels, run)| found.get(labels).is_some_and(|f| equal(run, f)));
    if all && expected.len() == found.len() {
        return Ok(());
    }
    Err(format!("gives {found:?}, not {expected:?}"))
}

/// Prometheus' own tolerance for its scripts.
fn near(a: f64, b: f64) -> bool {
    a.is_nan() && b.is_nan() || a == b || (a - b).abs() <= 1e-6 * (a.abs() + b.abs()).min(f64::MAX)
}

fn scripts(dir: &Path) -> Vec<(String, String)> {
    let mut scripts: Vec<(String, String)> = std::fs::read_dir(dir)
        .expect("a folder of scripts")
        .map(|entry| entry.expect("a readable entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "test"))
        .map(|path| {
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (
                name,
                std::fs::read_to_string(&path).expect("a readable script"),
            )
        })
        .collect();
    scripts.sort();
    scripts
}

#[test]
fn our_scripts_hold() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut passed = 0;
    let mut wrong: Vec<String> = Vec::new();
    for (name, text) in scripts(&dir) {
        let report = run(&text, &Options::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let reasons = report.failed.iter().chain(&report.refused);
        wrong.extend(reasons.map(|reason| format!("{name}: {reason}")));
        passed += report.passed;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(passed > 200, "only {passed} evaluations ran");
}

#[test]
fn official_scripts_on_request() {
    let Some(dir) = std::env::var_os("LANTERN_PROMQLTEST_DIR") else {
        return;
    };
    // Prometheus runs its scripts under this feature flag.
    let options = Options {
        delayed_name_removal: true,
        ..Options::default()
    };
    let only = std::env::var("LANTERN_PROMQLTEST_ONLY").unwrap_or_default();
    let (mut passed, mut all) = (0, 0);
    for (name, text) in scripts(Path::new(&dir)) {
        if !name.contains(&only) {
            continue;
        }
        match run(&text, &options) {
            Ok(report) => {
                let (refused, failed) = (report.refused.len(), report.failed.len());
                println!(
                    "{name}: {} passed, {failed} failed, {refused} refused, {} with histograms",
                    report.passed, report.histograms
                );
                report
                    .failed
                    .iter()
                    .for_each(|reason| println!("  FAILED {reason:.4000}"));
                report
                    .refused
                    .iter()
                    .for_each(|reason| println!("  REFUSED {reason:.200}"));
                passed += report.passed;
                all += report.passed + refused + failed;
            }
            Err(reason) => println!("{name}: unreadable: {reason}"),
        }
    }
    println!("total: {passed} of {all}");
}
