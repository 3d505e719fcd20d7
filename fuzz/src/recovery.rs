//! What must hold of any data directory, however it was spoiled.
//!
//! - Neither looking at it nor opening it panics, or takes more memory than libFuzzer is told to allow.
//! - `verify` changes nothing, and says of each partition what opening then does.
//! - What was opened once opens again, has the same records, and nothing of it is changed any more.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use broker::{
    Broker, EmbeddedBroker, Error, ReadLimit, Verified, VerifyError, VerifyOptions, VerifyProgress,
    verify,
};
use env::{Disk, Open, SimClock, SimDisk};
use model::limits::GROUPS_TOPIC;
use model::{PartitionId, Position, TopicPartition};

use crate::Input;
use crate::spoil::spoil;
use crate::template::{Files, NOW, now, options, template};

/// Bytes asked for at once.
const READ_BYTES: usize = 64 << 10;

/// Builds a directory, spoils it as the input says, and checks all of the above.
pub fn check(data: &[u8]) {
    let mut input = Input(data);
    let mut files = template(input.byte()).clone();
    spoil(&mut input, &mut files);
    let disk = SimDisk::new(0);
    lay(&disk, &files);

    let before = (disk.content(), disk.changes());
    let said = look(&disk);
    assert!(
        (disk.content(), disk.changes()) == before,
        "verify only reads"
    );
    let opened = EmbeddedBroker::open(options(disk.shared()));
    let broker = match (&said, opened) {
        (Ok(said), Ok(broker)) => {
            compare(said, &broker);
            broker
        }
        // There was nothing of Lantern's.
        (Err(VerifyError::NotData { .. }), Ok(broker)) => broker,
        (Ok(said), Err(error)) => {
            assert!(!said.opens, "verify says that it opens, and: {error}");
            return;
        }
        // Both refuse, each in its words: a directory where a file should be.
        (Err(_), Err(_)) => return,
        (Err(error), Ok(_)) => panic!("it opens, and verify says {error}"),
    };
    let first = read_all(&broker);
    let _without_room = now(&broker, broker.shutdown());
    drop(broker);
    let left = kept(&disk);

    disk.restart();
    let again = EmbeddedBroker::open(options(disk.shared())).expect("it opened before");
    for log in &again.recovery().touched {
        if cannot_remember(&left, &log.partition) {
            continue;
        }
        let changed = log
            .log
            .as_ref()
            .and_then(commitlog::RecoveryReport::changed);
        assert_eq!(changed, None, "{}: the first start left it", log.partition);
    }
    assert!(read_all(&again) == first, "other records than before");
    let _without_room = now(&again, again.shutdown());
    drop(again);
    let after = kept(&disk);
    for (path, bytes) in &left {
        assert!(after.get(path) == Some(bytes), "{} changed", path.display());
    }
    assert_eq!(after.len(), left.len(), "files came");
}

/// Whether there is a directory where a checkpoint is written: what a start finds out is told by the next one again.
fn cannot_remember(files: &Files, at: &TopicPartition) -> bool {
    let (topic, number) = (at.topic.as_str(), at.partition.get().to_string());
    files.keys().any(|path| {
        let mut parts = path.iter().skip(3).map(|part| part.to_string_lossy());
        let of_it = parts.next().is_some_and(|part| part == topic)
            && parts.nth(1).is_some_and(|part| part == number);
        of_it
            && parts
                .next()
                .is_some_and(|part| part.starts_with("checkpoint"))
            && parts.next().is_some()
    })
}

fn lay(disk: &SimDisk, files: &Files) {
    for (path, bytes) in files {
        // A name below a file, or a file where a directory is: whoever was there first stays.
        let laid = path.parent().map(|dir| disk.create_dir_all(dir));
        if !matches!(laid, Some(Ok(()))) {
            continue;
        }
        let Ok(file) = disk.open(path, Open::Create) else {
            continue;
        };
        file.set_len(0).expect("memory");
        file.write_all_at(bytes, 0).expect("memory");
    }
    disk.create_dir_all(Path::new("/data")).expect("memory");
    disk.write_back();
}

fn look(disk: &SimDisk) -> Result<Verified, VerifyError> {
    let options = VerifyOptions {
        data_dir: "/data".into(),
        log_dirs: Vec::new(),
        disk: disk.shared(),
        clock: Arc::new(SimClock::new(NOW)),
        threads: 1,
        others: Vec::new(),
    };
    verify(&options, &VerifyProgress::default())
}

fn compare(said: &Verified, broker: &EmbeddedBroker) {
    let did = broker.recovery();
    assert!(said.opens, "verify says that it does not open");
    assert_eq!(said.clean, did.clean);
    assert_eq!(said.partitions.len(), did.partitions);
    for log in &said.partitions {
        let touched = did.touched.iter().find(|did| did.partition == log.id);
        let unusable = touched.is_some_and(|did| did.unusable.is_some());
        assert_eq!(log.opens, !unusable, "{}", log.id);
        if unusable {
            continue;
        }
        let cut = touched.and_then(|did| did.log.as_ref()?.cut.as_ref());
        assert_eq!(log.cut_bytes, cut.map_or(0, |cut| cut.bytes), "{}", log.id);
        let marks = now(broker, broker.marks(&log.id)).expect("it is in service");
        assert_eq!(Position::from(log.log_start), marks.log_start, "{}", log.id);
        if log.id.topic.as_str() == GROUPS_TOPIC {
            // A start may add to it: that progress in topics which are gone is forgotten.
            assert!(Position::from(log.log_end) <= marks.log_end, "{}", log.id);
        } else {
            assert_eq!(Position::from(log.log_end), marks.log_end, "{}", log.id);
        }
    }
}

/// What reading a partition gives: batches, and errors in words.
type Readings = BTreeMap<TopicPartition, Vec<Result<Vec<u8>, String>>>;

fn read_all(broker: &EmbeddedBroker) -> Readings {
    let mut all = Readings::new();
    for (name, info) in broker.topics().iter() {
        for number in 0..info.partitions {
            let at = TopicPartition::new(name.clone(), PartitionId::new(number));
            all.insert(at.clone(), read(broker, &at));
        }
    }
    all
}

fn read(broker: &EmbeddedBroker, at: &TopicPartition) -> Vec<Result<Vec<u8>, String>> {
    let limit = ReadLimit {
        bytes: READ_BYTES,
        at_least_one: true,
    };
    let mut found = Vec::new();
    let marks = match now(broker, broker.marks(at)) {
        Ok(marks) => marks,
        Err(error) => return vec![Err(error.to_string())],
    };
    let mut next = marks.log_start;
    while next < marks.high_watermark {
        let behind = match now(broker, broker.read(at, next, limit)) {
            Ok(fetched) => {
                let behind = fetched.next;
                found.push(Ok(fetched.batches.to_vec()));
                behind
            }
            Err(error) => {
                found.push(Err(error.to_string()));
                match error {
                    Error::Corrupt {
                        until: Some(until), ..
                    } => until,
                    _ => break,
                }
            }
        };
        assert!(behind > next, "{at}: reading stands still at {next:?}");
        next = behind;
    }
    let _nowhere = now(broker, broker.find(at, broker::Place::Time(NOW)));
    let _unless_readable = now(broker, broker.find(at, broker::Place::MaxTimestamp));
    found
}

/// What must stay as it is from one start to the next: logs, what was kept aside of them, and the catalog. Not checkpoints,
/// indexes and marks: the second start knows from the first one's what that had to find out, and may write it down in other words. What
/// they decide (records, marks, damage) is compared where it shows.
fn kept(disk: &SimDisk) -> Files {
    let files = disk.content().into_iter();
    let kept = files
        .filter(|(path, _)| path.starts_with("/data/topics") || path == Path::new("/data/catalog"))
        .filter(|(path, _)| {
            let cache = |name: &str| {
                matches!(name, "checkpoint" | "flushed" | "cleaned") || name.ends_with(".index")
            };
            !path
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(cache)
        });
    kept.collect()
}
