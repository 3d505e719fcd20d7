//! Whole test suites of clients that know nothing of Lantern: kafka-python's and rust-rdkafka's. Those of librdkafka and
//! franz-go are in `suites_nightly`.
//!
//! `suites/README.md` says what they are, how many of their tests pass, and why others are left out.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use e2e::python;
use e2e::suites::{List, Outcomes, Server, again, folder, judge, outcomes, run};

/// What the suites ask of a server of theirs: members that are missed within three seconds, and three partitions.
const CONFIG: &str = "groups:\n  session_timeout_min: 1s\n";
const CONFIG_OF_RDKAFKA: &str = "topics:\n  partitions: 3\n";

fn kafka_python(version: &str, passed_min: usize) -> Result<()> {
    let suite = format!("kafka-python-{version}");
    let server = Server::start(CONFIG)?;
    let mut args: Vec<String> = [
        "-m",
        "pytest",
        "-q",
        "-rA",
        "--show-capture=no",
        "--tb=short",
    ]
    .map(str::to_owned)
    .into();
    args.extend(["-p", "no:cacheprovider", "-o", "addopts=", "--timeout=60"].map(str::to_owned));
    for name in List::read(&suite)?.skipped() {
        args.push(format!("--deselect=test/integration/{name}"));
    }
    let one = args.clone();
    args.push("test/integration".to_owned());
    let uri = format!("kafka://{}", server.address());
    let variables = [
        ("KAFKA_URI", uri.as_str()),
        ("KAFKA_VERSION", "4.0.0"),
        // Has to be there, and nothing of it is used.
        ("KAFKA_ROOT", "/"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
    ];
    let python = std::path::absolute(python()?)?;
    let printed = run(&folder(&suite)?, &variables, &python, &args)?;
    let ran = outcomes(&printed, ("PASSED ", "FAILED "), name_of_pytest);
    let broken = outcomes(&printed, ("XPASS ", "ERROR "), name_of_pytest);
    let mut all: Outcomes = ran.into_iter().chain(broken).collect();
    again(&suite, &mut all, |name| {
        let mut args = one.clone();
        args.push(format!("test/integration/{name}"));
        let printed = run(&folder(&suite)?, &variables, &python, &args)?;
        Ok(printed.contains(&format!("PASSED test/integration/{name}")))
    })?;
    judge(&suite, &all, passed_min, &printed)
}

fn name_of_pytest(rest: &str) -> Option<&str> {
    let name = rest.strip_prefix("test/integration/")?;
    name.split(" - ").next().map(str::trim)
}

#[test]
fn kafka_python_3() -> Result<()> {
    kafka_python("3.0.12", 49)
}

#[test]
fn kafka_python_2() -> Result<()> {
    kafka_python("2.3.0", 36)
}

#[test]
fn rust_rdkafka() -> Result<()> {
    let server = Server::start(CONFIG_OF_RDKAFKA)?;
    let list = List::read("rdkafka")?;
    let folder = folder("rdkafka")?;
    let variables = [("KAFKA_HOST", server.address()), ("RUST_LOG", "off")];
    let (mut all, mut everything) = (Outcomes::new(), String::new());
    let programs = fs::read_to_string(folder.join("programs.txt"))?;
    for line in programs.lines() {
        let (name, path) = line.split_once(' ').context("programs.txt: NAME PATH")?;
        let mut args = vec!["--test-threads=4".to_owned(), "--exact".to_owned()];
        for skipped in list.skipped() {
            if let Some((program, test)) = skipped.split_once("::")
                && program == name
            {
                args.extend(["--skip".to_owned(), test.to_owned()]);
            }
        }
        let printed = run(&folder, &variables, Path::new(path), &args)?;
        for line in printed.lines() {
            let Some((test, verdict)) = line
                .strip_prefix("test ")
                .and_then(|line| line.split_once(" ... "))
            else {
                continue;
            };
            all.insert(format!("{name}::{test}"), verdict == "ok");
        }
        everything += &printed;
    }
    again("rdkafka", &mut all, |name| {
        let (program, test) = name.split_once("::").context("PROGRAM::TEST")?;
        let mut paths = programs.lines().filter_map(|line| line.split_once(' '));
        let (_, path) = paths
            .find(|(name, _)| *name == program)
            .context("a test is of a program")?;
        let args = ["--exact".to_owned(), test.to_owned()];
        let printed = run(&folder, &variables, Path::new(path), &args)?;
        Ok(printed.contains(&format!("test {test} ... ok")))
    })?;
    judge("rdkafka", &all, 48, &everything)
}
