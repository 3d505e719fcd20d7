//! Drives the release binary as its users do and writes what was measured into `docs/figures.md`.
//!
//! Read first: [`figures`], one module per figure. A figure starts a Lantern of its own on free ports with
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

mod figures;
mod machine;
mod page;
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
    let Command::Smoke(smoke) = Cli::parse().command;
    match figures::run(&smoke) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("bench: some figures could not be measured; the page says which");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
