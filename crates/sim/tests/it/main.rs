//! Seeds of every day, and the determinism that makes a seed worth anything.

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sim::{Sabotage, Tally};

/// Seeds of an ordinary run; `cargo xtask nightly` plays more.
const SEEDS: u64 = 200;

#[test]
fn what_was_promised_holds_for_every_seed() {
    let next = AtomicU64::new(0);
    let total = Mutex::new((Tally::default(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= SEEDS {
                        return;
                    }
                    let report = sim::run(seed);
                    let mut total = total.lock().unwrap();
                    total.0.add(&report.tally);
                    if let Some(violation) = report.violation {
                        total.1.push(format!(
                            "seed {seed}: {violation}\n  again: cargo run -p sim -- --seed {seed} --trace"
                        ));
                    }
                }
            });
        }
    });
    let (tally, violations) = total.into_inner().unwrap();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    // A simulation in which nothing happens proves nothing.
    for (what, count, least) in [
        ("appends", tally.appends, 20_000),
        ("retries", tally.duplicates, 100),
        ("reads", tally.reads, 20_000),
        ("commits", tally.commits, 2_000),
        ("transactions", tally.transactions, 500),
        ("compactions", tally.compacted, 500),
        ("records outdated", tally.outdated, 10_000),
        ("crashes", tally.crashes, 500),
        ("refusals", tally.refused, 200),
        ("flips", tally.flips, 20),
    ] {
        assert!(
            count >= least,
            "only {count} {what} in {SEEDS} seeds: {tally:?}"
        );
    }
}

/// Checks that find nothing are worth something only if they find what is there.
#[test]
fn a_disk_that_lies_is_found_out() {
    for how in [Sabotage::Files, Sabotage::Directories, Sabotage::Writes] {
        let found = (0..20).find_map(|seed| sim::run_sabotaged(seed, how).violation);
        assert!(
            found.is_some(),
            "20 seeds hold although the disk lies about {how:?}"
        );
    }
}

/// Every hash map of a process has an order of its own, and every process another: what depends on
/// one shows here.
#[test]
fn a_seed_gives_the_same_history_and_the_same_bytes_in_every_process() {
    for seed in [1, 5, 7_001] {
        let (first, second) = (sim::run(seed), sim::run(seed));
        assert!(first.trace == second.trace, "two histories of seed {seed}");
        assert_eq!(first.disk, second.disk, "the disks of seed {seed} differ");

        let other = Command::new(env!("CARGO_BIN_EXE_sim"))
            .args(["--seed", &seed.to_string(), "--trace"])
            .output()
            .unwrap();
        assert!(other.status.success(), "seed {seed}");
        let printed = String::from_utf8(other.stdout).unwrap();
        let disk = format!("disk {:08x}\n", first.disk);
        assert!(
            printed.starts_with(&(first.trace + &disk)),
            "another process has another history of seed {seed}"
        );
    }
}
