//! The data directory: its lock, its mark, its catalog, and what a crash leaves in it.

use std::path::Path;
use std::sync::Arc;

use broker::{Broker, Durability, EmbeddedBroker, OpenError};
use env::{Disk, Faults, Open, RealClock, RealDisk, RealEntropy, SimDisk};
use model::limits::GROUPS_TOPIC;
use test_kit::batches::batch;

use crate::support::{at, clock, create, manual, name, now, options, spec};

#[tokio::test]
async fn a_locked_directory_is_named_with_its_holder() {
    let disk = SimDisk::new(1);
    let first = EmbeddedBroker::open(options(disk.shared(), clock(), 1)).unwrap();
    assert!(first.recovery().clean, "nobody was there before");
    let refused = EmbeddedBroker::open(options(disk.shared(), clock(), 2)).unwrap_err();
    let text = refused.to_string();
    assert!(matches!(refused, OpenError::Locked { .. }), "{text}");
    assert!(text.contains("/data"), "{text}");
    assert!(text.contains(&std::process::id().to_string()), "{text}");
    first.shutdown().await.unwrap();
    first.shutdown().await.unwrap();
    let second = EmbeddedBroker::open(options(disk.shared(), clock(), 3)).unwrap();
    assert!(second.recovery().clean);
    drop(second);
    let third = EmbeddedBroker::open(options(disk.shared(), clock(), 4)).unwrap();
    assert!(!third.recovery().clean, "the one before was dropped");
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let options = broker::Options::new(
        file.path().join("data"),
        RealDisk::shared(),
        Arc::new(RealClock::new()),
        Arc::new(RealEntropy),
    );
    let refused = EmbeddedBroker::open(options).unwrap_err();
    assert!(matches!(refused, OpenError::Unwritable { .. }), "{refused}");
    assert!(refused.to_string().contains(file.path().to_str().unwrap()));
}

#[test]
fn bad_options_are_all_listed() {
    let mut bad = manual(SimDisk::new(1).shared(), clock(), 1);
    bad.queue_appends = 0;
    bad.retention_interval = std::time::Duration::ZERO;
    match EmbeddedBroker::open(bad).unwrap_err() {
        OpenError::Options { problems } => assert_eq!(problems.len(), 2, "{problems:?}"),
        other => panic!("{other}"),
    }
}

#[test]
fn a_damaged_or_missing_catalog_stops_everything_and_changes_nothing() {
    let disk = SimDisk::new(1);
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 1)).unwrap();
    create(&broker, spec("orders", 1));
    drop(broker);
    let path = Path::new("/data/catalog");
    disk.flip_bit(path, 800).unwrap();
    let before = disk.content();
    let refused = EmbeddedBroker::open(manual(disk.shared(), clock(), 2)).unwrap_err();
    assert!(matches!(refused, OpenError::Catalog { .. }), "{refused}");
    assert_eq!(disk.content(), before);
    disk.remove_file(path).unwrap();
    let refused = EmbeddedBroker::open(manual(disk.shared(), clock(), 2)).unwrap_err();
    assert!(
        matches!(refused, OpenError::CatalogMissing { .. }),
        "{refused}"
    );
}

/// Rewrites the catalog without the topic of the groups, as a Lantern before groups left it.
fn forget_groups(disk: &SimDisk) {
    let file = disk.open(Path::new("/data/catalog"), Open::Write).unwrap();
    let mut text = vec![0; usize::try_from(file.length().unwrap()).unwrap()];
    file.read_exact_at(&mut text, 0).unwrap();
    let text = String::from_utf8(text).unwrap();
    let (_, body) = text.split_once('\n').unwrap();
    let mut catalog: serde_json::Value = serde_json::from_str(body).unwrap();
    let topics = catalog["topics"].as_array_mut().unwrap();
    topics.retain(|topic| topic["name"] != GROUPS_TOPIC);
    let body = serde_json::to_string(&catalog).unwrap();
    let text = format!(
        "lantern catalog 1 {:08x}\n{body}",
        crc32c::crc32c(body.as_bytes())
    );
    file.write_all_at(text.as_bytes(), 0).unwrap();
    file.set_len(u64::try_from(text.len()).unwrap()).unwrap();
    file.sync_data().unwrap();
}

#[test]
fn a_catalog_without_the_topic_of_the_groups_is_given_it_and_one_that_has_it_needs_its_log() {
    let disk = SimDisk::new(1);
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 1)).unwrap();
    create(&broker, spec("orders", 1));
    let to = at("orders", 0);
    let append = broker.append(&to, vec![batch(["x"])], Durability::Flushed);
    now(&broker, append).unwrap();
    drop(broker);
    let groups = Path::new("/data/topics").join(GROUPS_TOPIC);
    disk.remove_dir_all(&groups).unwrap();
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 2)).unwrap();
    let lost = now(&broker, broker.marks(&at(GROUPS_TOPIC, 0)));
    assert!(lost.is_err(), "{lost:?}");
    drop(broker);
    assert!(!disk.exists(&groups).unwrap(), "begun anew");

    forget_groups(&disk);
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 3)).unwrap();
    let marks = now(&broker, broker.marks(&at("orders", 0))).unwrap();
    assert_eq!(marks.high_watermark, model::Offset::new(1).into());
    assert!(broker.topic(&name(GROUPS_TOPIC)).is_some());
    drop(broker);
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 4)).unwrap();
    let marks = now(&broker, broker.marks(&at(GROUPS_TOPIC, 0))).unwrap();
    assert_eq!(marks.log_start, model::Offset::new(0).into());
}

/// Cuts the power at every change of the disk that a deletion makes.
#[test]
fn a_deletion_cut_off_anywhere_is_finished_or_undone_whole() {
    let mut cut = 0;
    loop {
        let disk = SimDisk::new(cut);
        let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 1)).unwrap();
        create(&broker, spec("orders", 2));
        create(&broker, spec("kept", 1));
        for topic in ["orders", "kept"] {
            let to = at(topic, 0);
            let append = broker.append(&to, vec![batch(["x"])], Durability::Flushed);
            now(&broker, append).unwrap();
        }
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
        assert_eq!(broker.topic(&name("kept")).unwrap().partitions, 1);
        let there = broker.topic(&orders).is_some();
        assert!(
            !(there && deleted.is_ok()),
            "cut at {cut}: a deletion was acknowledged"
        );
        if there {
            let marks = now(&broker, broker.marks(&at("orders", 0))).unwrap();
            assert_eq!(
                marks.high_watermark,
                model::Offset::new(1).into(),
                "cut at {cut}"
            );
        } else {
            let left = disk.exists(Path::new("/data/topics/orders")).unwrap();
            assert!(!left, "cut at {cut}: files are left");
        }
        if survived {
            assert!(deleted.is_ok());
            break;
        }
        cut += 1;
    }
    assert!(cut > 3, "the power was cut inside the deletion");
}

/// Cuts the power at every change of the disk that a creation makes.
#[test]
fn a_creation_cut_off_anywhere_leaves_a_whole_topic_or_none() {
    let mut cut = 0;
    loop {
        let disk = SimDisk::new(cut);
        let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 1)).unwrap();
        disk.set_faults(Faults {
            power: Some(cut),
            ..Faults::default()
        });
        let created = now(&broker, broker.create_topic(spec("orders", 3)));
        let survived = disk.faults().power.is_some();
        disk.crash();
        drop(broker);
        let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 2)).unwrap();
        let there = broker.topic(&name("orders"));
        match (&created, &there) {
            (Ok(created), Some(there)) => assert_eq!(created.id, there.id),
            (Ok(_), None) => panic!("cut at {cut}: an acknowledged topic is gone"),
            (Err(_), Some(there)) => assert_eq!(there.partitions, 3),
            (Err(_), None) => {
                let left = disk.exists(Path::new("/data/topics/orders")).unwrap();
                assert!(!left, "cut at {cut}: directories are left");
            }
        }
        if there.is_none() {
            create(&broker, spec("orders", 3));
        }
        let to = at("orders", 2);
        let append = broker.append(&to, vec![batch(["x"])], Durability::Flushed);
        assert_eq!(now(&broker, append).unwrap().base_offset.get(), 0);
        if survived {
            break;
        }
        cut += 1;
    }
    assert!(cut > 3, "the power was cut inside the creation");
}

#[test]
fn a_directory_of_no_topic_is_kept_if_it_holds_records() {
    let disk = SimDisk::new(1);
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 1)).unwrap();
    create(&broker, spec("orders", 1));
    let id = broker.topic(&name("orders")).unwrap().id.to_string();
    let to = at("orders", 0);
    let append = broker.append(&to, vec![batch(["x"])], Durability::Flushed);
    now(&broker, append).unwrap();
    drop(broker);
    // As if an older catalog had been put back.
    let known = Path::new("/data/topics/orders").join(&id);
    let stray = Path::new("/data/topics/orders/00000000-0000-4000-8000-000000000000");
    disk.rename(&known, stray).unwrap();
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 2)).unwrap();
    assert_eq!(broker.recovery().unknown_directories, [stray]);
    assert!(disk.exists(stray).unwrap());
}

#[test]
fn a_fresh_directory_is_ready_at_once_and_holds_what_the_format_page_says() {
    let disk = SimDisk::new(1);
    let broker = EmbeddedBroker::open(manual(disk.shared(), clock(), 1)).unwrap();
    let names: Vec<_> = disk.read_dir(Path::new("/data")).unwrap();
    let names: Vec<_> = names.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["catalog", "lantern.lock", "reserve", "topics"]);
    assert_eq!(broker.recovery().partitions, 1);
    assert!(broker.recovery().is_untouched());
    assert!(disk.open(Path::new("/data/clean"), Open::Read).is_err());
}
