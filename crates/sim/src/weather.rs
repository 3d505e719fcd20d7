//! What happens to the disk while the broker is at work.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use env::{Disk, Faults};

use crate::clients::keeps_producers;
use crate::life::Life;
use crate::world::World;

/// Brings misfortunes one after another, as the run's mood allows; never ready.
pub(crate) async fn change(life: &Life<'_>, any: bool) {
    let world = life.world;
    let (dice, mood) = (&world.dice, world.mood);
    if !any {
        calm(life);
        return std::future::pending().await;
    }
    loop {
        let millis = 20 + dice.below(500);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        match dice.below(8) {
            0 => {
                let power = Some(dice.below(40));
                let faults = Faults {
                    power,
                    ..Faults::default()
                };
                world.disk.set_faults(faults);
                life.note("weather", format_args!("{faults:?}"));
            }
            1 | 2 if mood.failing => fail(life),
            3 | 4 if mood.full => {
                let room = dice.below(6_000);
                world.disk.set_capacity(Some(world.disk.used() + room));
                life.note("weather", format_args!("room for {room}"));
            }
            5 if mood.slow => {
                let millis = *dice.of(&[2, 20, 150]);
                life.round_millis.set(millis);
                life.note("weather", format_args!("rounds take up to {millis} ms"));
            }
            6 if mood.rot => flip(world),
            _ => calm(life),
        }
    }
}

fn calm(life: &Life<'_>) {
    life.world.disk.set_capacity(None);
    life.world.disk.set_faults(Faults::default());
    life.round_millis.set(2);
    life.note("weather", format_args!("calm"));
}

fn fail(life: &Life<'_>) {
    let world = life.world;
    let after = Some(world.dice.below(10));
    let none = Faults::default();
    let faults = match world.dice.below(5) {
        0 => Faults {
            read: after,
            ..none
        },
        1 => Faults {
            write: after,
            ..none
        },
        2 => Faults {
            sync_dir: after,
            ..none
        },
        3 => {
            // The system takes back clean pages, also those that a failed sync called clean.
            world.disk.drop_caches();
            world.oracle.borrow_mut().drop_pages();
            none
        }
        _ => Faults {
            sync: after,
            ..none
        },
    };
    world.disk.set_faults(faults);
    life.note("weather", format_args!("{faults:?}"));
}

/// Flips a bit somewhere.
pub(crate) fn flip(world: &World) {
    let files: Vec<(PathBuf, u64)> = world
        .disk
        .content()
        .into_iter()
        .map(|(path, content)| (path, content.len() as u64))
        .filter(|(path, length)| *length > 0 && !path.ends_with(Path::new("lantern.lock")))
        .collect();
    if files.is_empty() {
        return;
    }
    let (path, length) = world.dice.of(&files);
    let bit = world.dice.below(length * 8);
    if world.disk.flip_bit(path, bit).is_err() {
        return;
    }
    world.note(
        Duration::ZERO,
        "weather",
        format_args!("flips bit {bit} of {}", path.display()),
    );
    world.flips.borrow_mut().push((path.clone(), bit));
    let mut oracle = world.oracle.borrow_mut();
    oracle.rotten = true;
    oracle.tally.flips += 1;
}

/// Takes the checkpoints of logs that keep the newest batch of each producer away, now and then: a cache may go at any time, and
/// what the log has to keep for the time without must be there.
pub(crate) fn forget(world: &World) {
    if !world.dice.chance(15) {
        return;
    }
    for (path, _) in world.disk.content() {
        // …/TOPIC/ID/PARTITION/checkpoint
        let mut names = path.iter().filter_map(OsStr::to_str);
        if path.ends_with("checkpoint") && names.any(keeps_producers) {
            let gone = world.disk.remove_file(&path).is_ok();
            let told = format_args!("takes {} away: {gone}", path.display());
            world.note(Duration::ZERO, "weather", told);
        }
    }
}
