//! What was measured, as the tables of `docs/benchmarks/layouts.md`.
//!
//! A table is written again from all that is known after each case, so the page is whole at any moment. Medians stand with the least and
//! the greatest of the rounds; ratios are taken within a round and their median shown.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use super::read::{Read, Way};
use super::{Case, Kind, Layouts, Measured};
use crate::machine;
use crate::page::put;
use crate::spread::short;

/// All of a run, and the page.
#[derive(Debug)]
pub(super) struct Report {
    page: Option<PathBuf>,
    note: String,
    stolen: (u64, u64),
    written: String,
    read: String,
}

impl Report {
    pub(super) fn new(layouts: &Layouts, rounds: u32, millis: u64) -> Self {
        let quick = if layouts.quick {
            "**A quick pass: short runs; for a look, not for a claim.** "
        } else {
            ""
        };
        let note = format!(
            "{quick}{rounds} rounds, runs of {millis} ms. {}",
            machine::line()
        );
        let page = e2e::root().join("docs/benchmarks/layouts.md");
        Self {
            page: (!layouts.no_page).then_some(page),
            note,
            stolen: machine::stolen(),
            written: String::new(),
            read: String::from(
                "| reading one partition | how | ms (least – greatest) | MB/s of the partition | time to its own file's |\n\
                 |---|---|---|---|---|\n",
            ),
        }
    }

    pub(super) fn put_written(&mut self, case: Case, measured: &[Measured]) -> Result<()> {
        let text = written(case, measured);
        print!("{text}");
        self.written.push_str(&text);
        self.put("layouts-write", &self.written)
    }

    pub(super) fn put_read(&mut self, case: Case, measured: &[Read]) -> Result<()> {
        let text = read(case, measured);
        print!("{text}");
        self.read.push_str(&text);
        self.put("layouts-read", &self.read)
    }

    fn put(&self, name: &str, table: &str) -> Result<()> {
        let Some(path) = &self.page else {
            return Ok(());
        };
        let (stolen, all) = machine::stolen();
        let share = (stolen - self.stolen.0) as f64 / (all - self.stolen.1).max(1) as f64;
        let note = format!(
            "{}; taken by the host {:.2} % of the time; load average {}",
            self.note,
            share * 100.0,
            machine::load_average()
        );
        let page = fs::read_to_string(path)?;
        Ok(fs::write(
            path,
            put(&page, name, &format!("{}\n{note}\n", table.trim_start()))?,
        )?)
    }
}

fn written(case: Case, measured: &[Measured]) -> String {
    let mut text = format!(
        "\n**{}**\n\n\
         | layout | round p50 / p99, ms | rounds/s (least – greatest) | to the first row | MB/s | all counted | µs of processor a round |\n\
         |---|---|---|---|---|---|---|\n",
        case.title()
    );
    let rate = |run: &Measured| run.rounds as f64 / run.took;
    let first: Vec<f64> = of(measured, Kind::Grow)
        .iter()
        .map(|run| rate(run))
        .collect();
    for kind in Kind::ALL.into_iter().filter(|kind| kind.fits(case)) {
        let runs = of(measured, kind);
        let median_of =
            |value: &dyn Fn(&Measured) -> f64| median(runs.iter().map(|run| value(run)).collect());
        let bytes = |run: &Measured| (run.rounds * case.bytes()) as f64 / 1e6;
        let rates: Vec<f64> = runs.iter().map(|run| rate(run)).collect();
        let ratio = median(
            rates
                .iter()
                .zip(&first)
                .map(|(this, one)| this / one)
                .collect(),
        );
        let direct: u64 = runs.iter().map(|run| run.direct).sum();
        let appends: u64 =
            runs.iter().map(|run| run.rounds).sum::<u64>() * u64::from(case.partitions);
        let refused = match direct {
            0 => String::new(),
            some => format!(
                " ({} % flushed directly for want of room)",
                short(some as f64 * 100.0 / appends as f64)
            ),
        };
        // A string takes whatever is written to it.
        let _written = writeln!(
            text,
            "| {}{refused} | {} / {} | {} ({} – {}) | {} | {} | {} | {} |",
            kind.name(),
            short(median_of(&|run| run.p50_ms)),
            short(median_of(&|run| run.p99_ms)),
            short(median(rates.clone())),
            short(least(&rates)),
            short(greatest(&rates)),
            short(ratio),
            short(median_of(&|run| bytes(run) / run.took)),
            short(median_of(
                &|run| bytes(run) / (run.took + run.zeroing + run.final_sync)
            )),
            short(median_of(&|run| run.cpu * 1e6 / run.rounds as f64)),
        );
    }
    text
}

fn read(case: Case, measured: &[Read]) -> String {
    let mut text = String::new();
    let of = |way: Way| measured.iter().filter(move |read| read.way == way);
    for way in Way::ALL {
        let millis: Vec<f64> = of(way).map(|read| read.took * 1e3).collect();
        let rate = median(
            of(way)
                .map(|read| read.bytes as f64 / 1e6 / read.took)
                .collect(),
        );
        let ratio = of(way)
            .zip(of(Way::File))
            .map(|(read, own)| read.took / own.took);
        let _written = writeln!(
            text,
            "| {} | {} | {} ({} – {}) | {} | {} |",
            case.title(),
            way.name(),
            short(median(millis.clone())),
            short(least(&millis)),
            short(greatest(&millis)),
            short(rate),
            short(median(ratio.collect())),
        );
    }
    text
}

fn of(measured: &[Measured], kind: Kind) -> Vec<&Measured> {
    measured.iter().filter(|run| run.kind == kind).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn greatest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let run = |kind, rounds| Measured {
            kind,
            p50_ms: 1.0,
            p99_ms: 2.0,
            rounds,
            took: 1.0,
            cpu: 0.001,
            zeroing: 0.0,
            final_sync: 0.0,
            direct: 0,
        };
        // A host that slows down from round to round takes as much from both.
        let mut measured = Vec::new();
        for rounds in [100, 50, 10] {
            measured.push(run(Kind::Grow, rounds));
            measured.push(run(Kind::LogGrow, 2 * rounds));
        }
        let text = written(super::super::CASES[0], &measured);
        let row = text.lines().find(|line| line.contains("one log, growing"));
        assert_eq!(
            row,
            Some(
                "| one log, growing | 1.00 / 2.00 | 100 (20.0 – 200) | 2.00 | 0.02 | 0.02 | 10.0 |"
            )
        );
    }
}
