//! What was measured, as the tables of `docs/benchmarks/bus.md` and its plots.
//!
//! A table is written again from all that is known each time something is added, so the page is whole at any moment. Medians
//! stand with the least and the greatest of the rounds; ratios are taken within a round and their median shown.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use super::acks::{Round, SHARES};
use super::catch_up::{CaughtUp, Reading, megabytes};
use super::inproc::Case;
use super::load::Shape;
use super::peer::{Class, Peer};
use super::pipeline::Flow;
use super::plot::{self, Curve, Panel};
use super::proof::Proof;
use super::{Bus, Part, Plan};
use crate::machine;
use crate::page::put;
use crate::spread::short;

/// One load in one class: the rounds of all peers.
#[derive(Debug)]
pub(super) struct Cell {
    class: Class,
    shape: Shape,
    pub(super) rounds: Vec<Round>,
    pub(super) failures: Vec<(Peer, String)>,
}

impl Cell {
    pub(super) fn new(class: Class, shape: Shape) -> Self {
        Self {
            class,
            shape,
            rounds: Vec::new(),
            failures: Vec::new(),
        }
    }

    fn of(&self, peer: Peer) -> Vec<&Round> {
        self.rounds
            .iter()
            .filter(|round| round.peer == peer)
            .collect()
    }
}

/// All of a run, and the page.
#[derive(Debug)]
pub(super) struct Report {
    page: Option<PathBuf>,
    /// Below every table: what the run was, and where.
    note: String,
    versions: Vec<(Peer, String)>,
    stolen: (u64, u64),
    pub(super) proofs: Vec<Proof>,
    cells: Vec<String>,
    current: Option<(Class, String)>,
    panels: Vec<Panel>,
    pub(super) flows: Vec<(Class, Flow)>,
    pub(super) caught: Vec<CaughtUp>,
    failures: Vec<(Part, Class, Peer, String)>,
    /// Items a second, by peer and case, of each round.
    pub(super) handed: Vec<(&'static str, Case, f64)>,
}

impl Report {
    pub(super) fn new(bus: &Bus, plan: &Plan) -> Result<Self> {
        let pass = &plan.pass;
        let mut note = String::new();
        if bus.quick {
            note.push_str(
                "**A quick pass: short runs, cold servers; for a look, not for a claim.** ",
            );
        }
        write!(
            note,
            "Rounds: {}, runs of {} s, warm-up {} s, {}. {}",
            pass.rounds,
            pass.span.as_secs(),
            pass.warm.as_secs(),
            if pass.pin {
                "servers on core 0, generator on core 1"
            } else {
                "not pinned"
            },
            machine::line()
        )?;
        let versions = plan.servers.iter();
        let mut report = Self {
            page: (!bus.no_page).then(|| e2e::root().join("docs/benchmarks/bus.md")),
            note,
            versions: versions
                .map(|found| (found.peer, found.version.clone()))
                .collect(),
            stolen: machine::stolen(),
            proofs: Vec::new(),
            cells: Vec::new(),
            current: None,
            panels: Vec::new(),
            flows: Vec::new(),
            caught: Vec::new(),
            failures: Vec::new(),
            handed: Vec::new(),
        };
        let peers = report.peers(plan);
        report.put("peers", &peers)?;
        Ok(report)
    }

    /// Remembers why a row has no figures.
    pub(super) fn failed(&mut self, part: Part, class: Class, peer: Peer, error: &anyhow::Error) {
        let why = one_line(&format!("{error:#}"));
        println!("    {} {}: {why}", class.name(), peer.name());
        self.failures.push((part, class, peer, why));
    }

    fn put(&mut self, name: &str, table: &str) -> Result<()> {
        let Some(path) = &self.page else {
            return Ok(());
        };
        let stolen = machine::stolen();
        let (steal, all) = (stolen.0 - self.stolen.0, stolen.1 - self.stolen.1);
        let text = format!(
            "{table}\n{}; taken by the host {} % of the time; load average {}\n",
            self.note,
            short(steal as f64 / all.max(1) as f64 * 100.0),
            machine::load_average()
        );
        let page = fs::read_to_string(path)?;
        Ok(fs::write(path, put(&page, name, &text)?)?)
    }

    fn peers(&self, plan: &Plan) -> String {
        let mut text = String::from("| peer | version | D2 | D1 |\n|---|---|---|---|\n");
        for (peer, version) in &self.versions {
            let setting = |class| {
                let found = plan.servers.iter().find(|found| found.peer == *peer);
                let unfit = found.and_then(|found| found.unfit(class));
                unfit.unwrap_or_else(|| format!("`{}`", peer.setting(class)))
            };
            let _ = writeln!(
                text,
                "| {} | {version} | {} | {} |",
                peer.name(),
                setting(Class::Flushed),
                setting(Class::Written)
            );
        }
        text
    }

    pub(super) fn write_proofs(&mut self) -> Result<()> {
        let mut text = String::from(
            "| class | peer | acknowledged, one in flight | flushes | |\n|---|---|---|---|---|\n",
        );
        for proof in &self.proofs {
            let verdict = match (proof.class, proof.holds()) {
                (Class::Written, _) => "",
                (Class::Flushed, true) => "a flush for each",
                (Class::Flushed, false) => "**not proven**",
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {verdict} |",
                title(proof.class),
                proof.peer.name(),
                proof.acknowledged,
                proof.flushes
            );
        }
        for (_, class, peer, why) in self.failures.iter().filter(|row| row.0 == Part::Proof) {
            let _ = writeln!(text, "| {} | {} | {why} | | |", title(*class), peer.name());
        }
        self.put("proof", &text)
    }

    /// Takes the cell, or takes its new state, and writes the table and the plot of its class.
    pub(super) fn put_cell(&mut self, cell: &Cell) -> Result<()> {
        let rows = rows(cell);
        let key = (cell.class, format!("{:?}", cell.shape));
        if self.current.as_ref() == Some(&key) {
            self.cells.pop();
            self.panels.pop();
        } else if self
            .current
            .as_ref()
            .is_some_and(|current| current.0 != cell.class)
        {
            self.cells.clear();
            self.panels.clear();
        }
        self.current = Some(key);
        self.cells.push(rows);
        self.panels.push(panel(cell));
        let text = format!("{ACKS_HEAD}{}", self.cells.concat());
        let name = cell.class.name();
        self.put(&format!("acks-{name}"), &text)?;
        if let Some(path) = &self.page {
            let title = format!("{}: p99 of the wait at a rate", title(cell.class));
            let svg = plot::svg(&title, &self.panels);
            fs::write(path.with_file_name(format!("bus-{name}.svg")), svg)?;
        }
        Ok(())
    }

    pub(super) fn write_pipelines(&mut self) -> Result<()> {
        let mut text = String::from(
            "| class | peer | records/s kept | due → read (p50 / p99 / p99.9) | due → committed | p99 of each round | CPU s per million | peak MiB | target | |\n\
             |---|---|---|---|---|---|---|---|---|---|\n",
        );
        for class in Class::ALL {
            for peer in Peer::ALL {
                let of = self
                    .flows
                    .iter()
                    .filter(|(c, flow)| *c == class && flow.peer == peer);
                let flows: Vec<Flow> = of.map(|(_, flow)| *flow).collect();
                // A later round may have kept less: only that can be said of all.
                let Some(rate) = flows.iter().map(|flow| flow.rate).min() else {
                    continue;
                };
                let flows: Vec<Flow> = flows.into_iter().filter(|flow| flow.rate == rate).collect();
                let over = |value: fn(&Flow) -> f64| Median::of(flows.iter().map(value));
                let read = three([
                    over(|flow| flow.read.p50),
                    over(|flow| flow.read.p99),
                    over(|flow| flow.read.p999),
                ]);
                let committed = three([
                    over(|flow| flow.committed.p50),
                    over(|flow| flow.committed.p99),
                    over(|flow| flow.committed.p999),
                ]);
                let p99 = over(|flow| flow.committed.p99);
                let target = if peer == Peer::Lantern && class == Class::Flushed {
                    let met = rate >= super::pipeline::RATES[0] && p99.middle < 10.0;
                    format!("500 k/s, p99 < 10 ms | {}", verdict(met))
                } else {
                    " | ".to_owned()
                };
                let _ = writeln!(
                    text,
                    "| {} | {} | {} | {read} | {committed} | {} to {} ms | {} | {} | {target} |",
                    title(class),
                    peer.name(),
                    thousands(f64::from(rate)),
                    short(p99.least),
                    short(p99.greatest),
                    short(over(|flow| flow.cpu_per_million).middle),
                    short(over(|flow| flow.peak_mib).middle),
                );
            }
            let failed = self.failures.iter().filter(|row| row.0 == Part::Pipeline);
            for (_, _, peer, why) in failed.filter(|row| row.1 == class) {
                let _ = writeln!(
                    text,
                    "| {} | {} | {why} |{}",
                    title(class),
                    peer.name(),
                    " |".repeat(7)
                );
            }
        }
        self.put("pipeline", &text)
    }

    pub(super) fn write_catch_up(&mut self, backlog_mib: u64) -> Result<()> {
        let mut text = format!("{CATCH_UP_HEAD}{}", caught_rows(&self.caught));
        let failed = self.failures.iter().filter(|row| row.0 == Part::CatchUp);
        for (_, _, peer, why) in failed {
            let _ = writeln!(text, "| | {} | **{why}** |{}", peer.name(), " |".repeat(7));
        }
        let _ = writeln!(
            text,
            "\n{backlog_mib} MiB of values, {} records.",
            thousands((backlog_mib << 20) as f64 / super::wire::RECORD_BYTES as f64)
        );
        self.put("catch-up", &text)
    }

    pub(super) fn write_in_process(&mut self) -> Result<()> {
        let mut text = String::from(
            "| item | other thread | peer | 1 reader | 2 readers | 3 readers | 4 readers |\n|---|---|---|---|---|---|---|\n",
        );
        for busy in [false, true] {
            for bytes in [8, 256] {
                let mut names: Vec<&str> = self.handed.iter().map(|(name, ..)| *name).collect();
                names.dedup();
                let mut seen = Vec::new();
                for name in names {
                    if seen.contains(&name) {
                        continue;
                    }
                    seen.push(name);
                    let _ = write!(
                        text,
                        "| {bytes} B | {} | {name} |",
                        if busy { "busy" } else { "none" }
                    );
                    for readers in 1..=4 {
                        let wanted = Case {
                            bytes,
                            readers,
                            busy,
                        };
                        let of = self.handed.iter();
                        let of = of.filter(|(n, case, _)| *n == name && *case == wanted);
                        let rates = Median::of(of.map(|(.., rate)| *rate));
                        let _ = write!(text, " {} |", millions(rates));
                    }
                    text.push('\n');
                }
            }
        }
        text.push_str(
            "\nMillions of items a second that every reader got: median (least to greatest).\n",
        );
        self.put("in-process", &text)
    }
}

const ACKS_HEAD: &str = "| batch × partitions | peer | records/s at most | Lantern ÷ peer | wait at 25 % | at 50 % | at 75 % | at 90 % | CPU s per million | generator, cores | peak MiB | target | |\n\
    |---|---|---|---|---|---|---|---|---|---|---|---|---|\n";

const CATCH_UP_HEAD: &str = "| cache | peer | records/s | MB/s | Lantern ÷ peer | server, CPU s per GiB | reader, cores | from the disk, MiB | ready after, s | peak MiB |\n\
    |---|---|---|---|---|---|---|---|---|---|\n";

/// Peers from the disk, then peers from the page cache.
fn caught_rows(caught: &[CaughtUp]) -> String {
    let mut text = String::new();
    for cache in ["cold", "warm"] {
        let of = |one: &CaughtUp| match cache {
            "cold" => one.cold,
            _ => one.warm,
        };
        let rounds = |peer| caught.iter().filter(move |one| one.peer == peer);
        for peer in Peer::ALL {
            if rounds(peer).next().is_none() {
                continue;
            }
            let over =
                |value: fn(&Reading) -> f64| Median::of(rounds(peer).map(|one| value(&of(one))));
            let rate = over(|reading| reading.rate);
            let pairs = rounds(Peer::Lantern).zip(rounds(peer));
            let ratio = Median::of(pairs.map(|(ours, its)| of(ours).rate / of(its).rate));
            let shown = if peer == Peer::Lantern || ratio.middle.is_nan() {
                String::new()
            } else {
                format!("{}×", short(ratio.middle))
            };
            let whole = |value: fn(&CaughtUp) -> f64| Median::of(rounds(peer).map(value)).middle;
            let _ = writeln!(
                text,
                "| {cache} | {} | {} ({} to {}) | {} | {shown} | {} | {} | {:.0} | {} | {:.0} |",
                peer.name(),
                thousands(rate.middle),
                thousands(rate.least),
                thousands(rate.greatest),
                short(megabytes(rate.middle)),
                short(over(|reading| reading.cpu_per_gib).middle),
                short(over(|reading| reading.reader).middle),
                over(|reading| reading.disk_mib).middle,
                short(whole(|one| one.ready)),
                whole(|one| one.peak_mib),
            );
        }
    }
    text
}

/// A cell's rows, in the order of peers.
fn rows(cell: &Cell) -> String {
    let mut text = String::new();
    let load = cell.shape;
    let lantern = cell.of(Peer::Lantern);
    for peer in Peer::ALL {
        let rounds = cell.of(peer);
        if let Some((_, why)) = cell.failures.iter().find(|(failed, _)| *failed == peer) {
            let _ = writeln!(
                text,
                "| {load} | {} | **{}** |{}",
                peer.name(),
                one_line(why),
                " |".repeat(10)
            );
            continue;
        }
        if rounds.is_empty() {
            continue;
        }
        let over = |value: fn(&Round) -> f64| Median::of(rounds.iter().map(|round| value(round)));
        let most = over(|round| round.most);
        let ratio = Median::of(
            lantern
                .iter()
                .zip(&rounds)
                .map(|(ours, its)| ours.most / its.most),
        );
        let shown = match peer {
            Peer::Lantern => String::new(),
            _ if lantern.is_empty() => String::new(),
            _ => format!("{}×", short(ratio.middle)),
        };
        let _ = write!(
            text,
            "| {load} | {} | {} ({} to {}) | {shown} |",
            peer.name(),
            thousands(most.middle),
            thousands(most.least),
            thousands(most.greatest)
        );
        for at in 0..SHARES.len() {
            let of = |value: fn(&super::acks::Waits) -> f64| {
                let opens = rounds.iter().filter_map(|round| round.open.get(at));
                Median::of(opens.map(|open| value(&open.waits)))
            };
            let waits = three([of(|w| w.p50), of(|w| w.p99), of(|w| w.p999)]);
            let behind = rounds
                .iter()
                .any(|round| round.open.get(at).is_some_and(|open| open.behind));
            let mark = if behind { " (fell behind)" } else { "" };
            let _ = write!(text, " {waits}{mark} |");
        }
        let p99 = Median::of(
            rounds
                .iter()
                .filter_map(|round| Some(round.open.last()?.waits.p99)),
        );
        let _ = writeln!(
            text,
            " {} | {} | {} | {} |",
            short(over(|round| round.cpu_per_million).middle),
            short(over(|round| round.generator).middle),
            short(over(|round| round.peak_mib).middle),
            target(cell, peer, most.middle, p99.middle, ratio.middle)
        );
    }
    text
}

/// The target of a row and whether it was met, as two columns.
fn target(cell: &Cell, peer: Peer, most: f64, p99: f64, ratio: f64) -> String {
    if cell.class == Class::Written {
        return " | ".to_owned();
    }
    let (text, met) = match (peer, cell.shape.batch) {
        (Peer::Lantern, 1) => ("≥ 100 k/s, p99 < 10 ms", most >= 1e5 && p99 < 10.0),
        (Peer::Lantern, 100) => ("≥ 1 M/s, p99 < 10 ms", most >= 1e6 && p99 < 10.0),
        (Peer::Lantern, 1_000) => ("≥ 3 M/s, p99 < 10 ms", most >= 3e6 && p99 < 10.0),
        (Peer::Lantern, _) => return " | ".to_owned(),
        (Peer::Redis, _) => ("≥ 2×", ratio >= 2.0),
        (Peer::Nats | Peer::Kafka, _) => ("≥ 3×", ratio >= 3.0),
    };
    format!("{text} | {}", verdict(met))
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "**missed**" }
}

fn panel(cell: &Cell) -> Panel {
    let mut curves = Vec::new();
    for peer in Peer::ALL {
        let rounds = cell.of(peer);
        if rounds.is_empty() {
            continue;
        }
        let points = (0..SHARES.len()).map(|at| {
            let of = || rounds.iter().filter_map(|round| round.open.get(at));
            (
                Median::of(of().map(|open| open.rate)).middle,
                Median::of(of().map(|open| open.waits.p99)).middle,
            )
        });
        curves.push(Curve {
            peer,
            points: points.filter(|(_, wait)| wait.is_finite()).collect(),
        });
    }
    Panel {
        title: format!("batches × partitions: {}", cell.shape),
        curves,
    }
}

fn title(class: Class) -> &'static str {
    match class {
        Class::Written => "D1, page cache",
        Class::Flushed => "D2, fsync before the acknowledgement",
    }
}

/// The middle of some values, the least and the greatest.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Median {
    middle: f64,
    least: f64,
    greatest: f64,
}

impl Median {
    /// Of an even number of values the mean of the two in the middle; of none, not a number.
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
        let last = values.len().saturating_sub(1);
        Self {
            middle: f64::midpoint(at(last / 2), at(last.div_ceil(2))),
            least: at(0),
            greatest: at(last),
        }
    }
}

fn three(waits: [Median; 3]) -> String {
    if waits[0].middle.is_nan() {
        return "too few requests".to_owned();
    }
    let [p50, p99, p999] = waits.map(|wait| short(wait.middle));
    format!("{p50} / {p99} / {p999} ms")
}

/// A rate for people: `3.21 M`, `124 k`, `950`.
fn thousands(rate: f64) -> String {
    match rate {
        rate if rate >= 1e6 => format!("{} M", short(rate / 1e6)),
        rate if rate >= 1e4 => format!("{:.0} k", rate / 1e3),
        rate if rate >= 1e3 => format!("{:.1} k", rate / 1e3),
        rate => format!("{rate:.0}"),
    }
}

fn millions(rates: Median) -> String {
    if rates.middle.is_nan() {
        return "failed".to_owned();
    }
    let [middle, least, greatest] =
        [rates.middle, rates.least, rates.greatest].map(|rate| short(rate / 1e6));
    format!("{middle} ({least} to {greatest})")
}

/// An error as a cell of a table holds it.
fn one_line(text: &str) -> String {
    let text = text.replace('\n', " ").replace('|', "/");
    let short: String = text.chars().take(300).collect();
    if short.len() < text.len() {
        format!("{short} …")
    } else {
        short
    }
}

#[cfg(test)]
mod tests;
