//! A real disk that is full: a small file system of its own, mounted from a file.
//!
//! Producers get a retriable error, readers go on, nothing acknowledged is lost, Lantern starts on the
//! full disk, and goes on taking records as soon as there is room: because somebody else's file went, or because a
//! client of Kafka deleted a topic or records, or lowered a retention, while others kept asking for the last byte. The same with
//! a disk that holds some of the logs, which is also taken away. Mounting needs root; where it is not possible the test fails and says why.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::Lantern;
use kafka_client::{Admin, Consumer, Error, ErrorCode, Producer};
use model::{Offset, PartitionId, Timestamp, TopicName, TopicPartition};
use record::{BatchBuilder, Compression};

/// Bytes of the file system; ext4 keeps some for itself.
const DISK_BYTES: u64 = 64 << 20;
/// Bytes of a record.
const RECORD_BYTES: usize = 100_000;
/// How long room that was made may take to be noticed.
const PATIENCE: Duration = Duration::from_mins(1);

/// A file system of its own; unmounted when dropped, also by a failing test.
struct Mount {
    at: PathBuf,
}

fn sh(program: &str, args: &[&str]) -> Result<()> {
    let output = Command::new(program)
        .args(args)
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    ensure!(
        output.status.success(),
        "`{program} {}` failed: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

impl Mount {
    fn new(image: &Path, at: &Path) -> Result<Self> {
        fs::File::create(image)?.set_len(DISK_BYTES)?;
        fs::create_dir_all(at)?;
        // No blocks are set aside for root, who runs this.
        sh(
            "mkfs.ext4",
            &["-q", "-F", "-m", "0", &image.to_string_lossy()],
        )?;
        Self::again(image, at)
    }

    /// Mounts what was mounted before.
    fn again(image: &Path, at: &Path) -> Result<Self> {
        let (image, path) = (image.to_string_lossy(), at.to_string_lossy());
        sh("mount", &["-o", "loop", &image, &path])
            .context("this test mounts a file system of 64 MiB, for which it must be root and may use loop devices")?;
        Ok(Self { at: at.to_owned() })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let path = self.at.to_string_lossy().into_owned();
        if sh("umount", &[&path]).is_err() {
            // Somebody still has a file open: it goes with the last of them.
            let _ = sh("umount", &["-l", &path]);
        }
    }
}

fn place(topic: &str) -> Result<TopicPartition> {
    let topic: TopicName = topic.parse()?;
    Ok(TopicPartition::new(topic, PartitionId::new(0)))
}

/// Records of 1970 would be past their retention.
fn now() -> Timestamp {
    Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
}

/// What was acknowledged: the number of the record at each offset.
type Known = BTreeMap<u64, u64>;

/// Sends records one after another; answers the error that ends it, if there is one before `count`.
async fn produce(
    lantern: &Lantern,
    to: &TopicPartition,
    known: &mut Known,
    next: &mut u64,
    count: usize,
) -> Result<Option<Error>> {
    let producer = Producer::connect(&lantern.kafka).await?;
    for _ in 0..count {
        let mut value = vec![b'x'; RECORD_BYTES];
        value[..8].copy_from_slice(&next.to_be_bytes());
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(now(), None, Some(&value), &[]);
        *next += 1;
        match producer.send(to, builder.build()).await {
            Ok(offset) => {
                known.insert(offset.get(), *next - 1);
            }
            Err(error) => return Ok(Some(error)),
        }
    }
    Ok(None)
}

/// Fills the disk; answers the number of records that fitted.
async fn fill(
    lantern: &Lantern,
    to: &TopicPartition,
    known: &mut Known,
    next: &mut u64,
) -> Result<usize> {
    let before = known.len();
    let most = usize::try_from(DISK_BYTES)? / RECORD_BYTES;
    let Some(error) = produce(lantern, to, known, next, most).await? else {
        bail!("64 MiB hold more than 64 MiB");
    };
    ensure!(
        error.code() == Some(ErrorCode::KafkaStorageError),
        "a full disk was answered with {error}"
    );
    // Kafka's clients send again on their own.
    ensure!(error.is_passing(), "{error} is no error to try again after");
    Ok(known.len() - before)
}

/// Reads from `from` on: everything acknowledged there is there.
async fn check(lantern: &Lantern, at: &TopicPartition, from: u64, known: &Known) -> Result<()> {
    let consumer = Consumer::connect(&lantern.kafka).await?;
    let end = consumer.end(at).await?;
    let mut found = Known::new();
    let mut next = Offset::new(from);
    while next < end {
        for batch in consumer.fetch(at, next).await? {
            for record in &batch.records()? {
                let record = record?;
                let value = record.value.context("every record has a value")?;
                let number = value.first_chunk::<8>().context("a number")?;
                found.insert(record.offset.get(), u64::from_be_bytes(*number));
                next = record.offset.next();
            }
        }
    }
    for (offset, number) in known.range(from..) {
        let there = found.get(offset);
        ensure!(
            there == Some(number),
            "{at} {offset}: {number} was acknowledged, found {there:?}"
        );
    }
    Ok(())
}

/// Waits until records are taken again, without a restart.
async fn takes_again(
    lantern: &Lantern,
    to: &TopicPartition,
    known: &mut Known,
    next: &mut u64,
) -> Result<()> {
    let mut last = None;
    let wait = async {
        loop {
            match produce(lantern, to, known, next, 20).await? {
                None => return Ok::<_, anyhow::Error>(()),
                Some(error) => last = Some(error),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(done) => done,
        Err(_) => bail!("there is room, and records are still refused: {last:?}"),
    }
}

/// Waits until records are taken again, in the middle of what makes room.
async fn takes_again_while(
    lantern: &Lantern,
    to: &TopicPartition,
    known: &mut Known,
    next: &mut u64,
    making: impl Future<Output = Result<(), Error>>,
) -> Result<()> {
    let (made, taken) = tokio::join!(making, takes_again(lantern, to, known, next));
    made.context("room could not be made on the full disk")?;
    taken
}

#[tokio::test(flavor = "multi_thread")]
async fn room_is_made_on_a_full_disk_by_clients() -> Result<()> {
    let folder = e2e::Place::new()?;
    let disk = folder.path("disk");
    let _mount = Mount::new(&folder.path("disk.img"), &disk)?;
    fs::create_dir(disk.join("data"))?;
    std::os::unix::fs::symlink(disk.join("data"), folder.path("data"))?;
    let config = folder.path("lantern.yaml");
    fs::write(&config, "journal_size: 1MiB\n")?;
    let config = config.to_string_lossy().into_owned();
    let flags = ["--no-agent", "--config", &config];
    let lantern = Lantern::start(&folder, &flags)?;
    let admin = Admin::connect(&lantern.kafka).await?;
    let segments = [("segment.bytes", "2097152")];
    // Each has enough to be worth removing.
    let others = [place("one")?, place("two")?, place("three")?];
    for other in &others {
        admin.create_topic_with(&other.topic, 1, &segments).await?;
        let refused = produce(&lantern, other, &mut Known::new(), &mut 0, 100).await?;
        ensure!(refused.is_none(), "10 MB did not fit: {refused:?}");
    }
    let log = place("log")?;
    admin.create_topic_with(&log.topic, 1, &segments).await?;
    let (mut known, mut next) = (Known::new(), 0);
    fill(&lantern, &log, &mut known, &mut next).await?;

    // A topic goes.
    let [one, two, three] = &others;
    let deleting = admin.delete_topic(&one.topic);
    takes_again_while(&lantern, &log, &mut known, &mut next, deleting).await?;
    fill(&lantern, &log, &mut known, &mut next).await?;
    check(&lantern, &log, 0, &known).await?;

    // Records go, after a restart on the full disk.
    lantern.kill9()?;
    let lantern = Lantern::start(&folder, &flags)?;
    let admin = Admin::connect(&lantern.kafka).await?;
    fill(&lantern, &log, &mut known, &mut next).await?;
    let deleting = admin.delete_records(two, Offset::new(90));
    takes_again_while(&lantern, &log, &mut known, &mut next, deleting).await?;
    fill(&lantern, &log, &mut known, &mut next).await?;
    check(&lantern, &log, 0, &known).await?;

    // A retention is lowered, after an orderly stop on the full disk.
    lantern.stop()?;
    let lantern = Lantern::start(&folder, &flags)?;
    let admin = Admin::connect(&lantern.kafka).await?;
    fill(&lantern, &log, &mut known, &mut next).await?;
    let lower = [("retention.bytes", Some("1000000"))];
    let lowering = admin.configure_topic(&three.topic, &lower);
    takes_again_while(&lantern, &log, &mut known, &mut next, lowering).await?;
    check(&lantern, &log, 0, &known).await?;

    // What was done on the full disk is so after a kill.
    lantern.kill9()?;
    let lantern = Lantern::start(&folder, &flags)?;
    let admin = Admin::connect(&lantern.kafka).await?;
    ensure!(
        admin
            .topics(Some(std::slice::from_ref(&one.topic)))
            .await
            .is_err(),
        "the topic that was deleted is back"
    );
    let start = admin.offset(two, kafka_client::Place::Earliest).await?;
    ensure!(
        start == Some(Offset::new(90)),
        "records are back: {start:?}"
    );
    check(&lantern, &log, 0, &known).await?;
    let log = fs::read_to_string(folder.path("log.txt"))?;
    ensure!(!log.contains("panicked"), "something panicked:\n{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_and_room_is_used_again() -> Result<()> {
    let folder = e2e::Place::new()?;
    let disk = folder.path("disk");
    let _mount = Mount::new(&folder.path("disk.img"), &disk)?;
    fs::create_dir(disk.join("data"))?;
    std::os::unix::fs::symlink(disk.join("data"), folder.path("data"))?;
    // Somebody else's file on the same disk.
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![1; 15 << 20])?;
    let config = folder.path("lantern.yaml");
    fs::write(&config, "journal_size: 1MiB\n")?;
    let config = config.to_string_lossy().into_owned();
    let flags = ["--no-agent", "--config", &config];
    let lantern = Lantern::start(&folder, &flags)?;

    let admin = Admin::connect(&lantern.kafka).await?;
    let log = place("log")?;
    let segments = [("segment.bytes", "2097152")];
    admin.create_topic_with(&log.topic, 1, &segments).await?;
    let (mut known, mut next) = (Known::new(), 0);

    // Full: refused, and still readable.
    let fitted = fill(&lantern, &log, &mut known, &mut next).await?;
    ensure!(fitted > 200, "only {fitted} records fitted");
    check(&lantern, &log, 0, &known).await?;

    // Starts on the full disk, after a kill and after a stop.
    lantern.kill9()?;
    let lantern = Lantern::start(&folder, &flags)?;
    check(&lantern, &log, 0, &known).await?;
    fill(&lantern, &log, &mut known, &mut next).await?;
    // Whatever it says: there was no room to leave the mark of an orderly stop.
    lantern.stop()?;
    let lantern = Lantern::start(&folder, &flags)?;
    check(&lantern, &log, 0, &known).await?;

    // Room is used without a restart.
    fs::remove_file(&ballast)?;
    takes_again(&lantern, &log, &mut known, &mut next).await?;
    check(&lantern, &log, 0, &known).await?;
    fill(&lantern, &log, &mut known, &mut next).await?;
    check(&lantern, &log, 0, &known).await
}

/// What a client sees of a log directory that is full, and then of one whose disk is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_disk_that_is_full_or_gone_takes_only_its_own_partitions_along() -> Result<()> {
    let folder = e2e::Place::new()?;
    let (image, disk) = (folder.path("disk.img"), folder.path("disk"));
    let mount = Mount::new(&image, &disk)?;
    let second = disk.join("logs");
    let named = second.to_string_lossy().into_owned();
    let config = folder.path("lantern.yaml");
    fs::write(&config, "journal_size: 1MiB\n")?;
    let config = config.to_string_lossy().into_owned();
    let flags = ["--no-agent", "--config", &config];
    let lantern = Lantern::start(&folder, &[&flags[..], &["--log-dir", &named]].concat())?;
    let admin = Admin::connect(&lantern.kafka).await?;
    let mut topics = [place("one")?, place("two")?];
    for topic in &topics {
        admin.create_topic(&topic.topic, 1).await?;
    }
    let is_there =
        |topic: &TopicPartition| second.join("topics").join(topic.topic.as_str()).exists();
    topics.sort_by_key(is_there);
    let [here, there] = topics;
    ensure!(!is_there(&here) && is_there(&there), "one on each disk");
    let (mut known_here, mut known_there, mut next) = (Known::new(), Known::new(), 0);

    // Full: refused there, taken here.
    fill(&lantern, &there, &mut known_there, &mut next).await?;
    let refused = produce(&lantern, &here, &mut known_here, &mut next, 900).await?;
    ensure!(refused.is_none(), "the other disk is not full: {refused:?}");
    check(&lantern, &there, 0, &known_there).await?;

    // Found again after a kill, also by who does not name it.
    lantern.kill9()?;
    let lantern = Lantern::start(&folder, &flags)?;
    check(&lantern, &here, 0, &known_here).await?;
    check(&lantern, &there, 0, &known_there).await?;

    // Gone: what was on it is refused for now, and nothing is made in its place.
    lantern.stop()?;
    drop(mount);
    let lantern = Lantern::start(&folder, &flags)?;
    let refused = produce(&lantern, &there, &mut known_there, &mut next, 1).await?;
    let refused = refused.context("nobody can take it")?;
    ensure!(refused.is_passing(), "{refused}");
    let refused = produce(&lantern, &here, &mut known_here, &mut next, 10).await?;
    ensure!(refused.is_none(), "{refused:?}");
    check(&lantern, &here, 0, &known_here).await?;
    let sizes = Admin::connect(&lantern.kafka).await?.sizes().await?;
    ensure!(
        sizes.contains_key(&here) && !sizes.contains_key(&there),
        "{sizes:?}"
    );
    ensure!(!second.exists(), "something was made at {named}");
    let log = fs::read_to_string(folder.path("log.txt"))?;
    ensure!(log.contains(&named), "it is not named:\n{log}");

    // Back.
    lantern.stop()?;
    let _mount = Mount::again(&image, &disk)?;
    let lantern = Lantern::start(&folder, &flags)?;
    check(&lantern, &here, 0, &known_here).await?;
    check(&lantern, &there, 0, &known_there).await
}
