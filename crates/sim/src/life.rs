//! One life of the broker: from opening its data directory to a stop, a kill or a power cut.
//!
//! Each life has a runtime of its own, with one thread and paused time. When the life ends the runtime
//! goes with every task in it, wherever that was waiting: nothing of a process outlives its kill.
//! Clients are futures beside it that are cut at whatever they wait for; what they know outlives them.
//!
//! The broker is driven by hand ([`broker::Drive::Manual`]): a pump runs its writer's rounds and its
//! retention, as its threads would, so that the order of everything follows from the seed.

use std::cell::Cell;
use std::fmt::Arguments;
use std::sync::Arc;
use std::time::Duration;

use broker::{
    CoordinatorOptions, Drive, DynBroker, EmbeddedBroker, Error, GroupCoordinator, OpenError,
    Options, TransactionCoordinator, TransactionOptions,
};
use env::{Clock, DynClock, Faults, SeededEntropy};
use stdx::ByteSize;
use tokio_util::sync::CancellationToken;

use crate::check;
use crate::clients::Client;
use crate::clock::LifeClock;
use crate::journal;
use crate::weather;
use crate::world::{DATA, SECOND, World};

/// Longest that a call may take, in simulated time: far beyond any timeout of the broker's.
const PATIENCE: Duration = Duration::from_mins(2);

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Orderly.
    Stop,
    /// The process is gone, the page cache stays.
    Kill,
    /// The machine is gone.
    PowerCut,
}

/// What a life is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// How long it lasts.
    pub(crate) span: Duration,
    pub(crate) ending: Ending,
    /// Faults may strike.
    pub(crate) weather: bool,
}

/// A broker at work, as clients use it.
pub(crate) struct Life<'w> {
    pub(crate) world: &'w World,
    pub(crate) broker: Arc<EmbeddedBroker>,
    pub(crate) groups: Arc<GroupCoordinator>,
    pub(crate) transactions: Arc<TransactionCoordinator>,
    /// Rounds of the writer take so long, at most, in milliseconds.
    pub(crate) round_millis: Cell<u64>,
    clock: Arc<LifeClock>,
}

impl Life<'_> {
    /// Writes a line of the history.
    pub(crate) fn note(&self, who: &str, what: Arguments<'_>) {
        self.world.note(self.clock.monotonic(), who, what);
    }

    /// Time since the run began, whatever clocks show.
    pub(crate) fn real(&self) -> Duration {
        self.world.lived.get() + self.world.away.get() + self.clock.monotonic()
    }

    /// Waits up to `millis`.
    pub(crate) async fn pause(&self, millis: u64) {
        let millis = self.world.dice.below(millis + 1);
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    /// The answer of a call. If the power went off meanwhile it never arrives.
    pub(crate) async fn call<T>(&self, call: impl Future<Output = T>) -> T {
        let answer = tokio::time::timeout(PATIENCE, call).await;
        if self.world.is_dark() {
            return std::future::pending().await;
        }
        answer.unwrap_or_else(|_| panic!("a call was not answered within {PATIENCE:?}"))
    }

    /// Counts a call that the disk refused; panics at what the disk is not to blame for.
    pub(crate) fn refused(&self, error: &Error) {
        match error {
            Error::DiskFull { .. } | Error::Io { .. } | Error::Stopping => (),
            Error::Frozen { reason, .. } => {
                assert!(!reason.contains("panic"), "the broker panicked: {reason}");
            }
            Error::Corrupt {
                partition, reason, ..
            } => {
                self.world.oracle.borrow_mut().damage(partition, reason);
            }
            other => panic!("{other:?}"),
        }
        self.world.oracle.borrow_mut().tally.refused += 1;
    }
}

/// Lives one life.
pub(crate) fn live(world: &World, plan: Plan, clients: &mut [Box<dyn Client>]) {
    world.lives.set(world.lives.get() + 1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without input and output needs nothing of the system");
    let span = runtime.block_on(async {
        let wall = world.wall.get();
        let clock = Arc::new(LifeClock::new(wall));
        let life = begin(world, &clock);
        let ending = whole(&life, plan, clients).await;
        life.note("machine", format_args!("{ending:?}"));
        clock.end();
        match ending {
            Ending::Stop => (),
            Ending::Kill => world.disk.restart(),
            Ending::PowerCut => {
                world.disk.crash();
                world.oracle.borrow_mut().lose_cache();
            }
        }
        if ending != Ending::Stop {
            world.oracle.borrow_mut().tally.crashes += 1;
        }
        clock.monotonic()
    });
    drop(runtime);
    world.lived.set(world.lived.get() + span);
    // Time the machine is away; now and then its clock is set back a little.
    let away = Duration::from_millis(world.dice.below(2_000));
    world.away.set(world.away.get() + away);
    let wall = world.wall.get().plus(span + away);
    let back = if world.dice.chance(10) { 1_500 } else { 0 };
    world.wall.set(wall.minus(Duration::from_millis(back)));
}

/// Opens the broker, however often that is cut short.
fn begin<'w>(world: &'w World, clock: &Arc<LifeClock>) -> Life<'w> {
    let dice = &world.dice;
    journal::excuse_the_last_frame(world);
    weather::forget(world);
    for _ in 0..3 {
        if world.lives.get() == 1 || !dice.chance(20) {
            break;
        }
        let after = Some(dice.below(40));
        let faults = match dice.below(4) {
            0 if world.mood.failing => Faults {
                sync: after,
                ..Faults::default()
            },
            1 if world.mood.failing => Faults {
                write: after,
                ..Faults::default()
            },
            _ => Faults {
                power: after,
                ..Faults::default()
            },
        };
        world.disk.set_faults(faults);
        let opened = EmbeddedBroker::open(options(world, clock));
        let dark = world.is_dark();
        world.note(
            Duration::ZERO,
            "machine",
            format_args!(
                "starts with {faults:?}: {}",
                if opened.is_ok() { "open" } else { "failed" }
            ),
        );
        // What it cut where a bit was flipped is gone at the next start, which then has nothing to report.
        match &opened {
            Ok(broker) if world.oracle.borrow().rotten => {
                check::recovery(world, broker.recovery());
            }
            Ok(_) => {}
            // Nor has one that did not come to its report.
            Err(_) => check::unreported(world),
        }
        if dark && dice.chance(50) {
            world.disk.crash();
            world.oracle.borrow_mut().lose_cache();
        } else {
            world.disk.restart();
        }
        drop(opened);
        world.oracle.borrow_mut().tally.crashes += 1;
    }
    world.disk.set_faults(Faults::default());
    let broker = open(world, clock);
    let shared: DynBroker = Arc::<EmbeddedBroker>::clone(&broker);
    let dyn_clock: DynClock = Arc::<LifeClock>::clone(clock);
    let entropy = Arc::new(SeededEntropy::new(dice.below(u64::MAX)));
    let group_options = CoordinatorOptions {
        session_timeout_min: Duration::from_millis(100),
        consumer_session_timeout: Duration::from_millis(500),
        consumer_heartbeat_interval: Duration::from_millis(100),
        ..CoordinatorOptions::default()
    };
    Life {
        world,
        groups: GroupCoordinator::new(
            Arc::clone(&shared),
            Arc::clone(&dyn_clock),
            entropy,
            group_options,
        ),
        transactions: TransactionCoordinator::new(shared, dyn_clock, TransactionOptions::default()),
        broker,
        round_millis: Cell::new(2),
        clock: Arc::clone(clock),
    }
}

fn open(world: &World, clock: &Arc<LifeClock>) -> Arc<EmbeddedBroker> {
    let opened = EmbeddedBroker::open(options(world, clock));
    let broker = match opened {
        Ok(broker) => broker,
        Err(error) => {
            // A flipped bit in what cannot be done without: the broker says which file, and starts
            // when that is put back.
            let flips = world.flips.take();
            let named = flips.iter().any(|(path, _)| {
                matches!(&error, OpenError::Catalog { path: named, .. } if named == path)
            });
            assert!(named, "the broker does not start: {error:?}");
            world.note(
                Duration::ZERO,
                "machine",
                format_args!("does not start: {error}"),
            );
            for (path, bit) in flips {
                // It may be gone by now.
                let _ = world.disk.flip_bit(&path, bit);
            }
            world.disk.restart();
            EmbeddedBroker::open(options(world, clock))
                .unwrap_or_else(|error| panic!("the broker does not start: {error:?}"))
        }
    };
    world.flips.take();
    let report = broker.recovery();
    world.note(
        Duration::ZERO,
        "machine",
        format_args!(
            "open, clean {}, {} touched",
            report.clean,
            report.touched.len()
        ),
    );
    check::recovery(world, report);
    broker
}

fn options(world: &World, clock: &Arc<LifeClock>) -> Options {
    let dice = &world.dice;
    let clock: DynClock = Arc::<LifeClock>::clone(clock);
    let entropy = Arc::new(SeededEntropy::new(dice.below(u64::MAX)));
    Options {
        log_dirs: dice
            .of(&[None, Some(SECOND.into())])
            .iter()
            .cloned()
            .collect(),
        // Without a journal, with files that are full after a few rounds, and with roomy ones; a log
        // may also change between them.
        journal_bytes: ByteSize::from_kib(*dice.of(&[0, 4, 4, 16, 64])),
        preallocate_bytes: ByteSize::from_kib(*dice.of(&[0, 4, 512])),
        page_cache_bytes: ByteSize::from_kib(*dice.of(&[0, 1, 65_536])),
        journal_partition_bytes: ByteSize::from_bytes(*dice.of(&[150, 700, 65_536])),
        groups_records_max: *dice.of(&[8, 40, 10_000]),
        queue_appends: *dice.of(&[4, 16_384]),
        lazy_flush: Duration::from_millis(*dice.of(&[50, 1_000])),
        drive: Drive::Manual,
        ..Options::new(DATA, world.broker_disk(), clock, entropy)
    }
}

/// The whole life of an open broker; answers how it ended.
async fn whole(life: &Life<'_>, plan: Plan, clients: &mut [Box<dyn Client>]) -> Ending {
    let stop = CancellationToken::new();
    let services = tokio::spawn(services(life, &stop));
    let work = async {
        check::start(life).await;
        let clients = clients.iter_mut().map(|client| client.live(life));
        let all = futures_util::future::join_all(clients);
        let weather = weather::change(life, plan.weather);
        let ends = async {
            tokio::time::sleep(plan.span).await;
            plan.ending
        };
        tokio::select! {
            biased;
            ending = ends => ending,
            _ = all => plan.ending,
            () = weather => plan.ending,
        }
    };
    let ending = tokio::select! {
        biased;
        dark = pump(life) => dark,
        ending = work => ending,
    };
    if ending != Ending::Stop {
        services.abort();
        return ending;
    }
    stop.cancel();
    let ended = tokio::select! {
        biased;
        dark = pump(life) => Some(dark),
        _ = services => None,
    };
    if let Some(dark) = ended {
        return dark;
    }
    let ended = life.broker.shutdown().await;
    life.note(
        "machine",
        format_args!("shutdown {}", if ended.is_ok() { "ok" } else { "failed" }),
    );
    if life.world.is_dark() {
        return darkness(life);
    }
    if ended.is_err() {
        return Ending::Kill;
    }
    Ending::Stop
}

/// What runs beside the broker in the program.
fn services(life: &Life<'_>, stop: &CancellationToken) -> impl Future<Output = ()> + use<> {
    let groups = Arc::clone(&life.groups).run(stop.clone());
    let transactions = Arc::clone(&life.transactions).run(stop.clone());
    async move {
        futures_util::future::join(groups, transactions).await;
    }
}

/// Runs the writer, the retention and the compaction, until the power is off.
async fn pump(life: &Life<'_>) -> Ending {
    let mut rounds = 0;
    loop {
        life.pause(life.round_millis.get()).await;
        // At least a millisecond, so that time goes on.
        tokio::time::sleep(Duration::from_millis(1)).await;
        life.broker.run_round();
        rounds += 1;
        if rounds % 60 == 0 {
            life.broker.retain_now();
        }
        if rounds % 45 == 0 {
            compact(life);
        }
        if life.world.is_dark() {
            return darkness(life);
        }
    }
}

fn compact(life: &Life<'_>) {
    let gone = life.broker.clean_now();
    let given_up = life.broker.uncleanable();
    let world = life.world;
    let excused = world.oracle.borrow().rotten || world.mood.failing || world.is_dark();
    assert!(
        given_up.is_empty() || excused,
        "no bit was flipped, nothing failed, and compaction gives up: {given_up:?}"
    );
    if gone > 0 && !life.world.is_dark() {
        life.note("compaction", format_args!("takes {gone} bytes away"));
        life.world.oracle.borrow_mut().tally.compacted += 1;
    }
}

/// The power went off within a change of the disk; or only the process ended there.
fn darkness(life: &Life<'_>) -> Ending {
    if life.world.dice.chance(40) {
        Ending::Kill
    } else {
        Ending::PowerCut
    }
}
