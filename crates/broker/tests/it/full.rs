//! A full disk: what makes room can be done on it, and no crash meanwhile takes anything else along.

use std::sync::Arc;

use broker::{Append, Broker, Durability, EmbeddedBroker, Error};
use env::{Faults, SimDisk, Survival};
use model::{Offset, Position};
use stdx::ByteSize;
use test_kit::batches::batch;

use crate::support::{at, clock, create, manual, name, now, spec};

const RECORDS: u64 = 40;

fn append(broker: &EmbeddedBroker, topic: &str, value: &str) -> Result<Offset, Error> {
    let to = at(topic, 0);
    let append = broker.append(&to, vec![batch([value])], Durability::Flushed);
    now(broker, append).map(|appended| appended.base_offset)
}

fn marks(broker: &EmbeddedBroker, topic: &str) -> (u64, u64) {
    let marks = now(broker, broker.marks(&at(topic, 0))).unwrap();
    let number = |position: Position| u64::try_from(position.bits()).unwrap();
    (number(marks.log_start), number(marks.high_watermark))
}

/// Two topics of many small segments on a disk that has no room for one byte more.
fn full(seed: u64) -> (SimDisk, Arc<EmbeddedBroker>) {
    let disk = SimDisk::new(seed);
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 1)).unwrap();
    for topic in ["orders", "kept"] {
        let mut spec = spec(topic, 1);
        spec.config.set("segment.bytes", Some("1024")).unwrap();
        create(&broker, spec);
        for _ in 0..RECORDS {
            append(&broker, topic, &"x".repeat(200)).unwrap();
        }
    }
    disk.set_capacity(Some(disk.used()));
    let refused = append(&broker, "kept", "x").unwrap_err();
    assert!(matches!(refused, Error::DiskFull { .. }), "{refused}");
    (disk, broker)
}

#[test]
fn deleting_a_topic_makes_room_and_records_are_taken_again() {
    let (_disk, broker) = full(1);
    now(&broker, broker.delete_topic(&name("orders"))).unwrap();
    assert_eq!(append(&broker, "kept", "x").unwrap().get(), RECORDS);
    assert!(broker.topic(&name("orders")).is_none());
}

#[test]
fn a_lower_retention_makes_room_and_records_are_taken_again() {
    let (_disk, broker) = full(1);
    let orders = name("orders");
    let mut config = broker.topic(&orders).unwrap().config.clone();
    config.set("retention.bytes", Some("2048")).unwrap();
    now(&broker, broker.configure_topic(&orders, config)).unwrap();
    assert!(broker.retain_now() > 0);
    let (start, end) = marks(&broker, "orders");
    assert!(start > 0 && end == RECORDS);
    assert_eq!(append(&broker, "kept", "x").unwrap().get(), RECORDS);
}

#[test]
fn deleting_records_makes_room_also_after_a_restart_and_again_and_again() {
    let (disk, broker) = full(1);
    drop(broker);
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 2)).unwrap();
    // The start emptied the journal.
    disk.set_capacity(Some(disk.used()));
    assert!(append(&broker, "kept", "x").is_err());
    let orders = at("orders", 0);
    // The first of them free nothing: their segment has later records.
    for until in 1..RECORDS {
        let until = Position::from(Offset::new(until));
        let start = now(&broker, broker.delete_records(&orders, until)).unwrap();
        assert_eq!(start, until);
    }
    append(&broker, "kept", "x").unwrap();
    drop(broker);
    disk.crash();
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 3)).unwrap();
    assert_eq!(marks(&broker, "orders"), (RECORDS - 1, RECORDS));
    assert_eq!(marks(&broker, "kept"), (0, RECORDS + 1));
}

/// Cuts the power at every change of the disk that a deletion on a full disk makes.
#[test]
fn a_deletion_on_a_full_disk_cut_off_anywhere_is_finished_or_undone_whole() {
    for seed in 0..4 {
        let mut cut = 0;
        loop {
            let (disk, broker) = full(seed);
            disk.set_faults(Faults {
                power: Some(cut),
                ..Faults::default()
            });
            let orders = name("orders");
            let deleted = now(&broker, broker.delete_topic(&orders));
            let survived = disk.faults().power.is_some();
            disk.crash();
            drop(broker);
            let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 2)).unwrap();
            assert_eq!(marks(&broker, "kept"), (0, RECORDS), "cut at {cut}");
            let there = broker.topic(&orders).is_some();
            assert!(
                !(there && deleted.is_ok()),
                "cut at {cut}: it was acknowledged"
            );
            if there {
                assert_eq!(marks(&broker, "orders"), (0, RECORDS), "cut at {cut}");
                now(&broker, broker.delete_topic(&orders)).unwrap();
            }
            assert_eq!(append(&broker, "kept", "x").unwrap().get(), RECORDS);
            if survived {
                assert!(deleted.is_ok());
                break;
            }
            cut += 1;
        }
        assert!(cut > 6, "the power was cut inside the deletion");
    }
}

#[test]
fn commits_fail_as_appends_do_and_go_on_when_there_is_room() {
    let (_disk, broker) = full(1);
    let group = model::GroupId::new("readers").unwrap();
    let commit = || broker::Commit {
        position: Offset::new(3).into(),
        leader_epoch: None,
        metadata: "m".repeat(1_000),
        at: model::Timestamp::from_millis(1),
    };
    let commits = vec![(at("kept", 0), commit())];
    let refused = now(&broker, broker.commit(&group, commits)).unwrap_err();
    assert!(matches!(refused, Error::DiskFull { .. }), "{refused}");
    assert_eq!(refused.recovery(), broker::Recovery::Retry);
    now(&broker, broker.delete_topic(&name("orders"))).unwrap();
    let commits = vec![(at("kept", 0), commit())];
    now(&broker, broker.commit(&group, commits)).unwrap();
}

#[test]
fn what_only_the_journal_has_after_a_power_cut_finds_room_on_a_full_disk() {
    let disk = SimDisk::new(1);
    let mut options = manual(disk.shared(), clock(), 1);
    // Zeros that were written ahead would be the room.
    options.preallocate_bytes = ByteSize::from_bytes(0);
    let broker = EmbeddedBroker::open(options).unwrap();
    let topics = ["orders", "kept"];
    for topic in topics {
        create(&broker, spec(topic, 1));
    }
    for _ in 0..3 {
        // Both with one sync of the journal.
        let appends = topics.map(|topic| Append {
            to: at(topic, 0),
            batches: vec![batch(["x".repeat(200).as_str()])],
            durability: Durability::Flushed,
        });
        for appended in now(&broker, broker.append_each(appends.into())) {
            appended.unwrap();
        }
    }
    drop(broker);
    // The segments' bytes were in the page cache alone, and somebody else took their room.
    disk.crash_with(Survival::Nothing);
    disk.set_capacity(Some(disk.used()));
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 2)).unwrap();
    for topic in topics {
        assert_eq!(marks(&broker, topic), (0, 3), "{topic}");
    }
}
