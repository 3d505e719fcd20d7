//! Data directories as lives of a broker leave them. Each is made once and then copied.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use broker::{
    Append, Broker, Commit, Drive, Durability, EmbeddedBroker, Options, TopicConfig, TopicSpec,
};
use env::{DynDisk, Faults, SeededEntropy, SimClock, SimDisk, Survival};
use model::{GroupId, Offset, PartitionId, Timestamp, TopicPartition};
use record::{BatchBuilder, CheckedBatch, Compression};
use stdx::ByteSize;

/// Files by path.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Ways in which a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// What was appended last is in the journal alone.
    Killed,
    /// Everything has a checkpoint.
    Stopped,
    /// No journal; the checkpoints are old.
    Unjournaled,
    /// Compacted, and stopped.
    Compacted,
    /// In the middle of the deletion of a topic.
    Deleting,
}

const ENDS: [End; 5] = [
    End::Killed,
    End::Stopped,
    End::Unjournaled,
    End::Compacted,
    End::Deleting,
];

/// The time in all of them, and when they are opened.
pub const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// The files that one of the lives left.
pub fn template(number: u8) -> &'static Files {
    static MADE: [OnceLock<Files>; ENDS.len()] = [const { OnceLock::new() }; ENDS.len()];
    let index = usize::from(number) % ENDS.len();
    MADE[index].get_or_init(|| live(ENDS[index]))
}

/// Options under which nothing happens by itself.
pub fn options(disk: DynDisk) -> Options {
    Options {
        drive: Drive::Manual,
        journal_bytes: ByteSize::from_kib(8),
        clean_memory: ByteSize::from_kib(64),
        ..Options::new(
            "/data",
            disk,
            Arc::new(SimClock::new(NOW)),
            Arc::new(SeededEntropy::new(1)),
        )
    }
}

/// What a future answers, after some rounds of the writer.
pub fn now<T>(broker: &EmbeddedBroker, future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    for _ in 0..100 {
        if let Poll::Ready(answer) = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            return answer;
        }
        broker.run_round();
    }
    panic!("nobody answers");
}

fn at(topic: &str, partition: u32) -> TopicPartition {
    let topic = topic.parse().expect("a name");
    TopicPartition::new(topic, PartitionId::new(partition))
}

fn batch(number: u32, compression: Compression) -> CheckedBatch {
    let mut builder = BatchBuilder::new(compression);
    for record in 0..3 {
        let key = format!("key {}", (number + record) % 5);
        let value = format!("value {number} {record}, and some more of it");
        let headers = [("ce_type", Some(b"order.paid".as_slice()))];
        builder.push(NOW, Some(key.as_bytes()), Some(value.as_bytes()), &headers);
    }
    builder.build()
}

fn append(broker: &EmbeddedBroker, number: u32) {
    let codecs = [Compression::None, Compression::Lz4, Compression::Gzip];
    let places = [("orders", 0), ("orders", 1), ("prices", 0), ("gone", 0)];
    let appends = places.map(|(topic, partition)| Append {
        to: at(topic, partition),
        batches: vec![batch(number, codecs[number as usize % codecs.len()])],
        durability: Durability::Flushed,
    });
    for answer in now(broker, broker.append_each(appends.into())) {
        answer.expect("there is room");
    }
}

fn live(end: End) -> Files {
    let disk = SimDisk::new(7);
    let mut with = options(disk.shared());
    if end == End::Unjournaled {
        with.journal_bytes = ByteSize::from_bytes(0);
    }
    let broker = EmbeddedBroker::open(with).expect("an empty directory opens");
    for (topic, partitions, policy) in [
        ("orders", 2, "delete"),
        ("prices", 1, "compact"),
        ("gone", 1, "delete"),
    ] {
        let config = [
            ("segment.bytes", "1024"),
            ("cleanup.policy", policy),
            ("min.cleanable.dirty.ratio", "0"),
        ];
        let spec = TopicSpec {
            name: topic.parse().expect("a name"),
            partitions,
            config: TopicConfig::from_entries(&TopicConfig::default(), config).expect("good"),
        };
        now(&broker, broker.create_topic(spec)).expect("a new topic");
    }
    for number in 0..24 {
        append(&broker, number);
    }
    let group = GroupId::new("readers").expect("a name");
    let commit = Commit {
        position: Offset::new(5).into(),
        leader_epoch: None,
        metadata: "here".to_owned(),
        at: NOW,
    };
    let commits = vec![(at("orders", 0), commit)];
    now(&broker, broker.commit(&group, commits)).expect("a commit");
    let until = Offset::new(20).into();
    now(&broker, broker.delete_records(&at("orders", 1), until)).expect("old records");
    now(&broker, broker.new_producer_id()).expect("an id");
    match end {
        End::Killed | End::Unjournaled => disk.crash_with(Survival::Everything),
        End::Compacted => {
            broker.clean_now();
            now(&broker, broker.shutdown()).expect("an orderly end");
        }
        End::Stopped => now(&broker, broker.shutdown()).expect("an orderly end"),
        End::Deleting => {
            let faults = Faults {
                power: Some(6),
                ..Faults::default()
            };
            disk.set_faults(faults);
            let gone = "gone".parse().expect("a name");
            let _cut_off = now(&broker, broker.delete_topic(&gone));
            disk.crash_with(Survival::Everything);
        }
    }
    drop(broker);
    // Made anew by every start, and larger than all the rest.
    let reserve = std::path::Path::new("/data/reserve");
    let files = disk.content().into_iter();
    files.filter(|(path, _)| path != reserve).collect()
}
