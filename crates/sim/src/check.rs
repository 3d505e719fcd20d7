//! Comparing the whole broker with what is known, at the start of a life and at the end of a run.

use std::collections::{BTreeMap, BTreeSet};

use broker::{Broker, Durability, RecoveryReport};
use model::{GroupId, TopicPartition};

use crate::clients::{self, Transactor, at};
use crate::life::Life;
use crate::oracle::{Look, Rules};
use crate::reading::{decode, offset, read_all};
use crate::world::World;

/// What a start says it found. Only a flipped bit is an excuse for damage.
pub(crate) fn recovery(world: &World, report: &RecoveryReport) {
    let mut oracle = world.oracle.borrow_mut();
    for path in &report.journal_damaged {
        oracle.damage_journal(&path.display().to_string());
    }
    for damage in &report.groups_damaged {
        oracle.damage(&at("lantern.groups", 0), damage);
    }
    for touched in &report.touched {
        if let Some(reason) = &touched.unusable {
            oracle.damage(&touched.partition, reason);
        }
        let Some(log) = &touched.log else { continue };
        let damaged = log.damage.iter().chain(&log.known_damage).next();
        if let Some(damage) = damaged {
            oracle.damage(&touched.partition, &damage.to_string());
        } else if oracle.rotten && log.cut.is_some() {
            // A flipped bit at the very end looks like a torn write; it is cut, kept and reported.
            oracle.damage(&touched.partition, "cut");
        }
    }
    assert!(
        report.unknown_directories.is_empty(),
        "directories of no topic: {:?}",
        report.unknown_directories
    );
}

/// A start was cut short before it could report: logs in which a bit was flipped may have been cut there.
pub(crate) fn unreported(world: &World) {
    let mut oracle = world.oracle.borrow_mut();
    for (path, _) in world.flips.borrow().iter() {
        let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
        // /data/topics/NAME/ID/PARTITION/SEGMENT
        if let ["/", "data", "topics", name, _, number, _] = parts[..]
            && let Ok(number) = number.parse()
        {
            oracle.damage(&at(name, number), "a bit was flipped in it");
        }
    }
}

/// Everything, before clients are let in.
pub(crate) async fn start(life: &Life<'_>) {
    topics(life);
    let logs: Vec<TopicPartition> = life.world.oracle.borrow().logs.keys().cloned().collect();
    for of in &logs {
        log(life, of).await;
    }
    progress(life).await;
}

fn topics(life: &Life<'_>) {
    let there = life.broker.topics();
    let mut oracle = life.world.oracle.borrow_mut();
    for name in oracle.topics.names() {
        let known = oracle.topics.get(&name);
        let found = there.get(&name);
        let id = found.map(|info| info.id);
        if known.changing {
            if id != known.id || id.is_none() {
                oracle.forget_topic(&name);
            }
            oracle.topics.settle(&name, id);
        } else {
            assert_eq!(
                id, known.id,
                "topic '{name}' is another than was acknowledged"
            );
        }
        if let (Some(info), Some(range)) = (found, known.partitions) {
            assert!(
                range.contains(&info.partitions),
                "topic '{name}' has {} partitions, it should have {range:?}",
                info.partitions
            );
            oracle
                .topics
                .set_partitions(&name, info.partitions..=info.partitions);
        }
    }
}

/// Compares one log with what is known of it.
async fn log(life: &Life<'_>, of: &TopicPartition) {
    let Some(info) = life.broker.topic(&of.topic) else {
        return;
    };
    let Some((marks, seen)) = read_all(life, of).await else {
        return;
    };
    let mut oracle = life.world.oracle.borrow_mut();
    let certain = info.config.durability == Durability::Flushed;
    // A checkpoint that rots is done without, and brings back records that were to go (decision 4).
    let bounded = info.config.retention_bytes.is_none() && !oracle.rotten;
    let excused = oracle.excused(of);
    let start = offset(marks.log_start);
    let look = Look {
        seen: &seen,
        start,
        high_watermark: offset(marks.high_watermark),
        certain,
        bounded,
        excused,
        compacted: info.config.cleanup.policy.compacts().then(|| Rules {
            tombstones: info.config.cleanup.delete_retention,
            now: life.real(),
        }),
    };
    oracle.check_log(of, &look);
    drop(oracle);
    life.note(
        "check",
        format_args!("{of} has {} records from {start}", seen.len()),
    );
}

async fn progress(life: &Life<'_>) {
    let known = life.world.oracle.borrow().commits.known();
    for (group, of) in known {
        let id = GroupId::new(&group).expect("the groups of clients have good names");
        let asked = Some(vec![of.clone()]);
        let answer = life.call(life.broker.committed(&id, asked)).await;
        let mut oracle = life.world.oracle.borrow_mut();
        let excused = oracle.excused_inside();
        let found = match &answer {
            Ok(found) => found.first().and_then(|(_, commit)| commit.as_ref()),
            Err(error) => {
                assert!(excused, "what {group} committed cannot be read: {error:?}");
                None
            }
        };
        let found = found.map(|commit| offset(commit.position));
        oracle.commits.check(&group, &of, found, excused);
    }
}

/// What readers of committed records see in the end, when no transaction is open.
pub(crate) async fn transactions(life: &Life<'_>, transactors: u32) {
    let mut seen = BTreeSet::new();
    for of in clients::transactional_places() {
        let marks = life.call(life.broker.marks(&of)).await;
        let Ok(marks) = marks else { return };
        if life.world.oracle.borrow().excused(&of) || life.world.oracle.borrow().excused_inside() {
            return;
        }
        assert_eq!(
            marks.last_stable, marks.high_watermark,
            "a transaction hangs in {of}"
        );
        let mut from = marks.log_start;
        while from < marks.last_stable {
            let limit = broker::ReadLimit {
                bytes: 1_000,
                at_least_one: true,
            };
            let read = broker::read_committed(&*life.broker, &of, from, limit);
            let fetched = match life.call(read).await {
                Ok(fetched) => fetched,
                Err(error) => {
                    life.refused(&error);
                    return;
                }
            };
            for record in decode(&of, &fetched.batches) {
                seen.extend(record.value.filter(|_| record.offset >= offset(from)));
            }
            assert!(fetched.next > from, "{of}: nothing is read at {from:?}");
            from = fetched.next;
        }
    }
    let mut offsets = BTreeMap::new();
    for number in 0..transactors {
        let group = Transactor::group(number);
        let asked = Some(vec![clients::staged_place()]);
        let Ok(found) = life.call(life.broker.committed(&group, asked)).await else {
            return;
        };
        let found = found.first().and_then(|(_, commit)| commit.as_ref());
        offsets.insert(number, found.map(|commit| offset(commit.position)));
    }
    life.world
        .oracle
        .borrow()
        .transactions
        .check(&seen, &offsets);
}
