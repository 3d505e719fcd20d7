//! The project's chores. `cargo xtask test` is the whole check; the others are its parts.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool prints"
)]

mod bench;
mod fuzz;
mod maven;
mod nightly;
mod peers;
mod run;
mod setup;
mod suites;
mod test;
mod tidy;
mod web;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test [STEP …]   set up what the tests need and run every check, or only the named steps;
                  `cargo xtask test --list` names them
  tidy            check floors, module docs, unsafe code; report the longest files
  web [--check]   build web/dist, or check that it equals a fresh build
  fuzz [SECONDS] [TARGET …]
                  run each fuzz target (or the named ones) for so many seconds (default 60)
  bench NAME      run a benchmark; `cargo xtask bench` names them
  soak [--duration 1h]
                  load for a long time, see that memory stays flat, write docs/benchmarks/soak.md
  nightly [PART …]
                  what takes hours, or parts of it: properties (more cases), simulation (10,000 seeds), kills (1,000 under
                  load), suites (of librdkafka, franz-go and kafka-go), fuzz (15 minutes a target)
  setup           install what the tests need (Debian, npm and PyPI packages)

example: cargo xtask test fmt clippy unit
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["test", steps @ ..] => test::run(steps),
        ["tidy"] => tidy::run(),
        ["web"] => web::build(),
        ["web", "--check"] => web::check(),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["bench", rest @ ..] => bench::run(rest),
        ["soak", rest @ ..] => bench::soak(rest),
        ["nightly", parts @ ..] => nightly::run(parts),
        ["setup"] => setup::all(),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
