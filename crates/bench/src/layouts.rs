//! Ways to lay out what a round of the log's writer makes durable, held against each other at the level of files and
//! system calls (`docs/benchmarks/layouts.md`).
//!
//! Read first: [`Kind`], the layouts; [`Case`], what a round writes; [`mod@write`], how a round is written and made
//! durable; [`read`], reading one partition back.
//!
//! Invariants: the layouts take turns in each round; a run begins when what the last one left is on the disk; what a layout
//! puts off (the write-back of segments a journal vouches for) or does before (zeros) is timed and shown.
//!
//! Not here: Lantern as a whole, which is `bench smoke --only journal`.

#![expect(
    clippy::cast_possible_truncation,
    reason = "lengths and counts of a run are far below the bounds of their types"
)]

mod files;
mod journaled;
mod read;
mod report;
mod write;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use rustix::time::{ClockId, clock_gettime};

use self::files::{Old, Place};
use self::report::Report;
use self::write::Layout;
use crate::spread::{Spread, short};

/// The comparison of layouts, and how much of it.
#[derive(Debug, Clone, Args)]
pub(crate) struct Layouts {
    /// Rounds in which the layouts take turns [default: 5, with --quick 3]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Milliseconds of each run [default: 1000, with --quick 200]
    #[arg(long, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    millis: Option<u64>,
    /// Partitions that a round touches
    #[arg(long, value_delimiter = ',', default_value = "1,16,1000")]
    partitions: Vec<u32>,
    /// Only these parts; the page keeps the others
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// All of it in some minutes, with short runs; the page says so
    #[arg(long)]
    quick: bool,
    /// Where the files are made [default: target/bench]; needs 3 GiB
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Write no page
    #[arg(long)]
    no_page: bool,
}

/// Parts of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Writing rounds
    Write,
    /// Reading one partition back
    Read,
}

/// Where the bytes of a round go, and what makes them durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A file a partition that grows, an fdatasync each.
    Grow,
    /// The same, flushed by eight threads.
    GrowThreads,
    /// A file a partition, blocks allocated and counted in its length, never written.
    Allocated,
    /// The same, not counted in its length.
    AllocatedBeyond,
    /// A file a partition, full of zeros.
    Zeroed,
    /// A file a partition, full of old data, which is not in memory.
    Recycled,
    /// One log for all, which grows.
    LogGrow,
    /// One log for all, full of old data, which is not in memory.
    LogRecycled,
    /// A file a partition that grows, in the page cache, and a frame of the journal.
    Journal,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Grow,
        Self::GrowThreads,
        Self::Allocated,
        Self::AllocatedBeyond,
        Self::Zeroed,
        Self::Recycled,
        Self::LogGrow,
        Self::LogRecycled,
        Self::Journal,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Grow => "a file a partition, growing",
            Self::GrowThreads => "the same, flushed by 8 threads",
            Self::Allocated => "allocated, length set",
            Self::AllocatedBeyond => "allocated beyond the end",
            Self::Zeroed => "full of zeros",
            Self::Recycled => "recycled, not in memory",
            Self::LogGrow => "one log, growing",
            Self::LogRecycled => "one log, recycled, not in memory",
            Self::Journal => "growing, with the journal",
        }
    }

    /// Threads have nothing to share where there is one file.
    fn fits(self, case: Case) -> bool {
        self != Self::GrowThreads || case.partitions > 1
    }
}

/// What a round writes.
#[derive(Debug, Clone, Copy)]
struct Case {
    partitions: u32,
    /// Bytes for each partition.
    append: u32,
    /// Bytes that all rounds of a run may write: as much is allocated, zeroed or recycled before.
    room: u64,
}

const fn case(partitions: u32, append: u32, room_mib: u64) -> Case {
    Case {
        partitions,
        append,
        room: room_mib << 20,
    }
}

/// One small batch, a hundred records, a thousand, ten thousand.
const CASES: [Case; 9] = [
    case(1, 161, 8),
    case(1, 10 << 10, 64),
    case(1, 100 << 10, 256),
    case(1, 1 << 20, 512),
    case(16, 161, 32),
    case(16, 10 << 10, 256),
    case(16, 100 << 10, 512),
    case(1_000, 161, 128),
    case(1_000, 10 << 10, 512),
];

/// A quick pass has as much less room.
const QUICK_PART: u64 = 4;

/// A run has so many rounds at least, however long they take.
const RUN_ROUNDS_MIN: u64 = 3;

impl Case {
    fn bytes(self) -> u64 {
        u64::from(self.partitions) * u64::from(self.append)
    }

    /// Rounds there is room for.
    fn rounds_max(self) -> u64 {
        (self.room / self.bytes()).max(RUN_ROUNDS_MIN)
    }

    /// Bytes of one partition's file when the room is used up.
    fn file_bytes(self) -> u64 {
        self.rounds_max() * u64::from(self.append)
    }

    fn title(self) -> String {
        let append = match self.append {
            bytes if bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
            bytes if bytes >= 1 << 10 => format!("{} KiB", bytes >> 10),
            bytes => format!("{bytes} B"),
        };
        match self.partitions {
            1 => format!("1 partition, {append}"),
            many => format!("{many} partitions, {append} each"),
        }
    }
}

/// One run of one layout.
#[derive(Debug, Clone, Copy)]
struct Measured {
    kind: Kind,
    p50_ms: f64,
    p99_ms: f64,
    rounds: u64,
    /// Seconds of all rounds.
    took: f64,
    /// Seconds of processor time of this process, kernel included, with the final sync.
    cpu: f64,
    /// Seconds it took to write zeros over the room, for as much of it as was used.
    zeroing: f64,
    /// Seconds until what was put off was on the disk too.
    final_sync: f64,
    /// Files synced by themselves because the journal had no room.
    direct: u64,
}

/// Measures and writes the page after each case.
pub(crate) fn run(layouts: &Layouts) -> Result<bool> {
    let has = |part| layouts.only.is_empty() || layouts.only.contains(&part);
    let rounds = layouts.rounds.unwrap_or(if layouts.quick { 3 } else { 5 });
    let millis = layouts
        .millis
        .unwrap_or(if layouts.quick { 200 } else { 1_000 });
    let dir = layouts.dir.clone();
    let dir = dir.unwrap_or_else(|| e2e::root().join("target/bench"));
    fs::create_dir_all(&dir)?;
    let mut report = Report::new(layouts, rounds, millis);
    if has(Part::Write) {
        for mut case in CASES {
            if !layouts.partitions.contains(&case.partitions) {
                continue;
            }
            if layouts.quick {
                case.room /= QUICK_PART;
            }
            let place = Place::new(&dir)?;
            let measured = turns(&place, case, rounds, Duration::from_millis(millis))?;
            report.put_written(case, &measured)?;
        }
    }
    if has(Part::Read) {
        for mut case in read::CASES {
            if !layouts.partitions.contains(&case.partitions) {
                continue;
            }
            if layouts.quick {
                case.room /= QUICK_PART;
            }
            let place = Place::new(&dir)?;
            let measured = read::turns(&place, case, rounds)?;
            report.put_read(case, &measured)?;
        }
    }
    Ok(true)
}

/// All layouts in turns, `rounds` times.
fn turns(place: &Place, case: Case, rounds: u32, span: Duration) -> Result<Vec<Measured>> {
    println!("==> {}", case.title());
    let old = Old::new(place, case)?;
    let mut all = Vec::new();
    for number in 1..=rounds {
        for kind in Kind::ALL.into_iter().filter(|kind| kind.fits(case)) {
            let measured = once(place, &old, case, kind, span)?;
            println!(
                "    round {number} {}: {} rounds/s, p50 {} ms",
                kind.name(),
                short(measured.rounds as f64 / measured.took),
                short(measured.p50_ms)
            );
            all.push(measured);
        }
    }
    Ok(all)
}

fn once(place: &Place, old: &Old, case: Case, kind: Kind, span: Duration) -> Result<Measured> {
    let run = place.run()?;
    let prepared = Instant::now();
    let mut layout: Box<dyn Layout> = write::layout(&run, old, case, kind)?;
    let prepared = prepared.elapsed().as_secs_f64();
    place.settle()?;
    let mut times = Spread::new();
    let cpu = cpu_seconds();
    let started = Instant::now();
    while times.count() < case.rounds_max()
        && (times.count() < RUN_ROUNDS_MIN || started.elapsed() < span)
    {
        let round = Instant::now();
        layout.round()?;
        times.add(round.elapsed());
    }
    let took = started.elapsed().as_secs_f64();
    let finishing = Instant::now();
    let direct = layout.finish()?;
    let final_sync = finishing.elapsed().as_secs_f64();
    let cpu = cpu_seconds() - cpu;
    drop(layout);
    ensure!(times.count() > 0, "no round was written");
    let used = times.count() as f64 / case.rounds_max() as f64;
    let zeroing = match kind {
        Kind::Zeroed => prepared * used,
        _ => 0.0,
    };
    Ok(Measured {
        kind,
        p50_ms: times.at(50.0),
        p99_ms: times.at(99.0),
        rounds: times.count(),
        took,
        cpu,
        zeroing,
        final_sync,
        direct,
    })
}

/// Processor time of all threads of this process; threads of the kernel that help it are not in it.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
