//! What an embedded broker is told when it opens.
//!
//! Not here: reading a configuration file, which is `lantern`'s.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use env::{DynClock, DynDisk, DynEntropy, RealClock, RealDisk, RealEntropy, SimDisk};
use stdx::ByteSize;

use crate::TopicConfig;

/// A thread each, and more than there are slots for disks in a machine.
const LOG_DIRS_MAX: usize = 64;

/// How an [`EmbeddedBroker`](crate::EmbeddedBroker) runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory of all data; created when it is missing.
    pub data_dir: PathBuf,
    /// Further directories for logs, each on a disk of its own, with a writer and a journal of its own; created when they
    /// are missing. New partitions go to the directory that has the fewest, this or the data directory. One that has partitions
    /// is found again where it was, named or not; only named ones get new partitions. Default none, at most 64.
    pub log_dirs: Vec<PathBuf>,
    /// Where files are.
    pub disk: DynDisk,
    /// What time it is.
    pub clock: DynClock,
    /// Where topic ids come from.
    pub entropy: DynEntropy,
    /// What a caller may start from for new topics ([`EmbeddedBroker::defaults`](crate::EmbeddedBroker::defaults)).
    pub defaults: TopicConfig,
    /// Bytes of batches that may wait for the writer; when they are full, appends wait. Default
    /// 64 MiB, at least 1 KiB.
    pub queue_bytes: ByteSize,
    /// Appends that may wait for the writer. Default 16,384, at least 1.
    pub queue_appends: usize,
    /// A round gathers at most so many bytes before it flushes. Default 4 MiB.
    pub flush_bytes: ByteSize,
    /// A round gathers for at most so long before it flushes; it also flushes as soon as nothing
    /// waits. Default 2 ms.
    pub flush_age: Duration,
    /// Size of a file of the journal, which makes small appends to many partitions durable with one
    /// flush; at most four are used. Default 16 MiB, at least 4 KiB; 0 does without.
    pub journal_bytes: ByteSize,
    /// A partition that has more than this to make durable in a round is flushed itself. Default 64 KiB.
    pub journal_partition_bytes: ByteSize,
    /// Zeros are written at most so far ahead of a partition's end, where flushes have little to write: then most of them
    /// need not make the file longer. Default 512 KiB; 0 does without.
    pub preallocate_bytes: ByteSize,
    /// The newest bytes of a partition that stay in the kernel's page cache; older ones are given back once they are flushed.
    /// Default 64 MiB; as much as the disk has leaves all of it to the kernel.
    pub page_cache_bytes: ByteSize,
    /// Files flushed at the same time, at most. Default 8, at least 1.
    pub flush_threads: usize,
    /// Partitions whose topic only asks for [`Durability::Written`](crate::Durability::Written) are
    /// flushed so long after a write. Default 1 s.
    pub lazy_flush: Duration,
    /// How often retention looks at every partition. Default 30 s, at least 10 ms.
    pub retention_interval: Duration,
    /// Slots of the ring through which followers in this process get what is published in a partition, at
    /// first and at least: one for each append, or for several that were written together. Default 64, at
    /// least 1. A ring exists while somebody follows.
    pub ring_slots: usize,
    /// Slots it grows to when followers need it. Default 4,096, at least `ring_slots`.
    pub ring_slots_max: usize,
    /// Bytes of batches in a ring, at most; what a follower finds gone it reads from the log. Default 4 MiB.
    pub ring_bytes: ByteSize,
    /// Bytes of batches in all rings, at most; beyond it followers are sent to the log. Default 64 MiB.
    pub rings_bytes: ByteSize,
    /// Bytes of buffers kept to be used again, at most. Default 8 MiB; 0 keeps none.
    pub pool_bytes: ByteSize,
    /// How often compaction looks for partitions that are due. Default 15 s, at least 10 ms.
    pub clean_interval: Duration,
    /// Memory for compaction's map of keys. Default 64 MiB, at least 1 KiB.
    pub clean_memory: ByteSize,
    /// Bytes a second that compaction reads and writes at most; 0 is no limit. Default 64 MiB.
    pub clean_rate: ByteSize,
    /// Records in `lantern.groups` from which it is compacted. Default 10,000.
    pub groups_records_max: u64,
    /// Who runs the writer. Default [`Drive::Threads`].
    pub drive: Drive,
}

/// Who runs the writer and the retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Drive {
    /// Threads of the broker's own.
    #[default]
    Threads,
    /// The caller, by [`EmbeddedBroker::run_round`](crate::EmbeddedBroker::run_round): nothing
    /// happens by itself, so that a simulation replays byte for byte. Calls that touch files do it
    /// on the calling thread.
    Manual,
}

impl Options {
    /// Options for the data in `data_dir`, everything else as by default.
    pub fn new(
        data_dir: impl Into<PathBuf>,
        disk: DynDisk,
        clock: DynClock,
        entropy: DynEntropy,
    ) -> Self {
        Self {
            data_dir: data_dir.into(),
            log_dirs: Vec::new(),
            disk,
            clock,
            entropy,
            defaults: TopicConfig::default(),
            queue_bytes: ByteSize::from_mib(64),
            queue_appends: 16_384,
            flush_bytes: ByteSize::from_mib(4),
            flush_age: Duration::from_millis(2),
            journal_bytes: ByteSize::from_mib(16),
            journal_partition_bytes: ByteSize::from_kib(64),
            preallocate_bytes: ByteSize::from_kib(512),
            page_cache_bytes: ByteSize::from_mib(64),
            flush_threads: 8,
            lazy_flush: Duration::from_secs(1),
            retention_interval: Duration::from_secs(30),
            ring_slots: 64,
            ring_slots_max: 4_096,
            ring_bytes: ByteSize::from_mib(4),
            rings_bytes: ByteSize::from_mib(64),
            pool_bytes: ByteSize::from_mib(8),
            clean_interval: Duration::from_secs(15),
            clean_memory: ByteSize::from_mib(64),
            clean_rate: ByteSize::from_mib(64),
            groups_records_max: 10_000,
            drive: Drive::Threads,
        }
    }

    /// Options for the data in `data_dir` on this machine's disk, by its clock, everything else as by default.
    pub fn on_disk(data_dir: impl Into<PathBuf>) -> Self {
        let clock = Arc::new(RealClock::new());
        Self::new(data_dir, RealDisk::shared(), clock, Arc::new(RealEntropy))
    }

    /// Options for data in memory, by this machine's clock: for tests, and for what may be lost. A new broker is empty.
    pub fn in_memory() -> Self {
        Self {
            disk: SimDisk::new(0).shared(),
            ..Self::on_disk("/data")
        }
    }

    /// All problems with these options, in words; empty when there are none.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |holds: bool, problem: String| {
            if !holds {
                problems.push(problem);
            }
        };
        check(
            self.log_dirs.len() <= LOG_DIRS_MAX,
            format!(
                "log_dirs names {}, it may name {LOG_DIRS_MAX}",
                self.log_dirs.len()
            ),
        );
        for (at, dir) in self.log_dirs.iter().enumerate() {
            let twice = *dir == self.data_dir || self.log_dirs[..at].contains(dir);
            let shown = dir.display();
            check(!twice, format!("log_dirs names {shown} twice"));
        }
        check(
            self.queue_bytes >= ByteSize::from_kib(1),
            format!(
                "queue_bytes is {}, it must be at least 1KiB",
                self.queue_bytes
            ),
        );
        check(
            self.queue_bytes <= ByteSize::from_gib(2),
            format!(
                "queue_bytes is {}, it must be at most 2GiB",
                self.queue_bytes
            ),
        );
        check(
            self.queue_appends >= 1,
            "queue_appends is 0, it must be at least 1".to_owned(),
        );
        let smallest = commitlog::JOURNAL_FILE_BYTES_MIN;
        check(
            self.journal_bytes.bytes() == 0 || self.journal_bytes >= smallest,
            format!(
                "journal_bytes is {}, it must be 0 or at least {smallest}",
                self.journal_bytes
            ),
        );
        check(
            self.journal_bytes <= ByteSize::from_mib(256),
            format!(
                "journal_bytes is {}, it must be at most 256MiB",
                self.journal_bytes
            ),
        );
        check(
            self.preallocate_bytes <= ByteSize::from_mib(64),
            format!(
                "preallocate_bytes is {}, it must be at most 64MiB",
                self.preallocate_bytes
            ),
        );
        check(
            (1..=64).contains(&self.flush_threads),
            format!(
                "flush_threads is {}, it must be 1 to 64",
                self.flush_threads
            ),
        );
        check(
            self.ring_slots >= 1 && self.ring_slots <= self.ring_slots_max,
            format!(
                "ring_slots is {}, it must be 1 to ring_slots_max, which is {}",
                self.ring_slots, self.ring_slots_max
            ),
        );
        check(
            self.ring_slots_max <= 1 << 20,
            format!(
                "ring_slots_max is {}, it must be at most 1048576",
                self.ring_slots_max
            ),
        );
        check(
            self.retention_interval >= Duration::from_millis(10),
            format!(
                "retention_interval is {:?}, it must be at least 10ms",
                self.retention_interval
            ),
        );
        check(
            self.clean_interval >= Duration::from_millis(10),
            format!(
                "clean_interval is {:?}, it must be at least 10ms",
                self.clean_interval
            ),
        );
        check(
            self.clean_memory >= ByteSize::from_kib(1),
            format!(
                "clean_memory is {}, it must be at least 1KiB",
                self.clean_memory
            ),
        );
        if let Err(error) = self.defaults.validate() {
            check(false, format!("defaults: {error}"));
        }
        problems
    }

    /// What a partition may leave to the journal between two flushes.
    pub(crate) fn journal_limit(&self) -> ByteSize {
        if self.journal_bytes.bytes() == 0 {
            ByteSize::from_bytes(0)
        } else {
            self.journal_partition_bytes
        }
    }
}
