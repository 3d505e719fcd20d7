//! Plays seeds and says what became of them.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool prints"
)]

use std::ops::Range;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use sim::{Report, Tally};

/// Plays the broker on a simulated machine, by seeds. Exits with 1 if what must hold did not.
#[derive(Debug, Parser)]
#[command(after_help = "Example: cargo run -p sim -- --seeds 0..10000\n\
                        A failing seed again, with its history: cargo run -p sim -- --seed 17 --trace")]
struct Args {
    /// Play one seed.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Play the seeds from the first up to, not including, the last.
    #[arg(long, default_value = "0..200", value_parser = range)]
    seeds: Range<u64>,
    /// Show the history of each run.
    #[arg(long)]
    trace: bool,
    /// Runs at a time.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=256))]
    jobs: u64,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let parsed = text
        .split_once("..")
        .and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    parsed
        .filter(|range: &Range<u64>| !range.is_empty())
        .ok_or_else(|| format!("'{text}' is no range of seeds like 0..200"))
}

fn show(report: &Report, trace: bool) {
    if trace || report.violation.is_some() {
        print!("{}", report.trace);
    }
    if let Some(violation) = &report.violation {
        println!("seed {}: {violation}", report.seed);
        println!("again: cargo run -p sim -- --seed {} --trace", report.seed);
    }
    if trace {
        println!("disk {:08x}", report.disk);
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    // A violation is a panic, which the report tells; its place helps to find the check.
    let quiet = !args.trace;
    std::panic::set_hook(Box::new(move |info| {
        if !quiet {
            eprintln!("{info}");
        }
    }));
    let seeds = args.seed.map_or(args.seeds, |seed| seed..seed + 1);
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new((Tally::default(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.min(seeds.end - seeds.start) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let report = sim::run(seed);
                    let Ok(mut total) = total.lock() else { return };
                    show(&report, args.trace);
                    total.0.add(&report.tally);
                    if report.violation.is_some() {
                        total.1.push(seed);
                    }
                }
            });
        }
    });
    let Ok((tally, failed)) = total.into_inner() else {
        return ExitCode::FAILURE;
    };
    println!("{} seeds: {tally:?}", seeds.end - seeds.start);
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("{} failed: {failed:?}", failed.len());
    ExitCode::FAILURE
}
