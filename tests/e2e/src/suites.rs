//! Foreign test suites: which of their tests are left out and why, and whether a run is as expected.
//!
//! Invariants: each test that is left out, or that fails, stands in the list of its suite with a reason;
//! one that is listed as failing and passes is told, so that lists only get shorter; a run of less tests
//! than ever before is no success.

#![expect(
    clippy::print_stdout,
    reason = "with --nocapture a run shows how many tests passed"
)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::{Lantern, Place, Program, root};

/// No suite takes more than half of this on two cores that do something else, too.
const SUITE_LIMIT: Duration = Duration::from_mins(10);

/// How each test of a run ended, by name: `true` if it passed. One that skipped itself is not here.
pub type Outcomes = BTreeMap<String, bool>;

/// The list of one suite, `tests/e2e/suites/SUITE.txt`: lines `skip | NAME | WHY` and `fails | NAME | WHY`.
#[derive(Debug)]
pub struct List {
    suite: String,
    /// Not run.
    skipped: BTreeMap<String, String>,
    /// Run, and expected to fail.
    failing: BTreeMap<String, String>,
}

impl List {
    /// Reads the list of `suite`.
    pub fn read(suite: &str) -> Result<Self> {
        let path = root().join("tests/e2e/suites").join(format!("{suite}.txt"));
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Self::parse(suite, &text)
    }

    fn parse(suite: &str, text: &str) -> Result<Self> {
        let mut list = Self {
            suite: suite.to_owned(),
            skipped: BTreeMap::new(),
            failing: BTreeMap::new(),
        };
        let lines = text.lines().zip(1..);
        for (line, number) in lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#')) {
            let words: Vec<&str> = line.split(" | ").map(str::trim).collect();
            let (kind, name, why) = match *words.as_slice() {
                ["skip", name, why] => (&mut list.skipped, name, why),
                ["fails", name, why] => (&mut list.failing, name, why),
                _ => bail!("{suite}.txt:{number}: not `skip | NAME | WHY` or `fails | NAME | WHY`"),
            };
            ensure!(
                !why.is_empty(),
                "{suite}.txt:{number}: {name} has no reason"
            );
            kind.insert(name.to_owned(), why.to_owned());
        }
        Ok(list)
    }

    /// The tests that are not to be run.
    pub fn skipped(&self) -> impl Iterator<Item = &str> {
        self.skipped.keys().map(String::as_str)
    }

    /// Checks a run, of which at least `passed_min` tests have to pass, and answers a line about it.
    ///
    /// # Errors
    /// Everything that is not as the list says.
    pub fn judge(&self, outcomes: &Outcomes, passed_min: usize) -> Result<String> {
        let mut problems = Vec::new();
        for (name, passed) in outcomes {
            match (passed, self.failing.get(name)) {
                (false, None) => problems.push(format!("{name} failed")),
                (true, Some(why)) => problems.push(format!(
                    "{name} passed: take it off the list, where it fails since {why}"
                )),
                (true, None) | (false, Some(_)) => (),
            }
        }
        let missed = self
            .failing
            .keys()
            .filter(|name| !outcomes.contains_key(*name));
        problems.extend(missed.map(|name| format!("{name} is on the list and was not run")));
        let passed = outcomes.values().filter(|passed| **passed).count();
        if passed < passed_min {
            problems.push(format!(
                "only {passed} tests passed, where {passed_min} did before"
            ));
        }
        let (suite, failing, skipped) = (&self.suite, self.failing.len(), self.skipped.len());
        ensure!(problems.is_empty(), "{suite}:\n  {}", problems.join("\n  "));
        Ok(format!(
            "{suite}: {passed} passed, {failing} failed as expected, {skipped} left out"
        ))
    }
}

/// More surprises than this are no chance.
const AGAIN_MAX: usize = 4;

/// How often a test that failed is tried alone.
const TRIES: usize = 3;

/// Runs each test that failed and is not listed again, alone: these suites have bounds of time and races of their own (see the
/// README), and share one server with all of their other tests. `run` gets a test's name and answers whether it passed.
///
/// # Errors
/// Those of `run`.
pub fn again(
    suite: &str,
    outcomes: &mut Outcomes,
    mut run: impl FnMut(&str) -> Result<bool>,
) -> Result<()> {
    let list = List::read(suite)?;
    let surprises = |(name, passed): &(&String, &mut bool)| {
        !**passed && !list.failing.contains_key(name.as_str())
    };
    let failed: Vec<_> = outcomes.iter_mut().filter(surprises).collect();
    if failed.len() > AGAIN_MAX {
        return Ok(());
    }
    for (name, passed) in failed {
        for turn in 1..=TRIES {
            *passed = run(name)?;
            let how = if *passed { "passed" } else { "failed again" };
            println!("{suite}: {name} failed among the others, and {how} alone ({turn})");
            if *passed {
                break;
            }
        }
    }
    Ok(())
}

/// Where a suite was built.
///
/// # Errors
/// Names the command that builds it, if it is not there.
pub fn folder(name: &str) -> Result<PathBuf> {
    let folder = root().join("target/suites").join(name);
    ensure!(
        folder.join("made-of.txt").is_file(),
        "the tests of {name} are missing: run `cargo xtask setup` (for librdkafka, franz-go and kafka-go: `cargo xtask nightly suites`)"
    );
    Ok(fs::canonicalize(folder)?)
}

/// Reads outcomes out of what a run printed, of the lines that begin with one of two words.
///
/// `name` gets the rest of a line and answers the test's name, or nothing if it is no test's line.
pub fn outcomes<'a>(
    printed: &'a str,
    (passed, failed): (&str, &str),
    name: impl Fn(&'a str) -> Option<&'a str>,
) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for line in printed.lines() {
        let (rest, good) = match (line.strip_prefix(passed), line.strip_prefix(failed)) {
            (Some(rest), _) => (rest, true),
            (None, Some(rest)) => (rest, false),
            (None, None) => continue,
        };
        if let Some(name) = name(rest) {
            // A test of many parts that failed once has failed.
            let known = outcomes.entry(name.to_owned()).or_insert(good);
            *known &= good;
        }
    }
    outcomes
}

/// A server for one suite.
#[derive(Debug)]
pub struct Server {
    lantern: Lantern,
    _place: Place,
}

impl Server {
    /// Starts it with this `lantern.yaml`.
    ///
    /// # Errors
    /// Those of the start.
    pub fn start(config: &str) -> Result<Self> {
        Self::start_at("127.0.0.1:0", config)
    }

    /// As [`Server::start`], with its Kafka endpoint at an address that the suite takes for granted.
    ///
    /// # Errors
    /// Those of the start: another program may be there.
    pub fn start_at(kafka: &str, config: &str) -> Result<Self> {
        let place = Place::new()?;
        let file = place.path("lantern.yaml");
        fs::write(&file, config)?;
        let file = file.to_str().context("the place has a name in UTF-8")?;
        let args = ["--no-agent", "--config", file];
        let lantern = Lantern::start_at(&place, "127.0.0.1:0", kafka, &args)?;
        Ok(Self {
            lantern,
            _place: place,
        })
    }

    /// Where its Kafka endpoint is.
    pub fn address(&self) -> &str {
        &self.lantern.kafka
    }
}

/// Runs `program args` in `folder` with `variables`, to its end, however that is; answers what it printed.
///
/// # Errors
/// It cannot be started, or does not end in time.
pub fn run(
    folder: &Path,
    variables: &[(&str, &str)],
    program: &Path,
    args: &[String],
) -> Result<String> {
    let mut words: Vec<OsString> = vec!["-C".into(), folder.into()];
    words.extend(
        variables
            .iter()
            .map(|(name, value)| format!("{name}={value}").into()),
    );
    words.push(program.into());
    words.extend(args.iter().map(OsString::from));
    // It becomes the program, so that ending it ends that.
    Ok(Program::start("env", &words)?.end(SUITE_LIMIT)?.1)
}

/// Compares a run with the list of its suite; what it printed is kept when it is not as expected.
///
/// # Errors
/// What is not as expected, by name.
pub fn judge(suite: &str, outcomes: &Outcomes, passed_min: usize, printed: &str) -> Result<()> {
    let judged = List::read(suite)?.judge(outcomes, passed_min);
    let log = root().join("target/suites").join(format!("{suite}.log"));
    fs::write(&log, printed)?;
    let shown = log.display();
    println!(
        "{}",
        judged.with_context(|| format!("all of it is in {shown}"))?
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# why not\nskip | a | slow\n\nfails | b | no SASL\n";

    fn judged(outcomes: &[(&str, bool)]) -> String {
        let outcomes = outcomes
            .iter()
            .map(|(name, good)| ((*name).to_owned(), *good));
        let list = List::parse("s", LIST).unwrap();
        let judged = list.judge(&outcomes.collect(), 1);
        judged.unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn a_run_is_as_its_list_says_or_told() {
        let good = judged(&[("b", false), ("c", true)]);
        assert_eq!(good, "s: 1 passed, 1 failed as expected, 1 left out");
        let bad = judged(&[("b", true), ("c", false)]);
        assert!(bad.contains("c failed"), "{bad}");
        assert!(bad.contains("b passed: take it off the list"), "{bad}");
        let few = judged(&[]);
        assert!(few.contains("b is on the list and was not run"), "{few}");
        assert!(few.contains("only 0 tests passed, where 1 did"), "{few}");
    }

    #[test]
    fn a_list_gives_reasons() {
        for bad in ["skip | a", "skip | a | ", "maybe | a | b", "a"] {
            assert!(List::parse("s", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn outcomes_are_read_by_line() {
        let printed = "PASSED x::one\nnoise\nFAILED x::two - why\nPASSED x::two\n";
        let read = outcomes(printed, ("PASSED ", "FAILED "), |rest| {
            rest.split(' ').next()
        });
        let expected = [("x::one".to_owned(), true), ("x::two".to_owned(), false)];
        assert_eq!(read, Outcomes::from(expected));
    }
}
