//! The whole broker on a simulated machine, with clients and faults: a run is a function of its seed.
//!
//! [`run`] plays one seed: several lives of an embedded broker on one simulated disk, with journal,
//! groups, transactions, retention and compaction, while producers (idempotent or not), readers, group members,
//! transactional producers and an administrator use it, and power cuts, kills, failing, full, slow and
//! rotting disks strike. What must hold is listed in `oracle`. A run that breaks it says which seed and
//! shows its history:
//!
//! ```text
//! cargo run -p sim -- --seeds 0..10000
//! cargo run -p sim -- --seed 17 --trace
//! ```
//!
//! In reading order: `world` (what outlives the broker), `life` (one process from start to end),
//! `weather` (misfortunes), `text` (what records say), `clients`, `oracle` and `check` (what must be true).
//!
//! Invariants: one thread, no time but the simulated one, no choice but the seed's; two runs of a seed
//! write the same history and leave the same bytes (`tests/it` compares them, in another process, too).
//! Not here: the network and Kafka's requests; clients call the broker as the edge does.

mod check;
mod clients;
mod clock;
mod dice;
mod journal;
mod life;
mod oracle;
mod reading;
mod sabotage;
mod text;
mod weather;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use broker::Durability;

use clients::{
    Admin, Client, CommittedReader, Committer, Idempotent, Member, Plain, Reader, Subscriber,
    Transactor,
};
use life::{Ending, Plan};
pub use oracle::Tally;
pub use sabotage::Sabotage;
use world::World;

/// Transactional producers of a run.
const TRANSACTORS: u32 = 3;

/// What became of a run.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What happened, a line each.
    pub trace: String,
    /// A checksum of the files in the end.
    pub disk: u32,
    /// How much happened.
    pub tally: Tally,
    /// What must not be, if it was.
    pub violation: Option<String>,
}

/// Plays one seed.
pub fn run(seed: u64) -> Report {
    run_with(seed, None)
}

/// Plays one seed on a disk that lies, so that there is something to find.
pub fn run_sabotaged(seed: u64, how: Sabotage) -> Report {
    run_with(seed, Some(how))
}

fn run_with(seed: u64, sabotage: Option<Sabotage>) -> Report {
    let world = World::new(seed, sabotage);
    let played = catch_unwind(AssertUnwindSafe(|| play(&world)));
    let violation = played.err().map(|cause| {
        let text = cause.downcast_ref::<String>().cloned();
        let text = text.or_else(|| cause.downcast_ref::<&str>().map(ToString::to_string));
        text.unwrap_or_else(|| "a panic without words".to_owned())
    });
    let tally = world.oracle.try_borrow().map(|oracle| oracle.tally);
    Report {
        seed,
        trace: world.trace(),
        disk: world.disk_digest(),
        tally: tally.unwrap_or_default(),
        violation,
    }
}

fn play(world: &World) {
    let mut nobody: Vec<Box<dyn Client>> = vec![Box::new(Founder)];
    let first = Plan {
        span: Duration::from_millis(50),
        ending: Ending::Stop,
        weather: false,
    };
    life::live(world, first, &mut nobody);

    let mut clients = clients();
    for _ in 0..3 + world.dice.below(3) {
        let ending = match world.dice.below(10) {
            0..2 => Ending::Stop,
            2..6 => Ending::Kill,
            _ => Ending::PowerCut,
        };
        let plan = Plan {
            span: Duration::from_millis(100 + world.dice.below(1_400)),
            ending,
            weather: true,
        };
        life::live(world, plan, &mut clients);
        if world.dice.chance(70) {
            world.disk.set_capacity(None);
        }
        if world.mood.rot && world.dice.chance(40) {
            weather::flip(world);
        }
    }
    // In good weather every call that waits is answered, every transaction ends.
    world.disk.set_capacity(None);
    let calm = Plan {
        span: Duration::from_millis(1_500),
        ending: Ending::Stop,
        weather: false,
    };
    life::live(world, calm, &mut clients);
    drop(clients);
    let mut last: Vec<Box<dyn Client>> = vec![Box::new(Auditor)];
    life::live(world, calm, &mut last);
}

fn clients() -> Vec<Box<dyn Client>> {
    let mut clients: Vec<Box<dyn Client>> = vec![
        Box::new(Admin),
        Box::new(CommittedReader::default()),
        Box::new(Idempotent::new(0, Durability::Flushed)),
        Box::new(Idempotent::new(1, Durability::Flushed)),
        Box::new(Idempotent::new(2, Durability::Written)),
    ];
    for number in 0..2 {
        clients.push(Box::new(Plain::new(number)));
        clients.push(Box::new(Reader::new(number)));
        clients.push(Box::new(Committer::new(number)));
    }
    for number in 0..3 {
        clients.push(Box::new(Member::new(number)));
        clients.push(Box::new(Subscriber::new(number)));
    }
    for number in 0..TRANSACTORS {
        clients.push(Box::new(Transactor::new(number)));
    }
    clients
}

/// Creates what is there from the beginning.
#[derive(Debug)]
struct Founder;

impl Client for Founder {
    fn live<'a>(
        &'a mut self,
        life: &'a life::Life<'_>,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(clients::found(life))
    }
}

/// Begins every transactional producer anew, which ends what is open, and looks at everything.
#[derive(Debug)]
struct Auditor;

impl Client for Auditor {
    fn live<'a>(
        &'a mut self,
        life: &'a life::Life<'_>,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(async move {
            for number in 0..TRANSACTORS {
                Transactor::settle(life, number).await;
            }
            check::transactions(life, TRANSACTORS).await;
            check::start(life).await;
        })
    }
}
