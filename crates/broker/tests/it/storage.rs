//! What the broker does when the disk does not do its part.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker::{
    Append, Broker, Commit, Durability, EmbeddedBroker, Error, Options, Place, ReadLimit,
};
use env::{Disk, Faults, Open, SimDisk, Survival};
use model::{GroupId, Offset, Position, Timestamp};
use stdx::ByteSize;
use test_kit::batches::{batch, batch_at, values};

use crate::support::{SECOND, at, clock, create, manual, now, spec, without_journal};

const ROOM: ReadLimit = ReadLimit {
    bytes: 1 << 20,
    at_least_one: true,
};

fn append(broker: &EmbeddedBroker, partition: u32, value: &str) -> Result<u64, Error> {
    let to = at("orders", partition);
    let append = broker.append(&to, vec![batch([value])], Durability::Flushed);
    now(broker, append).map(|appended| appended.base_offset.get())
}

/// Appends `value` to every partition in one round, which makes it the journal's affair.
fn append_to_all(broker: &EmbeddedBroker, partitions: u32, value: &str) -> Result<(), Error> {
    let appends = (0..partitions).map(|partition| Append {
        to: at("orders", partition),
        batches: vec![batch([value])],
        durability: Durability::Flushed,
    });
    let answers = now(broker, broker.append_each(appends.collect()));
    answers
        .into_iter()
        .try_for_each(|answer| answer.map(|_| ()))
}

fn read(broker: &EmbeddedBroker, partition: u32, from: u64) -> Vec<String> {
    let of = at("orders", partition);
    let mut from = Position::from(Offset::new(from));
    let mut all = Vec::new();
    loop {
        let fetched = now(broker, broker.read(&of, from, ROOM)).unwrap();
        if fetched.batches.is_empty() {
            return all;
        }
        all.extend(values(&fetched.batches));
        from = fetched.next;
    }
}

#[test]
fn a_failed_flush_freezes_its_partition_and_no_other() {
    let disk = SimDisk::new(1);
    let broker = EmbeddedBroker::open(without_journal(disk.shared(), clock(), 1)).unwrap();
    create(&broker, spec("orders", 2));
    append(&broker, 0, "safe").unwrap();
    disk.set_faults(Faults {
        sync: Some(0),
        ..Faults::default()
    });
    let failed = append(&broker, 0, "doubtful");
    assert!(matches!(failed, Err(Error::Frozen { .. })), "{failed:?}");
    let again = append(&broker, 0, "later");
    assert!(matches!(again, Err(Error::Frozen { .. })), "{again:?}");
    assert_eq!(append(&broker, 1, "other").unwrap(), 0);
    assert_eq!(
        read(&broker, 0, 0),
        ["safe"],
        "reads go on, and see nothing doubtful"
    );
    drop(broker);
    disk.crash();
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 2)).unwrap();
    assert_eq!(read(&broker, 0, 0)[0], "safe");
    append(&broker, 0, "after the restart").unwrap();
}

#[test]
fn a_failed_journal_freezes_nobody_and_loses_nothing() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 1)).unwrap();
        create(&broker, spec("orders", 2));
        append_to_all(&broker, 2, "before").unwrap();
        disk.set_faults(Faults {
            sync: Some(0),
            ..Faults::default()
        });
        append_to_all(&broker, 2, "while it fails").unwrap();
        append_to_all(&broker, 2, "after").unwrap();
        let all = ["before", "while it fails", "after"];
        assert_eq!(read(&broker, 0, 0), all);
        drop(broker);
        disk.crash();
        let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 2)).unwrap();
        assert_eq!(read(&broker, 0, 0), all);
        assert_eq!(read(&broker, 1, 0), all);
    }
}

#[test]
fn a_start_that_fails_anywhere_loses_nothing_of_what_only_the_journal_has() {
    let mut unusable = 0;
    for fault in 0..40 {
        let disk = SimDisk::new(fault);
        let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 1)).unwrap();
        create(&broker, spec("orders", 3));
        append_to_all(&broker, 3, "promised").unwrap();
        drop(broker);
        disk.crash_with(Survival::Nothing);
        let faults = if fault % 2 == 0 {
            Faults {
                read: Some(fault / 2),
                ..Faults::default()
            }
        } else {
            Faults {
                sync: Some(fault / 2),
                ..Faults::default()
            }
        };
        disk.set_faults(faults);
        if let Ok(broker) = EmbeddedBroker::open(manual(disk.shared(), clock(), 2)) {
            unusable += usize::from(!broker.recovery().is_untouched());
            disk.set_faults(Faults::default());
            // An orderly end forgets only what is safe.
            if fault % 4 < 2 {
                let _ended = now(&broker, Box::pin(broker.shutdown()));
            }
        }
        disk.crash_with(Survival::Nothing);
        let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 3)).unwrap();
        for partition in 0..3 {
            assert_eq!(read(&broker, partition, 0), ["promised"], "fault {fault}");
        }
    }
    assert!(unusable > 0, "some partition could not be opened");
}

#[test]
fn a_start_without_a_journal_brings_back_what_is_behind_rot_in_the_last_one() {
    let disk = SimDisk::new(1);
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 1)).unwrap();
    create(&broker, spec("orders", 2));
    for value in ["first", "second", "third"] {
        append_to_all(&broker, 2, value).unwrap();
    }
    drop(broker);
    disk.crash_with(Survival::Nothing);
    let journal = Path::new("/data/journal/0000.journal");
    let bytes = env::read_all(&disk, journal, 1 << 30).unwrap().unwrap();
    let second = bytes.windows(6).position(|bytes| bytes == b"second");
    disk.flip_bit(journal, second.unwrap() as u64 * 8).unwrap();
    let broker = EmbeddedBroker::open(without_journal(disk.shared(), clock(), 2)).unwrap();
    for partition in 0..2 {
        assert_eq!(read(&broker, partition, 2), ["third"]);
    }
}

#[test]
fn what_a_segment_lost_before_a_write_of_the_journal_does_not_lose_that_write() {
    for (lost, is_back) in [(300 << 10, true), (5 << 20, false)] {
        let disk = SimDisk::new(1);
        let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 1)).unwrap();
        create(&broker, spec("orders", 2));
        let piece = "x".repeat(100 << 10);
        let pieces = lost / piece.len();
        for _ in 0..pieces {
            append(&broker, 0, &piece).unwrap();
        }
        append_to_all(&broker, 2, "promised").unwrap();
        drop(broker);
        disk.crash_with(Survival::Nothing);
        let file = disk.open(&segment(&disk, 0), Open::Write).unwrap();
        file.set_len(0).unwrap();
        disk.write_back();
        let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 2)).unwrap();
        let is_damaged = |path: &Path| path.extension().is_some_and(|name| name == "damaged");
        let kept = disk.content().into_iter();
        let kept: Vec<_> = kept.filter(|(path, _)| is_damaged(path)).collect();
        if is_back {
            assert_eq!(read(&broker, 0, pieces as u64), ["promised"]);
            assert!(kept.is_empty());
        } else {
            assert_eq!(broker.recovery().journal_damaged.len(), 1);
            let copies = kept.iter().flat_map(|(_, bytes)| bytes.windows(8));
            let copies = copies.filter(|found| found == b"promised").count();
            assert_eq!(copies, 2, "one of each partition");
        }
        assert_eq!(read(&broker, 1, 0), ["promised"]);
    }
}

#[test]
fn a_log_frozen_by_a_removal_keeps_what_the_journal_has_of_it() {
    let disk = SimDisk::new(1);
    let options = |seed| Options {
        journal_bytes: ByteSize::from_kib(4),
        ..manual(disk.shared(), clock(), seed)
    };
    let broker = EmbeddedBroker::open(options(1)).unwrap();
    create(&broker, spec("orders", 3));
    append_to_all(&broker, 3, "promised").unwrap();
    disk.set_faults(Faults {
        sync: Some(0),
        ..Faults::default()
    });
    let of = at("orders", 0);
    let removed = now(&broker, broker.delete_records(&of, Offset::new(1).into()));
    assert!(removed.is_err(), "{removed:?}");
    // The others go on, and fill every file that is free.
    for n in 0..60 {
        let value = format!("{n}{}", "x".repeat(300));
        let appends = [1, 2].map(|partition| Append {
            to: at("orders", partition),
            batches: vec![batch([value.clone()])],
            durability: Durability::Flushed,
        });
        let answers = now(&broker, broker.append_each(appends.to_vec()));
        assert!(answers.iter().all(Result::is_ok));
    }
    drop(broker);
    disk.crash_with(Survival::Nothing);
    let broker = EmbeddedBroker::open(options(2)).unwrap();
    assert_eq!(read(&broker, 0, 0), ["promised"]);
    assert_eq!(read(&broker, 1, 0).len(), 61);
}

#[test]
fn rot_in_what_the_journal_still_has_is_healed_by_a_start() {
    let disk = SimDisk::new(1);
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 1)).unwrap();
    create(&broker, spec("orders", 2));
    append_to_all(&broker, 2, "whole").unwrap();
    drop(broker);
    disk.restart();
    disk.flip_bit(&segment(&disk, 0), 300).unwrap();
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 2)).unwrap();
    assert!(broker.recovery().is_untouched());
    assert_eq!(read(&broker, 0, 0), ["whole"]);
}

#[test]
fn an_orderly_end_leaves_no_journal() {
    let disk = SimDisk::new(1);
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 1)).unwrap();
    create(&broker, spec("orders", 2));
    append_to_all(&broker, 2, "a").unwrap();
    let journals = || {
        let is_journal = |path: &Path| path.extension().is_some_and(|name| name == "journal");
        let files = disk.content();
        files.iter().filter(|(path, _)| is_journal(path)).count()
    };
    assert_eq!(journals(), 1);
    now(&broker, Box::pin(broker.shutdown())).unwrap();
    assert_eq!(journals(), 0);
}

#[test]
fn a_full_disk_refuses_appends_until_there_is_room() {
    let disk = SimDisk::new(1);
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 1)).unwrap();
    create(&broker, spec("orders", 1));
    append(&broker, 0, "first").unwrap();
    disk.set_capacity(Some(disk.used() + 50));
    let value = "x".repeat(200);
    for _ in 0..3 {
        let full = append(&broker, 0, &value);
        assert!(matches!(full, Err(Error::DiskFull { .. })), "{full:?}");
    }
    disk.set_capacity(None);
    assert_eq!(append(&broker, 0, "second").unwrap(), 1);
    assert_eq!(read(&broker, 0, 0), ["first", "second"]);
}

#[test]
fn retention_removes_old_segments_and_says_how_much() {
    let disk = SimDisk::new(1);
    let clock = clock();
    let broker = EmbeddedBroker::open(manual(disk.shared(), Arc::clone(&clock), 1)).unwrap();
    let mut orders = spec("orders", 1);
    orders.config.set("segment.bytes", Some("1024")).unwrap();
    orders.config.set("retention.ms", Some("60000")).unwrap();
    create(&broker, orders);
    let to = at("orders", 0);
    for _ in 0..30 {
        let stamp = env::Clock::now(&*clock);
        let batches = vec![batch_at(stamp, ["x".repeat(200)])];
        now(&broker, broker.append(&to, batches, Durability::Flushed)).unwrap();
        clock.advance(SECOND * 4);
    }
    assert!(broker.retain_now() > 0);
    let marks = now(&broker, broker.marks(&to)).unwrap();
    assert!(
        marks.log_start > Position::default(),
        "old segments are gone"
    );
    assert!(marks.log_start < marks.high_watermark, "young ones are not");
    let found = now(&broker, broker.find(&to, Place::Time(Timestamp::MIN)))
        .unwrap()
        .unwrap();
    assert_eq!(found.position, marks.log_start);
    assert_eq!(broker.retain_now(), 0);
    let first = now(&broker, broker.read(&to, Position::default(), ROOM));
    assert!(matches!(first, Err(Error::OutOfRange { .. })), "{first:?}");
}

#[test]
fn group_progress_stays_short_and_right_over_many_commits() {
    let disk = SimDisk::new(1);
    let clock = clock();
    let options = |seed| Options {
        groups_records_max: 100,
        ..manual(disk.shared(), Arc::clone(&clock), seed)
    };
    let broker = EmbeddedBroker::open(options(1)).unwrap();
    create(&broker, spec("orders", 5));
    let commit = |broker: &EmbeddedBroker, group: u64, partition: u32, offset: u64| {
        let commit = Commit {
            position: Offset::new(offset).into(),
            leader_epoch: None,
            metadata: String::new(),
            at: Timestamp::from_millis(1),
        };
        let group = GroupId::new(&format!("group {group}")).unwrap();
        let commits = vec![(at("orders", partition), commit)];
        now(broker, broker.commit(&group, commits)).unwrap();
    };
    let records = |broker: &EmbeddedBroker| {
        let of = at(model::limits::GROUPS_TOPIC, 0);
        let marks = now(broker, broker.marks(&of)).unwrap();
        marks.log_end.bits() - marks.log_start.bits()
    };
    let mut broker = broker;
    for n in 0..2_000_u64 {
        commit(&broker, n % 3, u32::try_from(n % 5).unwrap(), n);
        assert!(
            records(&broker) <= 120,
            "{} records at {n}",
            records(&broker)
        );
        if n % 500 == 499 {
            disk.crash();
            drop(broker);
            broker = EmbeddedBroker::open(options(n)).unwrap();
        }
    }
    for last in 1_985..2_000_u64 {
        let group = GroupId::new(&format!("group {}", last % 3)).unwrap();
        let of = at("orders", u32::try_from(last % 5).unwrap());
        let found = now(&broker, broker.committed(&group, Some(vec![of]))).unwrap();
        let position = found[0].1.as_ref().map(|commit| commit.position);
        assert_eq!(position, Some(Offset::new(last).into()));
    }
}

#[test]
fn the_topic_of_the_groups_is_protected() {
    let broker = EmbeddedBroker::open(manual(SimDisk::new(1).shared(), clock(), 1)).unwrap();
    let groups = at(model::limits::GROUPS_TOPIC, 0);
    let deleted = now(&broker, broker.delete_topic(&groups.topic));
    assert!(
        matches!(deleted, Err(Error::Reserved { .. })),
        "{deleted:?}"
    );
    let grown = now(&broker, broker.add_partitions(&groups.topic, 2));
    assert!(matches!(grown, Err(Error::Reserved { .. })), "{grown:?}");
    let cut = now(&broker, broker.delete_records(&groups, Position::default()));
    assert!(matches!(cut, Err(Error::Reserved { .. })), "{cut:?}");
}

#[test]
fn one_damaged_partition_keeps_nobody_else_from_opening() {
    let disk = SimDisk::new(1);
    let broker = EmbeddedBroker::open(without_journal(disk.shared(), clock(), 1)).unwrap();
    create(&broker, spec("orders", 2));
    for partition in [0, 1] {
        for n in 0..10 {
            append(&broker, partition, &n.to_string()).unwrap();
        }
    }
    drop(broker);
    disk.restart();
    let log = segment(&disk, 0);
    let middle = disk.open(&log, Open::Read).unwrap().length().unwrap() / 2;
    disk.flip_bit(&log, middle * 8).unwrap();
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 2)).unwrap();
    let touched = &broker.recovery().touched;
    assert_eq!(touched.len(), 1);
    assert_eq!(touched[0].partition, at("orders", 0));
    assert_eq!(read(&broker, 1, 0).len(), 10);
    append(&broker, 1, "goes on").unwrap();
    let damaged = now(&broker, async_read_all(&broker));
    assert!(matches!(damaged, Err(Error::Corrupt { .. })), "{damaged:?}");
}

#[test]
fn damage_in_the_topic_of_the_groups_costs_what_was_stored_there_and_nothing_else() {
    let disk = SimDisk::new(1);
    let broker = EmbeddedBroker::open(without_journal(disk.shared(), clock(), 1)).unwrap();
    create(&broker, spec("orders", 1));
    append(&broker, 0, "a").unwrap();
    let commit = |group: &str, offset| {
        let commit = Commit {
            position: Offset::new(offset).into(),
            leader_epoch: None,
            metadata: format!("note of {offset}"),
            at: Timestamp::from_millis(1),
        };
        let id = GroupId::new(group).unwrap();
        now(&broker, broker.commit(&id, vec![(at("orders", 0), commit)])).unwrap();
    };
    commit("billing", 11);
    commit("billing", 22);
    commit("shipping", 33);
    now(&broker, Box::pin(broker.shutdown())).unwrap();
    drop(broker);

    // The second commit rots while the machine is off, after an orderly stop: only reading it tells.
    let content = disk.content();
    let holds = |bytes: &[u8]| bytes.windows(10).position(|part| part == b"note of 22");
    let (log, position) = content
        .iter()
        .find_map(|(path, bytes)| Some((path, holds(bytes)?)))
        .unwrap();
    disk.flip_bit(log, position as u64 * 8).unwrap();

    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 2)).unwrap();
    let report = broker.recovery();
    assert_eq!(report.groups_damaged.len(), 1, "{report:?}");
    assert!(!report.is_untouched());
    for (group, offset) in [("billing", 11), ("shipping", 33)] {
        let id = GroupId::new(group).unwrap();
        let found = now(&broker, broker.committed(&id, None)).unwrap();
        let position = found[0].1.as_ref().map(|commit| commit.position);
        assert_eq!(position, Some(Offset::new(offset).into()), "{group}");
    }
    append(&broker, 0, "goes on").unwrap();
}

/// Reads partition 0 to its end, or to the first error.
fn async_read_all(
    broker: &EmbeddedBroker,
) -> std::pin::Pin<Box<dyn Future<Output = Result<usize, Error>> + '_>> {
    Box::pin(async move {
        let mut from = Position::default();
        let mut count = 0;
        loop {
            let fetched = broker.read(&at("orders", 0), from, ROOM).await?;
            if fetched.batches.is_empty() {
                return Ok(count);
            }
            count += values(&fetched.batches).len();
            from = fetched.next;
        }
    })
}

/// The largest file of a partition of topic "orders".
fn segment(disk: &SimDisk, partition: u32) -> PathBuf {
    let part = format!("/{partition}/");
    let files = disk.content();
    let mine = files.iter().filter(|(path, _)| {
        path.starts_with(Path::new("/data/topics/orders")) && path.to_string_lossy().contains(&part)
    });
    let largest = mine.max_by_key(|(_, bytes)| bytes.len()).unwrap();
    largest.0.clone()
}
