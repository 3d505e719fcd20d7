//! Log directories on further disks: what goes where, what is found again, and what a disk that is missing, slow or somebody
//! else's does to the others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker::{
    Append, Appended, Broker, Durability, EmbeddedBroker, Error, OpenError, Options, ReadLimit,
    TopicSpec, VerifyOptions, VerifyProgress, verify,
};
use env::{Disk, Faults, RealClock, RealDisk, SeededEntropy, SimDisk, Survival};
use model::{Offset, TopicPartition};
use test_kit::batches::batch;

use crate::gate::{Gate, PATIENCE};
use crate::support::{at, clock, create, manual, name, now, spec};

fn named(disk: &SimDisk, seed: u64, dirs: &[&str]) -> Options {
    Options {
        log_dirs: dirs.iter().map(PathBuf::from).collect(),
        ..manual(disk.shared(), clock(), seed)
    }
}

fn open(disk: &SimDisk, seed: u64, dirs: &[&str]) -> Arc<EmbeddedBroker> {
    EmbeddedBroker::open(named(disk, seed, dirs)).unwrap()
}

fn close(broker: &Arc<EmbeddedBroker>) {
    now(broker, Box::pin(broker.shutdown())).unwrap();
}

fn refused(disk: &SimDisk, dirs: &[&str]) -> OpenError {
    EmbeddedBroker::open(named(disk, 9, dirs)).unwrap_err()
}

/// The number of the log directory of each partition.
fn places(broker: &EmbeddedBroker, topic: &str) -> Vec<u16> {
    let info = broker.topic(&name(topic)).unwrap();
    let place = |number| {
        let kept = broker.kept(&at(topic, number)).unwrap();
        match kept.log_dir.strip_prefix("data-") {
            Some(number) => number.parse().unwrap(),
            None => 0,
        }
    };
    (0..info.partitions).map(place).collect()
}

/// One record to each partition, in one call.
fn append(broker: &EmbeddedBroker, topic: &str, value: &str) -> Vec<Result<Offset, Error>> {
    let info = broker.topic(&name(topic)).unwrap();
    let appends = (0..info.partitions).map(|number| Append {
        to: at(topic, number),
        batches: vec![batch([value])],
        durability: Durability::Flushed,
    });
    let answers = now(broker, broker.append_each(appends.collect()));
    let offset = |answer: Result<Appended, Error>| answer.map(|it| it.base_offset);
    answers.into_iter().map(offset).collect()
}

fn append_all(broker: &EmbeddedBroker, topic: &str, value: &str) {
    for answer in append(broker, topic, value) {
        answer.unwrap();
    }
}

/// The values in a partition.
fn values(broker: &EmbeddedBroker, of: &TopicPartition) -> Vec<String> {
    let limit = ReadLimit {
        bytes: 1 << 20,
        at_least_one: true,
    };
    let fetched = now(broker, broker.read(of, Offset::ZERO.into(), limit)).unwrap();
    let mut values = Vec::new();
    for batch in record::Batches::new(fetched.batches.to_vec().into()) {
        let records = batch.unwrap().records().unwrap();
        for record in &records {
            let value = record.unwrap().value.unwrap();
            values.push(String::from_utf8(value.to_vec()).unwrap());
        }
    }
    values
}

/// What is in a directory, by the simulated disk.
fn content(disk: &SimDisk, dir: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = disk.content().into_iter();
    files.filter(|(path, _)| path.starts_with(dir)).collect()
}

#[test]
fn partitions_are_dealt_evenly_and_stay_where_they_are() {
    let disk = SimDisk::new(1);
    let broker = open(&disk, 1, &["/b", "/c"]);
    create(&broker, spec("orders", 6));
    assert_eq!(places(&broker, "orders"), [0, 1, 2, 0, 1, 2]);
    let own = spec("lantern.own", 3);
    create(&broker, own);
    assert_eq!(places(&broker, "lantern.own"), [0, 0, 0], "Lantern's own");
    append_all(&broker, "orders", "first");
    close(&broker);
    let broker = open(&disk, 2, &[]);
    assert!(broker.recovery().clean && broker.recovery().is_untouched());
    append_all(&broker, "orders", "second");
    for number in 0..6 {
        assert_eq!(values(&broker, &at("orders", number)), ["first", "second"]);
    }
    now(&broker, broker.add_partitions(&name("orders"), 8)).unwrap();
    let grown = [0, 1, 2, 0, 1, 2, 0, 0];
    assert_eq!(
        places(&broker, "orders"),
        grown,
        "others are not named any more"
    );
    close(&broker);
    let broker = open(&disk, 3, &["/c", "/d"]);
    assert_eq!(places(&broker, "orders"), grown);
    create(&broker, spec("later", 4));
    assert_eq!(
        places(&broker, "later"),
        [3, 3, 2, 3],
        "in what is named now"
    );
    for topic in ["orders", "later"] {
        now(&broker, broker.delete_topic(&name(topic))).unwrap();
    }
    close(&broker);
    for dir in ["/b/topics", "/c/topics", "/d/topics"] {
        assert_eq!(content(&disk, dir), BTreeMap::new());
    }
    // An empty one that nobody names is nobody's business, not even when it is gone.
    disk.remove_dir_all(Path::new("/b")).unwrap();
    assert!(open(&disk, 4, &["/c"]).recovery().is_untouched());
}

#[test]
fn each_disk_has_a_journal_and_a_power_cut_loses_nothing() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let broker = open(&disk, seed, &["/b"]);
        create(&broker, spec("orders", 8));
        for round in 0..5 {
            append_all(&broker, "orders", &format!("{round}"));
        }
        for dir in ["/data/journal", "/b/journal"] {
            let bytes: usize = content(&disk, dir).values().map(Vec::len).sum();
            assert!(bytes > 0, "{dir} is used");
        }
        disk.crash_with(if seed == 0 {
            Survival::Nothing
        } else {
            Survival::Any
        });
        drop(broker);
        disk.restart();
        let broker = open(&disk, seed + 100, &["/b"]);
        for number in 0..8 {
            let read = values(&broker, &at("orders", number));
            assert_eq!(read, ["0", "1", "2", "3", "4"], "seed {seed}");
        }
    }
}

/// Cuts the power at every change that the first start with a further directory makes, and the first topic in it.
#[test]
fn a_first_start_cut_off_anywhere_is_made_good() {
    let begin = |disk: &SimDisk, seed| -> Option<()> {
        let broker = EmbeddedBroker::open(named(disk, seed, &["/b"])).ok()?;
        now(&broker, broker.create_topic(spec("orders", 4))).ok()?;
        append(&broker, "orders", "kept")
            .into_iter()
            .try_for_each(|answer| answer.ok().map(drop))
    };
    for cut in 0.. {
        let disk = SimDisk::new(cut);
        disk.set_faults(Faults {
            power: Some(cut),
            ..Faults::default()
        });
        let whole = begin(&disk, cut).is_some();
        disk.crash();
        disk.restart();
        let broker = open(&disk, cut + 1_000, &["/b"]);
        assert!(broker.recovery().unknown_directories.is_empty());
        if whole {
            assert_eq!(values(&broker, &at("orders", 0)), ["kept"]);
            assert!(cut > 20, "only {cut} changes");
            return;
        }
        create(&broker, spec("after", 2));
        let mut two = places(&broker, "after");
        two.sort_unstable();
        assert!(two.contains(&1), "cut {cut}: {two:?}");
        append_all(&broker, "after", "good");
    }
}

#[test]
fn what_belongs_to_others_is_refused_and_not_touched() {
    let disk = SimDisk::new(1);
    let other = Options {
        data_dir: "/other".into(),
        ..named(&disk, 1, &["/taken"])
    };
    let broker = EmbeddedBroker::open(other).unwrap();
    create(&broker, spec("orders", 2));
    close(&broker);
    close(&open(&disk, 2, &[]));
    let before = ["/other", "/taken"].map(|dir| content(&disk, dir));
    for dir in ["/other", "/taken"] {
        let said = refused(&disk, &[dir]);
        assert!(matches!(said, OpenError::LogDirForeign { .. }), "{said}");
        assert!(said.to_string().contains(dir), "{said}");
    }
    for (dirs, what) in [
        (&["/b", "/b"][..], "names /b twice"),
        (&["/data"][..], "names /data twice"),
    ] {
        let said = refused(&disk, dirs);
        assert!(matches!(said, OpenError::Options { .. }), "{said}");
        assert!(said.to_string().contains(what), "{said}");
    }
    assert_eq!(["/other", "/taken"].map(|dir| content(&disk, dir)), before);
    assert!(content(&disk, "/b").is_empty());
    let broker = open(&disk, 3, &["/b"]);
    assert!(broker.recovery().clean, "who was refused left no trace");
    let held = EmbeddedBroker::open(Options {
        data_dir: "/third".into(),
        ..named(&disk, 4, &["/b"])
    });
    assert!(matches!(held.unwrap_err(), OpenError::LogDirForeign { .. }));
    drop(broker);
}

#[test]
fn a_mark_that_rotted_or_went_is_written_again_where_the_logs_are_and_nowhere_else() {
    let path = Path::new("/b/log-dir");
    for bit in (0..900).step_by(37) {
        let disk = SimDisk::new(1);
        let broker = open(&disk, 1, &["/b"]);
        create(&broker, spec("orders", 2));
        append_all(&broker, "orders", "kept");
        close(&broker);
        let before = content(&disk, "/b");
        let bits = u64::try_from(before[path].len() * 8).unwrap();
        assert!(bits > 800, "it has {bits} bits");
        disk.flip_bit(path, bit % bits).unwrap();
        let named: &[&str] = if bit % 2 == 0 { &["/b"] } else { &[] };
        let broker = open(&disk, 2, named);
        assert!(broker.recovery().is_untouched(), "bit {bit}");
        assert_eq!(values(&broker, &at("orders", 1)), ["kept"]);
        assert_eq!(content(&disk, "/b")[path], before[path]);
        close(&broker);
        disk.remove_file(path).unwrap();
        close(&open(&disk, 3, named));
        assert_eq!(
            content(&disk, "/b")[path],
            before[path],
            "its logs are there"
        );
        disk.remove_dir_all(Path::new("/b")).unwrap();
        let broker = open(&disk, 4, named);
        assert!(!broker.recovery().is_untouched());
        assert!(content(&disk, "/b").is_empty(), "an empty mount point");
    }
}

/// A data directory and a second one on a real disk, with a topic in both.
struct Real {
    root: tempfile::TempDir,
}

impl Real {
    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn open(&self, dirs: &[&str]) -> Arc<EmbeddedBroker> {
        let options = Options {
            log_dirs: dirs.iter().map(|dir| self.path(dir)).collect(),
            ..Options::on_disk(self.path("data"))
        };
        EmbeddedBroker::open(options).unwrap()
    }

    fn verify(&self, dirs: &[&str]) -> broker::Verified {
        let options = VerifyOptions {
            data_dir: self.path("data"),
            log_dirs: dirs.iter().map(|dir| self.path(dir)).collect(),
            disk: RealDisk::shared(),
            clock: Arc::new(RealClock::new()),
            threads: 2,
            others: Vec::new(),
        };
        verify(&options, &VerifyProgress::default()).unwrap()
    }

    fn take_away(&self) {
        self.rename("second", "away");
    }

    fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn names(&self, dir: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(dir)).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

async fn add(broker: &EmbeddedBroker, to: &TopicPartition, value: &str) -> Result<Offset, Error> {
    broker.produce(to, b"key", value.as_bytes()).await
}

async fn real() -> Real {
    let real = Real {
        root: tempfile::tempdir().unwrap(),
    };
    let broker = real.open(&["second"]);
    for topic in ["orders", "gone"] {
        broker.create_topic(spec(topic, 2)).await.unwrap();
        assert_eq!(places(&broker, topic).iter().sum::<u16>(), 1, "one each");
        for number in 0..2 {
            add(&broker, &at(topic, number), "kept").await.unwrap();
        }
    }
    broker.shutdown().await.unwrap();
    real
}

#[tokio::test]
async fn a_disk_that_is_not_there_takes_only_its_own_partitions_along() {
    let real = real().await;
    real.take_away();
    // A mount point without its disk is an empty directory.
    std::fs::create_dir(real.path("second")).unwrap();
    let said = real.verify(&[]);
    assert!(said.opens && !said.is_sound());
    for dirs in [&["second"][..], &[]] {
        let broker = real.open(dirs);
        let away = places(&broker, "orders")
            .iter()
            .position(|dir| *dir == 1)
            .unwrap();
        let away = u32::try_from(away).unwrap();
        let refused = add(&broker, &at("orders", away), "lost").await.unwrap_err();
        assert!(matches!(refused, Error::Offline { .. }), "{refused}");
        let second = real.path("second");
        assert!(
            refused.to_string().contains(second.to_str().unwrap()),
            "{refused}"
        );
        assert!(broker.kept(&at("orders", away)).unwrap().offline);
        add(&broker, &at("orders", 1 - away), "more").await.unwrap();
        // New partitions go where there is something.
        let new = TopicSpec {
            partitions: 3,
            ..spec("new", 1)
        };
        match broker.create_topic(new).await {
            Ok(_) => assert_eq!(places(&broker, "new"), [0, 0, 0]),
            Err(error) => assert!(matches!(error, Error::TopicExists { .. })),
        }
        if broker.topic(&name("gone")).is_some() {
            broker.delete_topic(&name("gone")).await.unwrap();
        }
        broker.shutdown().await.unwrap();
        assert_eq!(
            std::fs::read_dir(&second).unwrap().count(),
            0,
            "nothing is made in its place"
        );
    }
    // It comes back elsewhere.
    let said = real.verify(&["away"]);
    assert!(said.is_sound(), "{:?}", said.findings);
    let there = real.path("away/topics/gone");
    assert!(there.exists());
    let broker = real.open(&["away"]);
    assert!(!there.exists(), "its deletion is finished");
    for number in 0..2 {
        let of = at("orders", number);
        assert!(!broker.kept(&of).unwrap().offline);
        add(&broker, &of, "again").await.unwrap();
    }
    broker.shutdown().await.unwrap();
    // And is known by its new name.
    assert!(real.verify(&[]).is_sound());
    let broker = real.open(&[]);
    assert!(broker.recovery().is_untouched());
    for number in 0..2 {
        add(&broker, &at("orders", number), "last").await.unwrap();
    }
}

#[tokio::test]
async fn the_offline_check_finds_every_disk_and_what_is_wrong_on_it() {
    let real = real().await;
    let said = real.verify(&[]);
    assert!(
        said.is_sound() && said.findings.is_empty(),
        "{:?}",
        said.findings
    );
    let orders = said
        .partitions
        .iter()
        .filter(|log| log.id.topic.as_str() == "orders");
    assert_eq!(orders.map(|log| log.records).collect::<Vec<_>>(), [1, 1]);
    std::fs::write(real.path("second/stray"), "?").unwrap();
    let said = real.verify(&[]);
    let strays: Vec<_> = said
        .findings
        .iter()
        .map(|found| found.path.clone())
        .collect();
    assert_eq!(strays, [real.path("second/stray")]);
    // Without a catalog the directories are looked at one by one; who moved must be named.
    std::fs::remove_file(real.path("data/catalog")).unwrap();
    let said = real.verify(&["second"]);
    assert!(!said.opens);
    assert_eq!(
        said.partitions.iter().map(|log| log.records).sum::<u64>(),
        4
    );
    // And while somebody runs on one of them nothing is checked.
    let lock = RealDisk.lock(&real.path("second/lantern.lock")).unwrap();
    let options = VerifyOptions {
        data_dir: real.path("data"),
        log_dirs: vec![real.path("second")],
        disk: RealDisk::shared(),
        clock: Arc::new(RealClock::new()),
        threads: 1,
        others: Vec::new(),
    };
    let refused = verify(&options, &VerifyProgress::default()).unwrap_err();
    assert!(refused.to_string().contains("second"), "{refused}");
    drop(lock);
}

/// The reason for it all.
#[tokio::test]
async fn a_disk_that_takes_its_time_holds_up_no_other() {
    let gate = Arc::new(Gate::default());
    let options = Options {
        log_dirs: vec!["/slow".into()],
        ..Options::new(
            "/data",
            gate.before(|path| path.starts_with("/slow/topics")),
            Arc::new(RealClock::new()),
            Arc::new(SeededEntropy::new(1)),
        )
    };
    let broker = EmbeddedBroker::open(options).unwrap();
    let orders: TopicSpec = spec("orders", 2);
    broker.create_topic(orders).await.unwrap();
    let slow = places(&broker, "orders")
        .iter()
        .position(|dir| *dir == 1)
        .unwrap();
    let slow = u32::try_from(slow).unwrap();
    let closed = gate.close();
    let (held, behind) = (Arc::clone(&broker), at("orders", slow));
    let held = tokio::spawn(async move { add(&held, &behind, "late").await });
    let waits = Arc::clone(&gate);
    tokio::task::spawn_blocking(move || waits.somebody_waits())
        .await
        .unwrap();
    for number in 0..100 {
        let to = at("orders", 1 - slow);
        let added = tokio::time::timeout(PATIENCE, add(&broker, &to, "now")).await;
        assert_eq!(added.expect("it is held up").unwrap().get(), number);
    }
    assert!(!held.is_finished());
    drop(closed);
    let added = tokio::time::timeout(PATIENCE, held).await;
    assert_eq!(added.unwrap().unwrap().unwrap(), Offset::ZERO);
    broker.shutdown().await.unwrap();
}

/// A topic with a partition in the data directory and in each of two others.
async fn three() -> Real {
    let real = Real {
        root: tempfile::tempdir().unwrap(),
    };
    let broker = real.open(&["b", "c"]);
    broker.create_topic(spec("orders", 3)).await.unwrap();
    assert_eq!(places(&broker, "orders"), [0, 1, 2]);
    for number in 0..3 {
        add(&broker, &at("orders", number), "kept").await.unwrap();
    }
    broker.shutdown().await.unwrap();
    real
}

#[tokio::test]
async fn disks_that_changed_their_places_are_known_by_their_marks() {
    let real = three().await;
    for dirs in [&["b", "c"][..], &["c", "b"], &["b"], &[]] {
        for (from, to) in [("b", "x"), ("c", "b"), ("x", "c")] {
            real.rename(from, to);
        }
        assert!(real.verify(&[]).is_sound());
        let broker = real.open(dirs);
        assert!(broker.recovery().is_untouched(), "{dirs:?}");
        for number in 0..3 {
            add(&broker, &at("orders", number), "more").await.unwrap();
        }
        broker.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn where_a_disk_died_nothing_new_is_taken_in_whatever_stands_in_its_place() {
    for dirs in [&["b", "c", "d"][..], &["d", "c", "b"], &["c", "d"], &["b"]] {
        let real = three().await;
        // The first is dead, the second is called by its name now, and where that was there is nothing.
        real.rename("b", "dead");
        real.rename("c", "b");
        std::fs::create_dir(real.path("c")).unwrap();
        std::fs::create_dir(real.path("d")).unwrap();
        let broker = real.open(dirs);
        for (number, there) in [(0, true), (1, false), (2, true)] {
            let of = at("orders", number);
            assert_eq!(broker.kept(&of).unwrap().offline, !there, "{dirs:?}");
            assert_eq!(add(&broker, &of, "more").await.is_ok(), there);
        }
        broker.create_topic(spec("new", 4)).await.unwrap();
        broker.shutdown().await.unwrap();
        for dir in ["c", "d"] {
            assert_eq!(real.names(dir), [""; 0], "{dirs:?}");
        }
        // It lives.
        real.rename("dead", "e");
        let broker = real.open(&["e", "b", "d"]);
        for number in 0..3 {
            add(&broker, &at("orders", number), "last").await.unwrap();
        }
        broker.create_topic(spec("newest", 4)).await.unwrap();
        assert!(
            places(&broker, "newest").contains(&3),
            "the new one is taken in now"
        );
    }
}

#[tokio::test]
async fn a_copy_beside_its_original_is_refused_and_one_that_is_named_is_meant() {
    let real = real().await;
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .args([real.path("second"), real.path("copy")])
        .status();
    assert!(copied.unwrap().success());
    let both = Options {
        log_dirs: vec![real.path("second"), real.path("copy")],
        ..Options::on_disk(real.path("data"))
    };
    let refused = EmbeddedBroker::open(both).unwrap_err();
    assert!(
        refused.to_string().contains("is a copy of the other"),
        "{refused}"
    );
    let broker = real.open(&["copy"]);
    assert!(broker.recovery().clean && broker.recovery().is_untouched());
    broker.shutdown().await.unwrap();
    assert!(!real.names("copy").contains(&"clean".to_owned()));
}

#[tokio::test]
async fn a_log_that_was_taken_away_is_not_begun_anew() {
    let real = real().await;
    let before = real.names("second");
    real.rename("second/topics", "topics");
    let said = real.verify(&[]);
    assert!(said.opens && !said.is_sound());
    let broker = real.open(&["second"]);
    let away = places(&broker, "orders").iter().position(|dir| *dir == 1);
    let away = at("orders", u32::try_from(away.unwrap()).unwrap());
    let refused = add(&broker, &away, "lost").await.unwrap_err();
    assert!(
        refused.to_string().contains("there is no log in"),
        "{refused}"
    );
    broker.shutdown().await.unwrap();
    assert!(!real.names("second").contains(&"topics".to_owned()));
    real.rename("topics", "second/topics");
    let broker = real.open(&[]);
    assert!(broker.recovery().is_untouched());
    assert_eq!(add(&broker, &away, "more").await.unwrap(), Offset::new(1));
    assert!(real.names("second").len() >= before.len());
}

#[tokio::test]
async fn the_progress_of_groups_is_not_begun_anew_unless_somebody_says_so() {
    let real = real().await;
    let broker = real.open(&[]);
    let groups = at("lantern.groups", 0);
    let id = broker.topic(&groups.topic).unwrap().id;
    broker.shutdown().await.unwrap();
    real.rename("data/topics/lantern.groups", "groups");
    let said = |broker: &Arc<EmbeddedBroker>| {
        let watch = broker.find(&groups, broker::Place::Latest);
        now(broker, watch)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    let broker = real.open(&[]);
    let refused = said(&broker).unwrap_err();
    assert!(refused.contains("all groups begin anew then"), "{refused}");
    add(&broker, &at("orders", 0), "goes on").await.unwrap();
    broker.shutdown().await.unwrap();
    // As the error says.
    let empty = real.path(&format!("data/topics/lantern.groups/{id}/0"));
    std::fs::create_dir_all(empty).unwrap();
    let broker = real.open(&[]);
    assert_eq!(said(&broker), Ok(()));
    broker.shutdown().await.unwrap();
}

#[test]
fn a_first_start_that_finds_no_room_is_refused_and_the_next_one_begins() {
    let mut refused = 0;
    for capacity in (0..4_096).step_by(128) {
        let disk = SimDisk::new(1);
        disk.set_capacity(Some(capacity));
        let Err(error) = EmbeddedBroker::open(named(&disk, 1, &[])) else {
            continue;
        };
        refused += 1;
        assert!(!error.to_string().is_empty());
        disk.set_capacity(None);
        disk.restart();
        let broker = open(&disk, 2, &[]);
        let groups = at("lantern.groups", 0);
        now(&broker, broker.find(&groups, broker::Place::Latest)).unwrap();
        close(&broker);
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn what_was_deleted_while_its_disk_was_away_goes_when_it_is_back() {
    let real = Real {
        root: tempfile::tempdir().unwrap(),
    };
    let broker = real.open(&["second"]);
    for topic in ["stays", "gone"] {
        broker.create_topic(spec(topic, 1)).await.unwrap();
    }
    assert_eq!(places(&broker, "gone"), [1]);
    broker.shutdown().await.unwrap();
    real.take_away();
    let broker = real.open(&[]);
    broker.delete_topic(&name("gone")).await.unwrap();
    broker.shutdown().await.unwrap();
    // Nobody needs it, and its files are still to go. Those of others do not wait for it.
    let broker = real.open(&[]);
    assert!(broker.recovery().deletions_finished.is_empty());
    broker.create_topic(spec("brief", 1)).await.unwrap();
    broker.delete_topic(&name("brief")).await.unwrap();
    broker.shutdown().await.unwrap();
    let catalog = std::fs::read_to_string(real.path("data/catalog")).unwrap();
    assert!(catalog.contains("gone") && !catalog.contains("brief"));
    real.rename("away", "second");
    let broker = real.open(&[]);
    assert_eq!(broker.recovery().deletions_finished, [name("gone")]);
    assert!(!real.path("second/topics/gone").exists());
}

#[tokio::test]
async fn where_one_disk_takes_no_partition_another_one_does() {
    let real = Real {
        root: tempfile::tempdir().unwrap(),
    };
    let broker = real.open(&["second"]);
    // No directory can be made in it.
    std::fs::write(real.path("second/topics"), "").unwrap();
    broker.create_topic(spec("orders", 4)).await.unwrap();
    assert_eq!(places(&broker, "orders"), [0; 4]);
    broker.add_partitions(&name("orders"), 6).await.unwrap();
    assert_eq!(places(&broker, "orders"), [0; 6]);
    broker.shutdown().await.unwrap();
    let broker = real.open(&["second"]);
    for number in 0..6 {
        add(&broker, &at("orders", number), "kept").await.unwrap();
    }
}

#[tokio::test]
async fn where_the_data_directory_takes_no_partition_another_one_does() {
    let real = Real {
        root: tempfile::tempdir().unwrap(),
    };
    let broker = real.open(&["second"]);
    // No directory of that topic can be made in it.
    std::fs::write(real.path("data/topics/orders"), "").unwrap();
    broker.create_topic(spec("orders", 4)).await.unwrap();
    assert_eq!(places(&broker, "orders"), [1; 4]);
    std::fs::write(real.path("second/topics/nowhere"), "").unwrap();
    std::fs::write(real.path("data/topics/nowhere"), "").unwrap();
    broker.create_topic(spec("nowhere", 4)).await.unwrap_err();
    assert!(broker.topic(&name("nowhere")).is_none());
}

#[test]
fn a_disk_that_can_only_be_read_keeps_nobody_from_starting() {
    let disk = SimDisk::new(1);
    let broker = open(&disk, 1, &["/b"]);
    create(&broker, spec("orders", 2));
    assert_eq!(places(&broker, "orders"), [0, 1]);
    append_all(&broker, "orders", "first");
    close(&broker);
    disk.set_read_only(Some(Path::new("/b")));
    let broker = open(&disk, 2, &["/b"]);
    assert!(broker.is_offline(&at("orders", 1)) && !broker.is_offline(&at("orders", 0)));
    now(&broker, broker.delete_topic(&name("orders"))).unwrap();
    close(&broker);
    // Nothing is in it now, but for what is still to go.
    for dirs in [&["/b"][..], &[]] {
        let broker = open(&disk, 3, dirs);
        assert!(broker.recovery().deletions_finished.is_empty());
        create(&broker, spec("brief", 2));
        assert_eq!(places(&broker, "brief"), [0, 0]);
        now(&broker, broker.delete_topic(&name("brief"))).unwrap();
        close(&broker);
    }
    disk.set_read_only(None);
    let broker = open(&disk, 4, &["/b"]);
    assert_eq!(broker.recovery().deletions_finished, [name("orders")]);
    close(&broker);
    assert!(
        content(&disk, "/b/topics").is_empty(),
        "the files are gone, too"
    );
}

#[test]
fn a_journal_that_cannot_be_begun_anew_leaves_its_directory_in_service() {
    let mut left = 0;
    for removal in 0..40 {
        let disk = SimDisk::new(1);
        let broker = open(&disk, 1, &["/b"]);
        create(&broker, spec("orders", 4));
        append_all(&broker, "orders", "first");
        drop(broker);
        disk.crash_with(Survival::Nothing);
        disk.set_faults(Faults {
            remove: Some(removal),
            ..Faults::default()
        });
        let Ok(broker) = EmbeddedBroker::open(named(&disk, 2, &["/b"])) else {
            assert!(!content(&disk, "/data/journal").is_empty());
            continue;
        };
        let stayed = !content(&disk, "/b/journal").is_empty();
        let answers = append(&broker, "orders", "second");
        // Files of a partition that cannot be removed have tests of their own.
        if !stayed || answers.iter().any(Result::is_err) {
            continue;
        }
        left += 1;
        drop(broker);
        disk.crash_with(Survival::Nothing);
        let broker = open(&disk, 3, &["/b"]);
        append_all(&broker, "orders", "third");
        for number in 0..4 {
            let all = values(&broker, &at("orders", number));
            assert_eq!(all, ["first", "second", "third"]);
        }
        close(&broker);
    }
    assert!(left > 0, "no journal was left as it was");
}

#[tokio::test]
async fn a_journal_that_cannot_be_read_takes_only_its_own_directory_along() {
    let real = real().await;
    std::fs::write(real.path("second/journal"), "").unwrap();
    let broker = real.open(&["second"]);
    let offline = |number| broker.kept(&at("orders", number)).unwrap().offline;
    assert_eq!([offline(0), offline(1)].iter().filter(|it| **it).count(), 1);
}
