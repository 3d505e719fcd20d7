//! Lantern in one binary: flags, configuration, wiring, signals, shutdown order; nothing else.
//!
//! Read first: [`cli`] (the words of the command line), then [`up`] (which reads like the life of a
//! start). What a service does is in its own crate.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program prints"
)]

mod alert_lanes;
mod banner;
mod builtin;
mod cli;
mod config;
mod delay;
mod demo;
mod dlq;
mod groups;
mod kafka;
mod loaded;
mod logging;
mod metrics;
mod resources;
mod rings;
mod rules;
mod spans;
mod topics;
mod transactions;
mod up;
mod verify;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command, Group, RulesCommand};

/// What one thread takes here is given back by another all the time (docs/decisions/0031-allocator.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| cli::explained(error).exit());
    let result = match cli.command.unwrap_or(Command::Up(cli.up)) {
        Command::Up(flags) => up::run(&flags),
        Command::Demo(flags) => demo::run(flags),
        Command::Listeners(flags) => dlq::listeners(&flags),
        Command::Dlq(command) => dlq::run(command),
        Command::Topic(command) => kafka::run(kafka_cli::Command::Topic(command)),
        Command::Produce(flags) => kafka::run(kafka_cli::Command::Produce(flags)),
        Command::Consume(flags) => kafka::run(kafka_cli::Command::Consume(flags)),
        Command::Group(Group::Kafka(command)) => kafka::run(kafka_cli::Command::Group(command)),
        Command::Group(Group::Delay(flags)) => delay::run(&flags),
        Command::Rules(RulesCommand::Check { files }) => rules::check(&files),
        Command::Verify(flags) => verify::run(&flags),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lantern: {error:#}");
            ExitCode::FAILURE
        }
    }
}
