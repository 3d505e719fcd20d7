//! What Java's users of Kafka bring along, unmodified: its client, new and old, Kafka's own commands, Kafka Streams, Kafka Connect and MirrorMaker.
//!
//! The programs are in `tests/e2e/java`; `cargo xtask setup` fetches the libraries they run with.

#![expect(
    clippy::print_stdout,
    reason = "with --nocapture a run shows what each client proved"
)]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Lantern, Place, Program, binary, eventually, root};
use serde_json::{Value, json};

/// No program takes more than a quarter of this on two slow cores.
const LIMIT: Duration = Duration::from_mins(4);

/// Longest wait for a line, a file or an answer.
const SAYS: Duration = Duration::from_secs(90);

/// Starts a class of the libraries, or a source file, with `args`.
fn java(class: &str, args: &[&str]) -> Result<Program> {
    java_with("java", class, args)
}

/// The same with the libraries of this name.
fn java_with(libraries: &str, class: &str, args: &[&str]) -> Result<Program> {
    let libraries = root().join("target/tools").join(libraries);
    ensure!(
        libraries.is_dir(),
        "the Java libraries are missing: run `cargo xtask setup`"
    );
    let libraries = format!("{}/*", libraries.display());
    let mut words = vec![
        "-Xmx256m",
        // These live for seconds: the quick compiler is enough.
        "-XX:TieredStopAtLevel=1",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
        "-cp",
        &libraries,
        class,
    ];
    words.extend_from_slice(args);
    Program::start("java", &words)
}

fn passes(program: Program) -> Result<()> {
    let printed = program.finish(LIMIT)?;
    assert!(printed.contains("VERDICT PASS"), "{printed}");
    println!("{printed}");
    Ok(())
}

#[test]
fn the_newest_and_the_oldest_client() -> Result<()> {
    let place = Place::new()?;
    let lantern = Lantern::start(&place, &["--no-agent"])?;
    for (libraries, rest) in [
        ("java", &["classic"][..]),
        ("java", &["consumer"]),
        ("java-oldest", &[]),
    ] {
        let args = [&[lantern.kafka.as_str()], rest].concat();
        passes(java_with(libraries, "java/Clients.java", &args)?)?;
    }
    Ok(())
}

#[test]
fn kafkas_own_commands() -> Result<()> {
    let place = Place::new()?;
    let lantern = Lantern::start(&place, &["--no-agent"])?;
    passes(java("java/Tools.java", &[&lantern.kafka])?)
}

/// Two instances share the work; one is killed and comes back with nothing of its state, the server is killed twice.
#[test]
fn kafka_streams_counts_exactly_once_through_kills() -> Result<()> {
    const TOTAL: &str = "40000";
    let place = Place::new()?;
    let mut lantern = Lantern::start(&place, &["--no-agent"])?;
    let server = lantern.kafka.clone();
    let role = |words: &[&str]| java("java/Streams.java", &[&[server.as_str()], words].concat());
    let folders = ["first", "second", "third"].map(|name| place.path(name).display().to_string());
    role(&["make"])?.finish(LIMIT)?;
    let mut first = role(&["app", &folders[0]])?;
    let mut second = role(&["app", &folders[1]])?;
    let mut feed = role(&["feed", TOTAL])?;
    first.said("running", SAYS)?;
    second.said("running", SAYS)?;
    feed.said("sent 10000", SAYS)?;
    drop(first);
    feed.said("sent 15000", SAYS)?;
    lantern = lantern.kill9_and_start_again(&place, &["--no-agent"])?;
    let mut third = role(&["app", &folders[2]])?;
    third.said("running", SAYS)?;
    feed.said("sent 30000", SAYS)?;
    lantern = lantern.kill9_and_start_again(&place, &["--no-agent"])?;
    feed.finish(LIMIT)?;
    passes(role(&["check", TOTAL])?)?;
    drop((second, third, lantern));
    Ok(())
}

/// Runs our own command against `lantern`; answers what it printed.
fn ours(lantern: &Lantern, args: &[&str]) -> Result<String> {
    let words = [args, &["--broker", &lantern.kafka]].concat();
    Program::start(binary(), &words)?.finish(LIMIT)
}

/// Writes the lines `from..to` behind those that the file has.
fn append(file: &Path, from: u32, to: u32) -> Result<()> {
    let mut text = if from == 0 {
        String::new()
    } else {
        fs::read_to_string(file)?
    };
    for line in from..to {
        writeln!(text, "{line}")?;
    }
    Ok(fs::write(file, text)?)
}

fn numbers(text: &str) -> Vec<u32> {
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// A worker of Kafka Connect, whose HTTP interface is at the address.
fn worker(lantern: &Lantern, place: &Place, name: &str) -> Result<(Program, String)> {
    // It tells the other workers its address, so it cannot choose a port by itself.
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let config = format!(
        "bootstrap.servers={}\n\
         group.id=connect\n\
         listeners=http://{free}\n\
         key.converter=org.apache.kafka.connect.storage.StringConverter\n\
         value.converter=org.apache.kafka.connect.storage.StringConverter\n\
         offset.storage.topic=connect-offsets\n\
         offset.storage.partitions=5\n\
         offset.storage.replication.factor=1\n\
         config.storage.topic=connect-configs\n\
         config.storage.replication.factor=1\n\
         status.storage.topic=connect-status\n\
         status.storage.replication.factor=1\n\
         offset.flush.interval.ms=1000\n\
         scheduled.rebalance.max.delay.ms=0\n\
         exactly.once.source.support=enabled\n\
         plugin.discovery=service_load\n",
        lantern.kafka
    );
    let file = place.path(name);
    fs::write(&file, config)?;
    let class = "org.apache.kafka.connect.cli.ConnectDistributed";
    let program = java(class, &[file.to_str().context("a path in UTF-8")?])?;
    Ok((program, format!("http://{free}")))
}

/// Lines of a file go into a topic, each once (source tasks write in transactions), and from there into another file,
/// while the worker and the server are killed.
#[tokio::test(flavor = "multi_thread")]
async fn kafka_connect_moves_lines_exactly_once_through_kills() -> Result<()> {
    const LINES: u32 = 12_000;
    /// The file's last lines stay with the source task until others come.
    const MORE: u32 = 2_000;
    let place = Place::new()?;
    let mut lantern = Lantern::start(&place, &["--no-agent"])?;
    let client = reqwest::Client::new();
    let [source, sink] = ["source.txt", "sink.txt"].map(|name| place.path(name));
    append(&source, 0, LINES / 3 + MORE)?;
    let (first, at) = worker(&lantern, &place, "first.properties")?;
    let connectors = [
        json!({"name": "source", "config": {
            "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector",
            "file": source, "topic": "lines", "batch.size": "100", "exactly.once.support": "required",
            // The next worker starts when the transaction of one that is killed has ended, if it had one open.
            "producer.override.transaction.timeout.ms": "5000",
        }}),
        json!({"name": "sink", "config": {
            "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
            "file": sink, "topics": "lines", "consumer.override.auto.offset.reset": "earliest",
            // A worker that is killed is missed sooner than after 45 s.
            "consumer.override.session.timeout.ms": "6000",
        }}),
    ];
    for connector in &connectors {
        eventually("a connector", SAYS, async || {
            let asked = client.post(format!("{at}/connectors")).json(connector);
            // Not there yet, or not in its group yet.
            let taken = asked
                .send()
                .await
                .is_ok_and(|answer| answer.status() == 201);
            Ok(taken.then_some(()))
        })
        .await?;
    }
    let arrived = async |lines: u32| {
        eventually("lines in the sink's file", SAYS, async || {
            let text = fs::read_to_string(&sink).unwrap_or_default();
            let seen: BTreeSet<u32> = numbers(&text).into_iter().collect();
            Ok(seen.range(..lines).copied().eq(0..lines).then_some(()))
        })
        .await
    };
    arrived(LINES / 3).await?;
    append(&source, LINES / 3 + MORE, 2 * LINES / 3 + MORE)?;
    drop(first);
    let (second, _) = worker(&lantern, &place, "second.properties")?;
    arrived(2 * LINES / 3).await?;
    append(&source, 2 * LINES / 3 + MORE, LINES + MORE)?;
    lantern = lantern.kill9_and_start_again(&place, &["--no-agent"])?;
    arrived(LINES).await?;
    let committed = ours(
        &lantern,
        &[
            "consume",
            "lines",
            "-o",
            "value",
            "--isolation",
            "committed",
        ],
    )?;
    let mut committed = numbers(&committed);
    committed.sort_unstable();
    let lines = u32::try_from(committed.len())?;
    assert!(lines >= LINES, "{lines} lines");
    assert!(committed.into_iter().eq(0..lines), "each line once");
    drop(second);
    Ok(())
}

/// Records once, configuration, and how far a group has read, from one Lantern to another.
#[tokio::test(flavor = "multi_thread")]
async fn mirrormaker_copies_topics_and_the_offsets_of_groups() -> Result<()> {
    const ORDERS: usize = 5_000;
    let (here, there) = (Place::new()?, Place::new()?);
    let near = Lantern::start(&here, &["--no-agent"])?;
    let far = Lantern::start(&there, &["--no-agent"])?;
    let orders = ORDERS.to_string();
    java("java/Streams.java", &[&near.kafka, "make"])?.finish(LIMIT)?;
    java("java/Streams.java", &[&near.kafka, "feed", &orders])?.finish(LIMIT)?;
    ours(
        &near,
        &[
            "consume", "orders", "--group", "readers", "-n", &orders, "-o", "value",
        ],
    )?;
    let config = format!(
        "clusters=near,far\n\
         near.bootstrap.servers={}\n\
         far.bootstrap.servers={}\n\
         near->far.enabled=true\n\
         near->far.topics=orders,customers\n\
         near->far.groups=readers\n\
         far->near.enabled=false\n\
         replication.factor=1\n\
         offset.storage.replication.factor=1\n\
         status.storage.replication.factor=1\n\
         config.storage.replication.factor=1\n\
         checkpoints.topic.replication.factor=1\n\
         heartbeats.topic.replication.factor=1\n\
         offset-syncs.topic.replication.factor=1\n\
         sync.group.offsets.enabled=true\n\
         sync.group.offsets.interval.seconds=1\n\
         emit.checkpoints.interval.seconds=1\n\
         refresh.topics.interval.seconds=1\n\
         refresh.groups.interval.seconds=1\n\
         sync.topic.acls.enabled=false\n\
         near->far.offset.lag.max=0\n\
         exactly.once.source.support=enabled\n",
        near.kafka, far.kafka
    );
    let file = here.path("mirror.properties");
    fs::write(&file, config)?;
    let class = "org.apache.kafka.connect.mirror.MirrorMaker";
    let mirror = java(class, &[file.to_str().context("a path in UTF-8")?])?;
    eventually(
        "the group at the end of what was copied",
        SAYS,
        async || {
            let lag = ours(&far, &["group", "lag", "readers", "-o", "json"]).unwrap_or_default();
            let lag: Value = serde_json::from_str(&lag).unwrap_or_default();
            let partitions = lag["partitions"].as_array().cloned().unwrap_or_default();
            let committed = partitions
                .iter()
                .map(|partition| partition["committed"].as_u64().unwrap_or(0));
            let all = committed.sum::<u64>() == u64::try_from(ORDERS)? && lag["lag"] == 0;
            Ok((all
                && partitions
                    .iter()
                    .all(|partition| partition["topic"] == "near.orders"))
            .then_some(()))
        },
    )
    .await?;
    drop(mirror);
    let copied = ours(
        &far,
        &[
            "consume",
            "near.orders",
            "-o",
            "value",
            "--isolation",
            "committed",
        ],
    )?;
    let original = ours(&near, &["consume", "orders", "-o", "value"])?;
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(sorted(&original).len(), ORDERS);
    assert!(sorted(&copied) == sorted(&original), "each record once");
    let config = ours(&far, &["topic", "describe", "near.customers", "-o", "json"])?;
    assert!(config.contains("compact"), "{config}");
    Ok(())
}
