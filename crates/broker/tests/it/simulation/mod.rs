//! Whole lives of a broker on a simulated disk: random calls, failing disks, power cuts, restarts,
//! and an oracle that knows what was acknowledged.
//!
//! A run is a function of its seed: the broker is driven by hand ([`broker::Drive::Manual`]), the
//! clock moves when told, the disk and the choices draw from the seed. `LANTERN_SIM_SEED=n cargo test
//! -p broker simulation` replays one run; `LANTERN_SIM_SEEDS=n` runs that many instead of
//! [`SEEDS`]. That a seed gives the same bytes twice is itself tested.
//!
//! What is checked is listed in `oracle`.

mod followers;
mod oracle;
mod transactions;
mod world;

use world::World;

/// Runs in an ordinary test.
const SEEDS: u64 = 60;

/// Calls in one run.
const STEPS: usize = 120;

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(seed: u64) -> World {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.finish();
    world
}

#[test]
fn nothing_acknowledged_is_lost_in_any_life() {
    let seeds = match from_env("LANTERN_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..from_env("LANTERN_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let (mut acknowledged, mut crashes) = (0, 0);
    for seed in seeds.clone() {
        let run = std::panic::catch_unwind(|| {
            let world = run(seed);
            (world.acknowledged(), world.crashes())
        });
        match run {
            Ok(counts) => {
                acknowledged += counts.0;
                crashes += counts.1;
            }
            Err(cause) => {
                eprintln!("replay with LANTERN_SIM_SEED={seed}");
                std::panic::resume_unwind(cause);
            }
        }
    }
    if seeds.count() >= 20 {
        assert!(
            acknowledged > 1_000,
            "only {acknowledged} appends were acknowledged"
        );
        assert!(crashes > 100, "only {crashes} crashes happened");
    }
}

#[test]
fn a_seed_gives_the_same_bytes_twice() {
    for seed in [3, 1_000_003] {
        let (first, second) = (run(seed), run(seed));
        assert_eq!(first.history(), second.history());
        assert!(
            first.disk_content() == second.disk_content(),
            "the disks differ"
        );
    }
}
