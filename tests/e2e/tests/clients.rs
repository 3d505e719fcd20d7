//! Clients that know nothing of Lantern: librdkafka's kcat and confluent-kafka, kafka-python and kafkajs; and our own
//! commands.
//!
//! Each test runs a script of `tests/e2e/kafka` against a server of its own; what a script proves stands
//! in the README there.

#![expect(
    clippy::print_stdout,
    reason = "with --nocapture a run shows what each client proved"
)]

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::{Lantern, Place, Program, node, python};

/// No script takes more than a quarter of this on two slow cores.
const SCRIPT_LIMIT: Duration = Duration::from_mins(2);

/// Longest wait for a client that reads and commits.
const CLIENT_READS: Duration = Duration::from_secs(30);

/// Starts `program kafka/SCRIPT HOST:PORT …`.
fn script(program: PathBuf, name: &str, lantern: &Lantern, rest: &[OsString]) -> Result<Program> {
    let mut args = vec![format!("kafka/{name}").into(), lantern.kafka.clone().into()];
    args.extend_from_slice(rest);
    Program::start(program, &args)
}

/// Runs a script against a server of its own and shows what it proved.
fn proves(program: PathBuf, name: &str) -> Result<()> {
    proves_with(program, name, "")
}

/// The same with a server that is configured so.
fn proves_with(program: PathBuf, name: &str, config: &str) -> Result<()> {
    let place = Place::new()?;
    let file = place.path("lantern.yaml");
    std::fs::write(&file, config)?;
    let file = file.to_str().context("the place has a name in UTF-8")?;
    let lantern = Lantern::start(&place, &["--no-agent", "--config", file])?;
    let printed = script(program, name, &lantern, &[])?.finish(SCRIPT_LIMIT)?;
    assert!(printed.contains("VERDICT PASS"), "{printed}");
    println!("{printed}");
    Ok(())
}

#[test]
fn kcat() -> Result<()> {
    proves("sh".into(), "kcat.sh")
}

#[test]
fn our_own_commands_beside_kcat() -> Result<()> {
    let place = Place::new()?;
    let lantern = Lantern::start(&place, &["--no-agent"])?;
    let rest = [e2e::binary().into_os_string()];
    let printed = script("sh".into(), "commands.sh", &lantern, &rest)?.finish(SCRIPT_LIMIT)?;
    assert!(printed.contains("VERDICT PASS"), "{printed}");
    println!("{printed}");
    Ok(())
}

#[test]
fn kafka_python_round_trips() -> Result<()> {
    proves(python()?, "roundtrip.py")
}

#[test]
fn kafka_python_groups() -> Result<()> {
    proves(python()?, "groups.py")
}

#[test]
fn kafka_python_administration() -> Result<()> {
    proves(python()?, "admin.py")
}

/// A dead member is missed after ten seconds instead of 45, which is all that these change.
const QUICK_GROUPS: &str =
    "groups:\n  consumer_session_timeout: 10s\n  consumer_heartbeat_interval: 1s\n";

#[test]
fn confluent_kafka_consumer_groups() -> Result<()> {
    proves_with(python()?, "consumers.py", QUICK_GROUPS)
}

#[test]
fn kafkajs_round_trips() -> Result<()> {
    proves(node()?, "roundtrip.mjs")
}

#[test]
fn kafkajs_groups() -> Result<()> {
    proves(node()?, "groups.mjs")
}

#[test]
fn kafka_python_transactions() -> Result<()> {
    proves(python()?, "transactions.py")
}

/// It is looked for work at once, so that nobody waits for it.
const QUICK_COMPACTION: &str = "compaction:\n  interval: 100ms\n";

#[test]
fn compacted_topics_in_two_clients() -> Result<()> {
    proves_with(python()?, "compaction.py", QUICK_COMPACTION)
}

#[test]
fn kafkajs_transactions() -> Result<()> {
    proves(node()?, "transactions.mjs")
}

#[test]
fn librdkafka_reads_and_writes_exactly_once_through_kills() -> Result<()> {
    goes_on(python()?, "exactly_once.py")
}

#[test]
fn records_groups_and_offsets_go_on_after_a_kill() -> Result<()> {
    let place = Place::new()?;
    let lantern = Lantern::start(&place, &["--no-agent"])?;
    let state = place.path("state.json").into_os_string();
    let restart = |lantern: &Lantern, word: &str| {
        let rest = [word.into(), state.clone()];
        script(python()?, "restart.py", lantern, &rest)?.finish(SCRIPT_LIMIT)
    };
    restart(&lantern, "before")?;
    let lantern = lantern.kill9_and_start_again(&place, &["--no-agent"])?;
    restart(&lantern, "after")?;
    Ok(())
}

/// A client that writes and reads all the time meets a kill, and then has to find everything.
fn goes_on(program: PathBuf, name: &str) -> Result<()> {
    let place = Place::new()?;
    let lantern = Lantern::start(&place, &["--no-agent"])?;
    let mut client = script(program, name, &lantern, &[])?;
    client.said("reading", CLIENT_READS)?;
    let _lantern = lantern.kill9_and_start_again(&place, &["--no-agent"])?;
    client.tell("back")?;
    let printed = client.finish(SCRIPT_LIMIT)?;
    assert!(printed.contains("VERDICT PASS"), "{printed}");
    println!("{printed}");
    Ok(())
}

#[test]
fn a_kafka_python_group_member_reconnects_by_itself() -> Result<()> {
    goes_on(python()?, "stays.py")
}

#[test]
fn a_kafkajs_group_member_reconnects_by_itself() -> Result<()> {
    goes_on(node()?, "stays.mjs")
}

#[test]
fn confluent_kafka_group_members_stay_members() -> Result<()> {
    goes_on(python()?, "consumers_stay.py")
}

/// How often the server dies while members come and go.
const KILLS: usize = 6;

#[test]
fn confluent_kafka_members_come_and_go_through_kills() -> Result<()> {
    let place = Place::new()?;
    std::fs::write(place.path("lantern.yaml"), QUICK_GROUPS)?;
    let file = place.path("lantern.yaml");
    let file = file.to_str().context("the place has a name in UTF-8")?;
    let args = ["--no-agent", "--config", file];
    let mut lantern = Lantern::start(&place, &args)?;
    let rest = [KILLS.to_string().into()];
    let mut client = script(python()?, "consumers_churn.py", &lantern, &rest)?;
    for kill in 0..KILLS {
        client.said(&format!("kill {kill}"), CLIENT_READS)?;
        lantern = lantern.kill9_and_start_again(&place, &args)?;
        client.tell("back")?;
    }
    let printed = client.finish(SCRIPT_LIMIT)?;
    assert!(printed.contains("VERDICT PASS"), "{printed}");
    println!("{printed}");
    Ok(())
}
