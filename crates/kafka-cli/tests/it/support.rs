//! A server that can be stopped and started again, and a way to type a command.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker::{CoordinatorOptions, DynBroker, EmbeddedBroker, GroupCoordinator};
use clap::Parser;
use env::{DynClock, DynDisk, DynEntropy, RealClock, RealDisk, RealEntropy, SimClock};
use kafka_cli::{Command, Error, Stage};
use kafka_edge::{Options, Service};
use model::Timestamp;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything in a test may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// When it is for who types: 2026-05-01T12:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_777_636_800_000);

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    folder: TempDir,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (address, stop, serving) = serve(&folder, any).await;
        Self {
            address,
            folder,
            stop,
            serving,
        }
    }

    /// Ends it in good order.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        (&mut self.serving).await.unwrap();
    }

    /// Starts it again at the same place.
    pub(crate) async fn start_again(&mut self) {
        let (_, stop, serving) = serve(&self.folder, self.address).await;
        self.stop = stop;
        self.serving = serving;
    }

    /// Types a command and waits for its end.
    pub(crate) async fn type_in(&self, line: &str) -> Done {
        self.typed(line, b"").await
    }

    /// Types a command that reads `input`.
    pub(crate) async fn typed(&self, line: &str, input: &'static [u8]) -> Done {
        self.begin(line, Box::new(input)).end().await
    }

    /// Types a command that goes on.
    pub(crate) fn begin(&self, line: &str, input: Box<dyn Read + Send + Sync>) -> Running {
        begin(line, &self.address.to_string(), input)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve(
    folder: &TempDir,
    listen: SocketAddr,
) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
    let disk: DynDisk = Arc::new(RealDisk::new());
    let clock: DynClock = Arc::new(RealClock::new());
    let entropy: DynEntropy = Arc::new(RealEntropy);
    let open = broker::Options::new(folder.path(), disk, clock.clone(), entropy.clone());
    let embedded = EmbeddedBroker::open(open).unwrap();
    let broker: DynBroker = embedded.clone();
    let stop = CancellationToken::new();
    let quick = CoordinatorOptions {
        initial_quiet: Duration::from_millis(20),
        initial_delay_max: Duration::from_millis(100),
        ..CoordinatorOptions::default()
    };
    let groups = GroupCoordinator::new(broker.clone(), clock.clone(), entropy, quick);
    let coordinating = tokio::spawn(Arc::clone(&groups).run(stop.clone()));
    while !groups.is_ready() {
        tokio::task::yield_now().await;
    }
    let options = Options {
        listen,
        ..Options::default()
    };
    let mut service = Service::new(options, broker, groups, clock).unwrap();
    let address = service.bind().await.unwrap();
    let told = stop.clone();
    let serving = tokio::spawn(async move {
        service.run(told).await.unwrap();
        let _ = coordinating.await;
        embedded.shutdown().await.unwrap();
    });
    (address, stop, serving)
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) result: Result<(), Error>,
}

impl Done {
    /// What it printed; it must have gone well.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        if let Err(error) = &self.result {
            panic!("{error}\n{}{}", self.out, self.err);
        }
        self.out
    }

    /// Why it failed, with its hint.
    #[track_caller]
    pub(crate) fn failed(self) -> String {
        let error = self.result.expect_err("it went well");
        match error.hint() {
            Some(hint) => format!("{error}\n{hint}"),
            None => error.to_string(),
        }
    }
}

/// A command that goes on.
pub(crate) struct Running {
    out: Printed,
    err: Printed,
    pub(crate) stop: CancellationToken,
    ending: JoinHandle<Result<(), Error>>,
}

impl Running {
    pub(crate) async fn end(self) -> Done {
        let ended = tokio::time::timeout(PATIENCE, self.ending).await;
        let result = ended.expect("it does not end").unwrap();
        Done {
            out: self.out.text(),
            err: self.err.text(),
            result,
        }
    }

    pub(crate) fn has_printed(&self) -> bool {
        !self.out.text().is_empty()
    }

    /// Waits until it has printed `text`, data or words.
    pub(crate) async fn says(&self, text: &str) {
        let waiting = async {
            while !self.out.text().contains(text) && !self.err.text().contains(text) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let said = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(
            said.is_ok(),
            "it does not say '{text}':\n{}{}",
            self.out.text(),
            self.err.text()
        );
    }
}

/// A line for each number.
pub(crate) fn lines(numbers: std::ops::Range<i64>, line: impl Fn(i64) -> String) -> String {
    let lines: Vec<String> = numbers.map(|n| line(n) + "\n").collect();
    lines.concat()
}

#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Printed {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The program with its commands only.
#[derive(Debug, Parser)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

/// Types a command. Words are separated by spaces; `_` inside a word stands for one.
pub(crate) fn begin(line: &str, address: &str, input: Box<dyn Read + Send + Sync>) -> Running {
    let words = line.split(' ').map(|word| word.replace('_', " "));
    let words: Vec<String> = std::iter::once("lantern".to_owned()).chain(words).collect();
    let words = words.into_iter().chain(["--broker".into(), address.into()]);
    let program = Program::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
    let (out, err) = (Printed::default(), Printed::default());
    let stop = CancellationToken::new();
    let mut stage = Stage {
        out: Box::new(out.clone()),
        err: Box::new(err.clone()),
        input: Some(input),
        out_is_terminal: false,
        err_is_terminal: false,
        input_is_terminal: false,
        colors: false,
        clock: Arc::new(SimClock::new(NOW)),
        stop: stop.clone(),
    };
    // A runtime of its own, as a process of its own has one.
    let ending = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let result = runtime.block_on(kafka_cli::run(program.command, &mut stage));
        runtime.shutdown_background();
        result
    });
    Running {
        out,
        err,
        stop,
        ending,
    }
}
