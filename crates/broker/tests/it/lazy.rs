//! Flushes that nobody waits for: a disk that takes its time over them holds nobody up.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, Drive, Durability, EmbeddedBroker, Options, ReadLimit};
use env::{
    Disk, DiskFile, DiskLock, DynDisk, DynFile, Entry, LockError, Open, RealClock, SeededEntropy,
    SimDisk, Space,
};
use model::Offset;
use parking_lot::{Condvar, Mutex};
use test_kit::batches::batch;

use crate::support::{at, spec};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Together more than is left lying unflushed, which is 8 MiB.
const PIECES: u64 = 24;
const PIECE_BYTES: usize = 512 << 10;

/// Stops syncs of segments on their way, and counts who was stopped.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    stopped: u64,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock();
        if state.closed {
            state.stopped += 1;
            self.changed.notify_all();
        }
        while state.closed {
            self.changed.wait(&mut state);
        }
    }

    /// Closes it until what is answered is dropped: before the broker, whose threads end with it.
    fn close(&self) -> impl Drop {
        self.state.lock().closed = true;
        Closed(self)
    }

    /// Waits until somebody stands before it.
    fn somebody_waits(&self) {
        let mut state = self.state.lock();
        while state.stopped == 0 {
            let waited = self.changed.wait_for(&mut state, PATIENCE);
            assert!(!waited.timed_out(), "nobody flushes");
        }
    }
}

struct Closed<'a>(&'a Gate);

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.state.lock().closed = false;
        self.0.changed.notify_all();
    }
}

#[derive(Debug)]
struct Slow {
    disk: SimDisk,
    gate: Arc<Gate>,
}

#[derive(Debug)]
struct SlowFile {
    file: DynFile,
    gate: Option<Arc<Gate>>,
}

impl Disk for Slow {
    fn open(&self, path: &Path, how: Open) -> io::Result<DynFile> {
        let segment = path.extension().is_some_and(|end| end == "log");
        Ok(Arc::new(SlowFile {
            file: self.disk.open(path, how)?,
            gate: segment.then(|| Arc::clone(&self.gate)),
        }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.disk.read_dir(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn DiskLock>, LockError> {
        self.disk.lock(path)
    }

    fn lock_shared(&self, path: &Path) -> Result<Option<Box<dyn DiskLock>>, LockError> {
        self.disk.lock_shared(path)
    }
}

impl DiskFile for SlowFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.file.write_vectored_at(slices, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        if let Some(gate) = &self.gate {
            gate.pass();
        }
        self.file.sync_data()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}

/// A topic that is acknowledged from the page cache, on a disk behind the gate.
async fn topic(gate: &Arc<Gate>, lazy_flush: Duration) -> Arc<EmbeddedBroker> {
    let slow: DynDisk = Arc::new(Slow {
        disk: SimDisk::new(1),
        gate: Arc::clone(gate),
    });
    let clock = Arc::new(RealClock::new());
    let options = Options {
        drive: Drive::Threads,
        lazy_flush,
        ..Options::new("/data", slow, clock, Arc::new(SeededEntropy::new(1)))
    };
    let broker = EmbeddedBroker::open(options).unwrap();
    let mut spec = spec("ticks", 1);
    spec.config
        .set("lantern.durability", Some("written"))
        .unwrap();
    broker.create_topic(spec).await.unwrap();
    broker
}

async fn append(broker: &EmbeddedBroker, value: &str) -> Offset {
    let to = at("ticks", 0);
    let append = broker.append(&to, vec![batch([value])], Durability::Written);
    let appended = tokio::time::timeout(PATIENCE, append).await;
    appended.expect("it is held up").unwrap().base_offset
}

async fn goes_on(broker: &EmbeddedBroker, gate: &Gate, written: u64) {
    gate.somebody_waits();
    for number in 0..100 {
        assert_eq!(append(broker, "tick").await.get(), written + number);
    }
    let limit = ReadLimit {
        bytes: 1 << 20,
        at_least_one: true,
    };
    let from = Offset::new(written).into();
    let read = broker.read(&at("ticks", 0), from, limit).await.unwrap();
    assert!(!read.batches.to_vec().is_empty(), "readers see it, too");
}

#[tokio::test]
async fn a_flush_that_takes_long_holds_up_no_producer_and_no_reader() {
    let gate = Arc::new(Gate::default());
    let broker = topic(&gate, Duration::from_millis(1)).await;
    let closed = gate.close();
    append(&broker, "tick").await;
    goes_on(&broker, &gate, 1).await;
    drop(closed);
    broker.shutdown().await.unwrap();
}

#[tokio::test]
async fn much_is_flushed_before_its_time() {
    let gate = Arc::new(Gate::default());
    let never = Duration::from_hours(1);
    let broker = topic(&gate, never).await;
    let closed = gate.close();
    let value = "v".repeat(PIECE_BYTES);
    for _ in 0..PIECES {
        append(&broker, &value).await;
    }
    goes_on(&broker, &gate, PIECES).await;
    drop(closed);
    broker.shutdown().await.unwrap();
}
