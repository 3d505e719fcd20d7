//! The bus beside its peers: the same load over the wire, on the same disk, in the same run.
//!
//! Read first: [`Peer`] and [`Class`], what is started and what its acknowledgement means; [`load::Load`], the
//! one generator; [`wire`], what differs between protocols; `acks`, `pipeline` and `catch_up`, what is measured; `verify`, without
//! which no figure counts.
//!
//! Invariants: classes are never mixed in a table; peers take turns in each round (A B C, A B C, …); every record is read
//! back and held against what was sent, and one that is lost, doubled, out of order or changed is an error in the place
//! of the figure. The page is written after each round, so a run that is cut leaves whole rows.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "lengths, counts and times of a run are far below the bounds of their types"
)]

mod acks;
mod catch_up;
mod inproc;
mod load;
mod payload;
mod peer;
mod pipeline;
mod plot;
mod proof;
mod report;
mod schedule;
mod server;
mod verify;
mod wire;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;

use load::{Requests, Shape};
use peer::{Class, Found, Peer};
use report::{Cell, Report};

/// The comparison, and how much of it.
#[derive(Debug, Clone, Args)]
pub(crate) struct Bus {
    /// Peers: redis, nats, kafka; disruptor, crossbeam, tokio within one process; Lantern is always there
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "NAME",
        default_value = "redis,nats,kafka,disruptor,crossbeam,tokio"
    )]
    against: Vec<String>,
    /// Rounds in which the peers take turns [default: 5, with --quick 2]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Seconds of each run [default: 10, with --quick 1]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: Option<u64>,
    /// Seconds a fresh server is warmed up at the greatest pace [default: 15, with --quick 1]
    #[arg(long, value_parser = clap::value_parser!(u64).range(0..=600))]
    warm_seconds: Option<u64>,
    /// Records in a request; 1x5 is one, with five requests in flight
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "RECORDS[xREQUESTS]",
        default_value = "1,1x5,100,1000"
    )]
    batches: Vec<Requests>,
    /// Partitions (streams) [default: 1,16, with --quick 1]
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=1_000))]
    partitions: Vec<u16>,
    /// Classes of durability, d1 (page cache) and d2 (fsync before the acknowledgement)
    #[arg(long, value_delimiter = ',', default_value = "d2,d1")]
    classes: Vec<String>,
    /// MiB of values that the part catch-up writes and reads [default: 1024, with --quick 128]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    backlog_mib: Option<u64>,
    /// Only these parts; the page keeps the others
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// All of it in some twenty minutes, with short runs; the page says so
    #[arg(long)]
    quick: bool,
    /// Servers on the first core alone, the generator on the second
    #[arg(long)]
    pin: bool,
    /// The Lantern that is measured
    #[arg(long, default_value = "target/release/lantern", value_name = "PATH")]
    lantern: PathBuf,
    /// Write no page: a smoke test
    #[arg(long)]
    no_page: bool,
}

/// Parts of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Flushes counted for each acknowledgement
    Proof,
    /// Records in, acknowledged
    Acks,
    /// Produce, ordered reading, commit
    Pipeline,
    /// One consumer reads a backlog, from the disk and from the page cache
    CatchUp,
    /// Threads of one process
    InProcess,
}

/// What holds for all of one pass.
#[derive(Debug)]
struct Pass {
    span: Duration,
    warm: Duration,
    rounds: u32,
    pin: bool,
    /// One line for each measurement.
    raw: PathBuf,
}

impl Pass {
    fn server_core(&self) -> Option<usize> {
        self.pin.then_some(0)
    }

    /// Keeps a measurement as it is.
    fn note(&self, measured: &Value) -> Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.raw)?;
        Ok(writeln!(file, "{measured}")?)
    }
}

/// Measures and writes the page as it goes; whether all could be measured.
pub(crate) fn run(bus: &Bus) -> Result<bool> {
    let plan = Plan::new(bus)?;
    if bus.pin {
        pin_generator()?;
    }
    peer::sweep()?;
    let mut report = Report::new(bus, &plan)?;
    let mut all = plan.complete;
    println!(
        "{} rounds of {} s, warm-up {} s; raw figures in {}",
        plan.pass.rounds,
        plan.pass.span.as_secs(),
        plan.pass.warm.as_secs(),
        plan.pass.raw.display()
    );
    if plan.has(Part::Proof) {
        all &= proofs(&plan, &mut report)?;
    }
    if plan.has(Part::Acks) {
        all &= acknowledgements(&plan, &mut report)?;
    }
    if plan.has(Part::Pipeline) {
        all &= pipelines(&plan, &mut report)?;
    }
    if plan.has(Part::CatchUp) {
        all &= catching_up(&plan, &mut report)?;
    }
    if plan.has(Part::InProcess) && !plan.in_process.is_empty() {
        all &= in_process(&plan, &mut report)?;
    }
    Ok(all)
}

/// What was asked for, as far as it is there.
#[derive(Debug)]
struct Plan {
    pass: Pass,
    parts: Vec<Part>,
    classes: Vec<Class>,
    servers: Vec<Found>,
    in_process: Vec<inproc::InProcess>,
    shapes: Vec<Shape>,
    /// MiB of values to catch up with.
    backlog_mib: u64,
    /// Everything asked for is there.
    complete: bool,
}

impl Plan {
    fn new(bus: &Bus) -> Result<Self> {
        let or = |asked: Option<u64>, quick: u64, full: u64| {
            asked.unwrap_or(if bus.quick { quick } else { full })
        };
        let raw = e2e::root().join("target/bench");
        fs::create_dir_all(&raw)?;
        let pass = Pass {
            span: Duration::from_secs(or(bus.seconds, 1, 10)),
            warm: Duration::from_secs(or(bus.warm_seconds, 1, 15)),
            rounds: or(bus.rounds.map(u64::from), 2, 5) as u32,
            pin: bus.pin,
            raw: raw.join(format!("bus-{}.jsonl", jiff::Timestamp::now().as_second())),
        };
        let mut classes = Vec::new();
        for name in &bus.classes {
            match Class::ALL.into_iter().find(|class| class.name() == name) {
                Some(class) => classes.push(class),
                None => bail!("there is no class '{name}': there are d1 and d2"),
            }
        }
        let known = |name: &str| {
            Peer::ALL.iter().any(|peer| peer.flag() == name)
                || inproc::PEERS.iter().any(|peer| peer.flag == name)
        };
        if let Some(unknown) = bus.against.iter().find(|name| !known(name)) {
            bail!(
                "there is no peer '{unknown}': there are redis, nats, kafka, disruptor, crossbeam, tokio"
            );
        }
        let asked = |flag: &str| bus.against.iter().any(|name| name == flag);
        let lantern = e2e::root().join(&bus.lantern);
        let tools = e2e::root().join("target/tools");
        let mut complete = true;
        let mut servers = Vec::new();
        for peer in Peer::ALL {
            if peer != Peer::Lantern && !asked(peer.flag()) {
                continue;
            }
            match peer::find(peer, &lantern, &tools) {
                Ok(found) => {
                    println!("{} {}", peer.name(), found.version);
                    servers.push(found);
                }
                Err(error) if peer == Peer::Lantern => return Err(error),
                Err(error) => {
                    println!("{} is left out: {error:#}", peer.name());
                    complete = false;
                }
            }
        }
        let partitions = match (bus.partitions.as_slice(), bus.quick) {
            ([], true) => vec![1],
            ([], false) => vec![1, 16],
            (asked, _) => asked.to_vec(),
        };
        let shapes = partitions.iter().flat_map(|partitions| {
            let batches = bus.batches.iter();
            batches.map(|batch| Shape::new(*batch, *partitions))
        });
        let everything = [
            Part::Proof,
            Part::Acks,
            Part::Pipeline,
            Part::CatchUp,
            Part::InProcess,
        ];
        Ok(Self {
            pass,
            parts: match bus.only.as_slice() {
                [] => everything.to_vec(),
                only => only.to_vec(),
            },
            classes,
            servers,
            in_process: inproc::PEERS
                .into_iter()
                .filter(|peer| peer.flag == "lantern" || asked(peer.flag))
                .collect(),
            shapes: shapes.collect(),
            backlog_mib: or(bus.backlog_mib, 128, 1_024),
            complete,
        })
    }

    fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    /// The peers of a class.
    fn fit(&self, class: Class) -> impl Iterator<Item = &Found> {
        self.servers
            .iter()
            .filter(move |found| found.unfit(class).is_none())
    }
}

fn proofs(plan: &Plan, report: &mut Report) -> Result<bool> {
    let mut all = true;
    println!("==> flushes for each acknowledgement");
    for class in plan.classes.iter().copied() {
        for found in plan.fit(class) {
            match proof::count(&plan.pass, found, class) {
                Ok(proof) => {
                    println!(
                        "    {} {}: {} acknowledged, {} flushes",
                        class.name(),
                        found.peer.name(),
                        proof.acknowledged,
                        proof.flushes
                    );
                    all &= proof.holds();
                    report.proofs.push(proof);
                }
                Err(error) => {
                    all = false;
                    report.failed(Part::Proof, class, found.peer, &error);
                }
            }
        }
    }
    report.write_proofs()?;
    Ok(all)
}

fn acknowledgements(plan: &Plan, report: &mut Report) -> Result<bool> {
    let mut all = true;
    for class in plan.classes.iter().copied() {
        for shape in plan.shapes.iter().copied() {
            println!(
                "==> acknowledgements, {}, batches × partitions: {shape}, {} producers",
                class.name(),
                shape.producers
            );
            let mut cell = Cell::new(class, shape);
            // A peer that failed once is not asked again: its row says why.
            let mut failed: Vec<Peer> = Vec::new();
            for number in 1..=plan.pass.rounds {
                for found in plan.fit(class) {
                    if failed.contains(&found.peer) {
                        continue;
                    }
                    let started = Instant::now();
                    match acks::round(&plan.pass, found, class, shape) {
                        Ok(round) => {
                            println!(
                                "    round {number} {}: {:.0} records/s, {} verified, {:.0} s",
                                found.peer.name(),
                                round.most,
                                round.verified,
                                started.elapsed().as_secs_f64()
                            );
                            cell.rounds.push(round);
                        }
                        Err(error) => {
                            all = false;
                            failed.push(found.peer);
                            cell.failures.push((found.peer, format!("{error:#}")));
                            println!("    round {number} {}: {error:#}", found.peer.name());
                        }
                    }
                }
                report.put_cell(&cell)?;
            }
        }
    }
    Ok(all)
}

fn pipelines(plan: &Plan, report: &mut Report) -> Result<bool> {
    let mut all = true;
    for class in plan.classes.iter().copied() {
        println!("==> order pipeline, {}", class.name());
        // Where each peer begins: at the rate it kept before.
        let mut first: Vec<(Peer, usize)> = Vec::new();
        for number in 1..=plan.pass.rounds {
            for found in plan.fit(class) {
                let known = first.iter_mut().find(|(peer, _)| *peer == found.peer);
                let begin = known.as_ref().map_or(0, |(_, place)| *place);
                if begin == usize::MAX {
                    continue;
                }
                let place = match pipeline::round(&plan.pass, found, class, begin) {
                    Ok((place, flow)) => {
                        println!(
                            "    round {number} {}: {} records/s, committed p99 {:.1} ms",
                            found.peer.name(),
                            flow.rate,
                            flow.committed.p99
                        );
                        report.flows.push((class, flow));
                        place
                    }
                    Err(error) => {
                        all = false;
                        println!("    round {number} {}: {error:#}", found.peer.name());
                        report.failed(Part::Pipeline, class, found.peer, &error);
                        usize::MAX
                    }
                };
                match known {
                    Some((_, known)) => *known = place,
                    None => first.push((found.peer, place)),
                }
            }
            report.write_pipelines()?;
        }
    }
    Ok(all)
}

fn catching_up(plan: &Plan, report: &mut Report) -> Result<bool> {
    let mut all = true;
    println!("==> catching up with {} MiB of values", plan.backlog_mib);
    let mut failed: Vec<Peer> = Vec::new();
    for number in 1..=plan.pass.rounds {
        for found in &plan.servers {
            if failed.contains(&found.peer) {
                continue;
            }
            match catch_up::round(&plan.pass, found, plan.backlog_mib << 20) {
                Ok(caught) => {
                    println!(
                        "    round {number} {}: {:.0} records/s cold, {:.0} warm",
                        found.peer.name(),
                        caught.cold.rate,
                        caught.warm.rate
                    );
                    report.caught.push(caught);
                }
                Err(error) => {
                    all = false;
                    failed.push(found.peer);
                    println!("    round {number} {}: {error:#}", found.peer.name());
                    report.failed(Part::CatchUp, Class::Written, found.peer, &error);
                }
            }
        }
        report.write_catch_up(plan.backlog_mib)?;
    }
    Ok(all)
}

fn in_process(plan: &Plan, report: &mut Report) -> Result<bool> {
    println!("==> within one process");
    let span = plan.pass.span.min(Duration::from_secs(5)) / 4;
    let mut all = true;
    for number in 1..=plan.pass.rounds {
        for busy in [false, true] {
            for bytes in [8, 256] {
                for readers in 1..=4 {
                    let case = inproc::Case {
                        bytes,
                        readers,
                        busy,
                    };
                    for peer in &plan.in_process {
                        match inproc::measure(*peer, case, span) {
                            Ok(rate) => {
                                plan.pass.note(&serde_json::json!({
                                    "section": "in-process", "peer": peer.name, "bytes": bytes,
                                    "readers": readers, "busy": busy, "items_per_s": rate,
                                }))?;
                                report.handed.push((peer.name, case, rate));
                            }
                            Err(error) => {
                                all = false;
                                println!("    {} {case:?}: {error:#}", peer.name);
                            }
                        }
                    }
                }
            }
        }
        println!("    round {number} done");
        report.write_in_process()?;
    }
    Ok(all)
}

/// Lets what the last server left to be written go to the disk: else the next one would wait for it.
fn settle() {
    rustix::fs::sync();
}

/// Puts this process on the second core.
fn pin_generator() -> Result<()> {
    let id = std::process::id().to_string();
    let status = std::process::Command::new("taskset")
        .args(["-a", "-p", "-c", "1", &id])
        .stdout(std::process::Stdio::null())
        .status()?;
    if !status.success() {
        bail!("taskset could not put the generator on core 1");
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "polls another process, which has nothing to wait on"
)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
