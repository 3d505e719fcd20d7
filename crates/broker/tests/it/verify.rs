//! The offline check of a data directory: it says what a start does, and does nothing.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use broker::{
    Append, Broker, Commit, Durability, EmbeddedBroker, GroupsVerified, StartAction, Verified,
    VerifyError, VerifyOptions, VerifyProgress, VerifyStage, verify,
};
use env::{Disk, Open, RealClock, RealDisk, RealEntropy, SimClock, SimDisk, Survival};
use model::{GroupId, Offset, Position, TopicPartition};
use test_kit::batches::batch;

use crate::support::{at, clock, create, manual, now, spec};

/// Checks `/data`, and that nothing there changed.
pub(crate) fn look(
    disk: &SimDisk,
    clock: &Arc<SimClock>,
    threads: usize,
) -> Result<Verified, VerifyError> {
    let options = VerifyOptions {
        data_dir: "/data".into(),
        log_dirs: Vec::new(),
        disk: disk.shared(),
        clock: Arc::clone(clock) as env::DynClock,
        threads,
        others: vec!["samples"],
    };
    let before = (disk.content(), disk.changes());
    let found = verify(&options, &VerifyProgress::default());
    assert_eq!((disk.content(), disk.changes()), before, "it only reads");
    found
}

/// Holds what was said against what a start then did, where nothing rotted.
pub(crate) fn compare(said: &Verified, broker: &EmbeddedBroker) {
    let did = broker.recovery();
    assert!(said.opens);
    assert_eq!(said.clean, did.clean);
    let problems: BTreeSet<&TopicPartition> = said
        .findings
        .iter()
        .filter(|finding| finding.is_problem())
        .map(|finding| finding.partition.as_ref().unwrap())
        .collect();
    let touched: BTreeSet<_> = did.touched.iter().map(|log| &log.partition).collect();
    assert_eq!(problems, touched, "{:?}", said.findings);
    assert_eq!(said.is_sound(), did.is_untouched());
    assert_eq!(said.partitions.len(), did.partitions);
    for log in &said.partitions {
        let did = did.touched.iter().find(|did| did.partition == log.id);
        let cut = did.and_then(|did| did.log.as_ref()?.cut.as_ref());
        assert_eq!(log.cut_bytes, cut.map_or(0, |cut| cut.bytes), "{log:?}");
        let marks = now(broker, broker.marks(&log.id)).unwrap();
        assert_eq!(Position::from(log.log_start), marks.log_start);
        assert_eq!(Position::from(log.log_end), marks.log_end);
        let there = log.records + log.lost;
        assert!(there >= log.log_end.since(log.log_start), "{log:?}");
    }
}

fn words(found: &Verified) -> Vec<&'static str> {
    let problems = found.findings.iter().filter(|finding| finding.is_problem());
    problems.map(|finding| finding.start.word()).collect()
}

/// A topic of three partitions with some batches in each, and a group.
fn build(disk: &SimDisk) -> Arc<EmbeddedBroker> {
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 1)).unwrap();
    create(&broker, spec("orders", 3));
    for round in 0..4 {
        let appends = (0..3).map(|partition| Append {
            to: at("orders", partition),
            batches: vec![batch([format!("{round}").as_str(), "more"])],
            durability: Durability::Flushed,
        });
        for answer in now(&broker, broker.append_each(appends.collect())) {
            answer.unwrap();
        }
    }
    commit(&broker, "shop", 5);
    broker
}

fn commit(broker: &EmbeddedBroker, group: &str, offset: u64) {
    let commits = vec![(
        at("orders", 0),
        Commit {
            position: Offset::new(offset).into(),
            leader_epoch: None,
            metadata: String::new(),
            at: model::Timestamp::from_millis(1),
        },
    )];
    let group = GroupId::new(group).unwrap();
    now(broker, broker.commit(&group, commits)).unwrap();
}

fn log_of(disk: &SimDisk, topic: &str, partition: u32) -> std::path::PathBuf {
    let end = format!("/{partition}/{:020}.log", 0);
    let files = disk.content();
    let mut paths = files.into_iter().map(|(path, _)| path);
    let of_topic = Path::new("/data/topics").join(topic);
    paths
        .find(|path| path.starts_with(&of_topic) && path.to_string_lossy().ends_with(&end))
        .unwrap()
}

#[test]
fn an_orderly_end_is_sound_and_a_kill_too() {
    let disk = SimDisk::new(1);
    let broker = build(&disk);
    now(&broker, Box::pin(broker.shutdown())).unwrap();
    drop(broker);
    let found = look(&disk, &clock(), 2).unwrap();
    assert_eq!(words(&found), [""; 0]);
    assert!(
        found.clean && found.is_sound() && found.findings.is_empty(),
        "{found:?}"
    );
    let orders: Vec<_> = found
        .partitions
        .iter()
        .filter(|log| log.id.topic.as_str() == "orders")
        .map(|log| (log.batches, log.records, log.log_end.get(), log.lost))
        .collect();
    assert_eq!(orders, [(4, 8, 8, 0); 3]);
    let groups = GroupsVerified {
        groups: 1,
        commits: 1,
        ..GroupsVerified::default()
    };
    assert_eq!(found.groups, groups);

    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 2)).unwrap();
    disk.crash_with(Survival::Nothing);
    drop(broker);
    let found = look(&disk, &clock(), 2).unwrap();
    assert!(!found.clean && found.is_sound(), "{found:?}");
}

#[test]
fn what_only_the_journal_has_is_counted_and_is_no_damage() {
    let disk = SimDisk::new(1);
    let broker = build(&disk);
    disk.crash_with(Survival::Nothing);
    drop(broker);
    let found = look(&disk, &clock(), 2).unwrap();
    assert!(found.is_sound(), "{found:?}");
    assert!(found.journal_bytes > 0);
    let redo: Vec<_> = found
        .findings
        .iter()
        .filter(|finding| finding.start == StartAction::Redo)
        .collect();
    assert_eq!(redo.len(), 1);
    assert_eq!(redo[0].bytes, Some(found.journal_bytes));
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 2)).unwrap();
    compare(&found, &broker);
}

#[test]
fn damage_is_named_with_its_file_its_place_and_what_a_start_does() {
    let disk = SimDisk::new(1);
    let broker = build(&disk);
    now(&broker, Box::pin(broker.shutdown())).unwrap();
    drop(broker);
    // The second batch of one partition, rubbish behind another, a third one's file cut to nothing.
    let bad = log_of(&disk, "orders", 0);
    let size = disk.open(&bad, Open::Read).unwrap().length().unwrap() / 4;
    disk.flip_bit(&bad, (size + 63) * 8).unwrap();
    let torn = log_of(&disk, "orders", 1);
    let file = disk.open(&torn, Open::Write).unwrap();
    let mut rubbish = [0; 100];
    rubbish[99] = 1;
    file.write_all_at(&rubbish, size * 4).unwrap();
    let cut = log_of(&disk, "orders", 2);
    disk.open(&cut, Open::Write).unwrap().set_len(0).unwrap();
    disk.write_back();

    let found = look(&disk, &clock(), 2).unwrap();
    assert_eq!(words(&found), ["overlook", "cut", "lose"]);
    let problems: Vec<_> = found
        .findings
        .iter()
        .filter(|finding| finding.is_problem())
        .collect();
    assert_eq!(
        (&problems[0].path, problems[0].position),
        (&bad, Some(size))
    );
    assert_eq!(problems[0].bytes, Some(size));
    assert!(problems[0].what.contains("crc"), "{problems:?}");
    assert!(
        problems[0].what.ends_with("offsets 2..4 are lost"),
        "{problems:?}"
    );
    assert_eq!((&problems[1].path, problems[1].bytes), (&torn, Some(100)));
    assert!(problems[1].what.contains("zeros"), "{problems:?}");
    assert_eq!(problems[2].what, "offsets 0..8 are lost");
    let lost: Vec<u64> = found.partitions.iter().map(|log| log.lost).collect();
    assert_eq!(lost, [0, 2, 0, 8], "lantern.groups first");

    // Without the checkpoint a start reads all of it, and sees the first one too.
    let checkpoint = bad.parent().unwrap().join("checkpoint");
    disk.remove_file(&checkpoint).unwrap();
    let found = look(&disk, &clock(), 1).unwrap();
    assert_eq!(words(&found), ["quarantine", "cut", "lose"]);
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 2)).unwrap();
    compare(&found, &broker);
    drop(broker);
    // Reported once, it stays known, and the copies are named.
    disk.restart();
    let found = look(&disk, &clock(), 1).unwrap();
    assert_eq!(words(&found), ["known", "known"]);
    let kept = |finding: &&broker::Finding| finding.path.to_string_lossy().contains("/quarantine/");
    assert_eq!(found.findings.iter().filter(kept).count(), 1);
}

#[test]
fn a_damaged_catalog_refuses_the_start_and_the_logs_are_checked_all_the_same() {
    let disk = SimDisk::new(1);
    let broker = build(&disk);
    disk.crash_with(Survival::Nothing);
    drop(broker);
    disk.flip_bit(Path::new("/data/catalog"), 800).unwrap();
    let found = look(&disk, &clock(), 2).unwrap();
    assert_eq!(words(&found), ["refuse"]);
    assert!(!found.opens);
    assert!(found.findings[0].what.contains("checksum"), "{found:?}");
    let records: u64 = found.partitions.iter().map(|log| log.records).sum();
    assert_eq!(records, 3 * 8 + 1, "the journal's too");
    disk.remove_file(Path::new("/data/catalog")).unwrap();
    let found = look(&disk, &clock(), 2).unwrap();
    assert!(found.findings[0].what.contains("put it back"), "{found:?}");
}

#[test]
fn records_without_a_topic_are_a_problem_and_strangers_are_not() {
    let disk = SimDisk::new(1);
    let broker = build(&disk);
    now(&broker, Box::pin(broker.shutdown())).unwrap();
    drop(broker);
    let from = log_of(&disk, "orders", 0);
    let lost = Path::new("/data/topics/gone/00000000-0000-4000-8000-000000000001");
    disk.create_dir_all(&lost.join("0")).unwrap();
    let bytes = env::read_all(&disk, &from, 1 << 20).unwrap().unwrap();
    env::write_atomic(
        &disk,
        &lost.join("0").join(from.file_name().unwrap()),
        &bytes,
    )
    .unwrap();
    let empty = Path::new("/data/topics/new/00000000-0000-4000-8000-000000000002/0");
    disk.create_dir_all(empty).unwrap();
    for name in [
        "notes.txt",
        "samples",
        "samples.tmp",
        "journal/0000.0123456789abcdef.damaged",
    ] {
        let path = Path::new("/data").join(name);
        disk.create_dir_all(path.parent().unwrap()).unwrap();
        env::write_atomic(&disk, &path, b"text").unwrap();
    }
    let found = look(&disk, &clock(), 2).unwrap();
    assert_eq!(words(&found), ["abandon"]);
    let said = |path: &str, start: &StartAction| {
        let of = found
            .findings
            .iter()
            .filter(|of| of.path == Path::new(path));
        let of: Vec<_> = of.collect();
        assert!(of.len() == 1 && of[0].start == *start, "{path}: {found:?}");
    };
    said(lost.to_str().unwrap(), &StartAction::Abandon);
    said(
        empty.parent().unwrap().to_str().unwrap(),
        &StartAction::Remove,
    );
    said("/data/notes.txt", &StartAction::Leave);
    said("/data/samples.tmp", &StartAction::Leave);
    said(
        "/data/journal/0000.0123456789abcdef.damaged",
        &StartAction::Leave,
    );
    assert!(
        !found
            .findings
            .iter()
            .any(|of| of.path == Path::new("/data/samples"))
    );
}

#[test]
fn commits_are_held_against_their_partitions_and_their_records_are_read() {
    let disk = SimDisk::new(1);
    let broker = build(&disk);
    commit(&broker, "ahead", 900);
    let to = at("lantern.groups", 0);
    let mut strange = record::BatchBuilder::new(record::Compression::None);
    for key in [
        &b"\x01\x00"[..],
        b"\x02\x00\x09short",
        b"\x07of another kind",
    ] {
        strange.push(model::Timestamp::from_millis(1), Some(key), Some(b"?"), &[]);
    }
    let append = broker.append(&to, vec![strange.build()], Durability::Flushed);
    now(&broker, append).unwrap();
    now(
        &broker,
        broker.delete_records(&at("orders", 0), Offset::new(6).into()),
    )
    .unwrap();
    now(&broker, Box::pin(broker.shutdown())).unwrap();
    drop(broker);
    let found = look(&disk, &clock(), 2).unwrap();
    assert_eq!(words(&found), ["pass-over", "pass-over"]);
    let groups = GroupsVerified {
        groups: 2,
        commits: 2,
        before_start: 1,
        beyond_end: 1,
        unreadable: 2,
    };
    assert_eq!(found.groups, groups);
    let ahead = found.findings.iter().find(|of| of.what.contains("'ahead'"));
    assert!(ahead.unwrap().what.contains("900"), "{found:?}");
}

#[test]
fn a_directory_that_is_in_use_is_refused_and_others_that_are_none() {
    let disk = SimDisk::new(1);
    let broker = build(&disk);
    let refused = look(&disk, &clock(), 1).unwrap_err();
    assert!(matches!(refused, VerifyError::Locked { .. }));
    assert!(
        refused.to_string().contains("/data is in use by process"),
        "{refused}"
    );
    drop(broker);
    let other = SimDisk::new(1);
    let refused = look(&other, &clock(), 1).unwrap_err();
    assert!(
        matches!(refused, VerifyError::Unreadable { .. }),
        "{refused}"
    );
    other.create_dir_all(Path::new("/data/photos")).unwrap();
    let refused = look(&other, &clock(), 1).unwrap_err();
    assert!(matches!(refused, VerifyError::NotData { .. }), "{refused}");
}

#[test]
fn on_the_real_disk_nothing_changes_and_no_lantern_starts_meanwhile() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let options = || {
        let (clock, entropy) = (Arc::new(RealClock::new()), Arc::new(RealEntropy));
        broker::Options::new(&data, RealDisk::shared(), clock, entropy)
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let broker = EmbeddedBroker::open(options()).unwrap();
        broker.create_topic(spec("orders", 2)).await.unwrap();
        for _ in 0..50 {
            let to = at("orders", 1);
            let append = broker.append(&to, vec![batch(["a", "b"])], Durability::Flushed);
            append.await.unwrap();
        }
        broker.shutdown().await.unwrap();
    });
    let listing = || {
        let mut found = Vec::new();
        let mut waiting = vec![data.clone()];
        while let Some(dir) = waiting.pop() {
            for entry in RealDisk::new().read_dir(&dir).unwrap() {
                let path = dir.join(&entry.name);
                let file = (!entry.is_dir)
                    .then(|| env::read_all(&RealDisk::new(), &path, 1 << 20).unwrap());
                if entry.is_dir {
                    waiting.push(path.clone());
                }
                found.push((path, file));
            }
        }
        found
    };
    let before = listing();
    let progress = VerifyProgress::default();
    let checked = verify(
        &VerifyOptions {
            data_dir: data.clone(),
            log_dirs: Vec::new(),
            disk: RealDisk::shared(),
            clock: Arc::new(RealClock::new()),
            threads: 2,
            others: Vec::new(),
        },
        &progress,
    )
    .unwrap();
    assert!(
        checked.is_sound() && checked.findings.is_empty(),
        "{checked:?}"
    );
    assert_eq!(listing(), before);
    let bytes = checked.bytes();
    let VerifyStage::Reading { done, total, .. } = progress.stage() else {
        panic!("{progress:?}")
    };
    assert!(
        bytes > 0 && done == bytes && total == bytes,
        "{done} of {total}"
    );
    let _shared = RealDisk::new()
        .lock_shared(&data.join("lantern.lock"))
        .unwrap()
        .unwrap();
    assert!(EmbeddedBroker::open(options()).is_err());
}

#[test]
fn bytes_that_cannot_be_read_are_a_finding_and_stop_nothing_else() {
    let disk = SimDisk::new(1);
    let broker = build(&disk);
    now(&broker, Box::pin(broker.shutdown())).unwrap();
    drop(broker);
    let (mut said, mut read) = (0, 0);
    loop {
        disk.set_faults(env::Faults {
            read: Some(read),
            ..env::Faults::default()
        });
        let found = look(&disk, &clock(), 1).unwrap();
        if disk.faults().read.is_some() {
            assert!(found.is_sound());
            break;
        }
        // Marks and caches that cannot be read are done without, as a start does.
        said += u64::from(!found.findings.is_empty());
        let partitions = if found.opens { 4 } else { 0 };
        assert!(
            found.partitions.len() >= partitions,
            "read {read}: {found:?}"
        );
        read += 1;
    }
    assert!(read > 20 && said > read / 2, "{said} of {read} were said");
}
