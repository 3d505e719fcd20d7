//! Drives the release binary as its users do and writes what was measured into `docs/figures.md`, and the comparison of
//! the bus with its peers into `docs/benchmarks/bus.md`. [`layouts`] alone needs no binary: it holds ways to lay out files against each other.
//!
//! Read first: [`figures`], one module per figure; [`bus`], the comparison. A figure starts a Lantern of its own on free ports with
//! fresh data, measures from outside, and gives rows of a table. Where latency is measured at a rate, sends
//! are scheduled by the clock and measured from their scheduled time, so that a stall counts for every
//! record that had to wait for it.
//!
//! Not here: micro benchmarks, which stand beside their code.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool prints"
)]

mod bus;
mod figures;
mod layouts;
mod machine;
mod page;
mod soak;
mod spread;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "bench", about = "Measures the release binary of Lantern")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure what docs/figures.md shows and write it there
    #[command(after_help = "Example:\n  cargo xtask bench smoke --only ready,webhook")]
    Smoke(Smoke),
    /// Compare the bus with its peers and write docs/benchmarks/bus.md
    #[command(
        after_help = "Examples:\n  cargo xtask bench bus --quick\n  cargo xtask bench bus --against redis,nats,kafka --rounds 5 --batches 100 --partitions 1"
    )]
    Bus(bus::Bus),
    /// Compare ways to lay out the log's files and write docs/benchmarks/layouts.md
    #[command(
        after_help = "Examples:\n  cargo xtask bench layouts --quick\n  cargo xtask bench layouts --only write --partitions 1"
    )]
    Layouts(layouts::Layouts),
    /// Load for a long time and see that memory stays flat; writes docs/benchmarks/soak.md
    #[command(after_help = "Example:\n  cargo xtask soak --duration 1h")]
    Soak(soak::Soak),
}

/// What to measure.
#[derive(Debug, Clone, Args)]
struct Smoke {
    /// Minutes the board is watched
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// Only these figures; the page keeps the others
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Gibibytes in the log of the figure 'restart'; so much room on the disk is needed
    #[arg(long, default_value_t = 10)]
    restart_gib: u64,
    /// Do not time a clean build; the page keeps the old row
    #[arg(long)]
    no_build_time: bool,
}

fn main() -> ExitCode {
    let measured = match Cli::parse().command {
        Command::Smoke(smoke) => figures::run(&smoke),
        Command::Bus(bus) => bus::run(&bus),
        Command::Layouts(layouts) => layouts::run(&layouts),
        Command::Soak(soak) => soak::run(&soak).map(|()| true),
    };
    match measured {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("bench: not all could be measured; what is above and the page say what not");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
