//! The load generator: one thread, many connections, the same for every peer.
//!
//! A producer is a connection. Producers and partitions are dealt to each other: a partition has the producers with its number
//! modulo the partitions, or, where there are fewer producers, a producer its partitions in turn. Two paces: at most so
//! many requests in flight for each producer and the next when one is answered (how much can it take), or requests due
//! by the clock whatever was answered (what do they wait at this rate). In the second, latency counts from when a request
//! was due, so that a stall counts for all that had to wait for it.
//!
//! Numbers go on from one run to the next, so that all of it can be held against what is read back in the end.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::schedule::Schedule;
use super::wire::{PATIENCE, Protocol, Wire};
use crate::spread::Spread;

/// Bytes a connection may hold that the socket would not take; requests wait in the schedule beyond it.
const UNSENT_BYTES_MAX: usize = 4 << 20;
/// Records in flight of all producers in an open loop: what a server holds at a rate it keeps, several times over. More
/// would wait at the server instead of here, and be waited for at the end.
const OPEN_RECORDS_MAX: u32 = 50_000;
/// How late the oldest request may be before a rate that is only tried is given up.
const GIVE_UP: Duration = Duration::from_secs(2);
/// Time of the schedule that may still wait when an open loop ends before the server counts as fallen behind.
const BEHIND: Duration = Duration::from_millis(500);

/// What is sent, and over how many connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shape {
    /// Records in a request.
    pub(super) batch: u32,
    pub(super) partitions: u16,
    pub(super) producers: u16,
    /// Requests in flight of one producer in a run for the most it can take.
    pub(super) in_flight: usize,
}

/// Records in a request, and requests in flight where it is not what comes with that many: `100`, or `1x5`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Requests {
    batch: u32,
    in_flight: Option<usize>,
}

impl FromStr for Requests {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (batch, in_flight) = match text.split_once('x') {
            Some((batch, in_flight)) => (batch, Some(in_flight.parse()?)),
            None => (text, None),
        };
        let batch = batch.parse()?;
        ensure!((1..=10_000).contains(&batch), "1 to 10,000 records");
        ensure!(
            in_flight.is_none_or(|number| (1..=64).contains(&number)),
            "1 to 64 requests in flight"
        );
        Ok(Self { batch, in_flight })
    }
}

impl Shape {
    /// Single records come from many, large batches from few.
    pub(super) fn new(requests: Requests, partitions: u16) -> Self {
        let (producers, in_flight) = match requests.batch {
            1 => (200, 1),
            2..=100 => (4, 16),
            _ => (4, 4),
        };
        Self {
            batch: requests.batch,
            partitions,
            producers,
            in_flight: requests.in_flight.unwrap_or(in_flight),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.batch)?;
        if self.batch == 1 {
            write!(f, ", {} in flight,", self.in_flight)?;
        }
        write!(f, " × {}", self.partitions)
    }
}

/// How fast.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// As fast as it is answered.
    Most,
    /// Records a second, to the end.
    Rate(f64),
    /// Records a second, as long as they are kept at all.
    Try(f64),
}

/// What came of a run, its warm-up left out.
#[derive(Debug)]
pub(super) struct Phase {
    /// Records acknowledged a second.
    pub(super) rate: f64,
    /// How long was measured: as asked for, or longer where nothing was acknowledged in that time.
    pub(super) span: Duration,
    /// Of requests, from when they were due (or sent, at the greatest pace) to their acknowledgement.
    pub(super) latency: Spread,
    /// The schedule could not be kept: what is measured is a queue that grows.
    pub(super) behind: bool,
    /// The rate was given up: answers are outstanding, and of no use.
    pub(super) given_up: bool,
    /// When requests were due, in an open loop.
    pub(super) schedule: Option<Schedule>,
}

/// Connections, and what was sent over them so far.
pub(super) struct Load {
    shape: Shape,
    epoll: OwnedFd,
    producers: Vec<Producer>,
    /// The clock of all times here.
    epoch: Instant,
}

struct Producer {
    stream: TcpStream,
    wire: Box<dyn Wire>,
    /// The partitions it sends to, and the next number of each.
    partitions: Vec<(u16, u64)>,
    turn: usize,
    out: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    filled: usize,
    /// Requests in flight, in the order of sending; those answered out of turn stay until their turn.
    in_flight: VecDeque<InFlight>,
    answered: u64,
    /// Due requests that could not be sent yet.
    waiting: VecDeque<u64>,
}

#[derive(Debug, Clone, Copy)]
struct InFlight {
    due: u64,
    /// Records not acknowledged yet.
    left: u32,
}

impl Load {
    pub(super) fn open(protocol: &dyn Protocol, shape: Shape) -> Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut producers = Vec::new();
        for number in 0..shape.producers {
            let (stream, wire) = protocol.producer(number, shape.batch)?;
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
            epoll::add(
                &epoll,
                &stream,
                EventData::new_u64(u64::from(number)),
                flags,
            )?;
            let partitions = if shape.producers >= shape.partitions {
                vec![(number % shape.partitions, 0)]
            } else {
                let mine = (number..shape.partitions).step_by(usize::from(shape.producers));
                mine.map(|partition| (partition, 0)).collect()
            };
            producers.push(Producer {
                stream,
                wire,
                partitions,
                turn: 0,
                out: Vec::new(),
                written: 0,
                input: vec![0; 64 << 10],
                filled: 0,
                in_flight: VecDeque::new(),
                answered: 0,
                waiting: VecDeque::new(),
            });
        }
        Ok(Self {
            shape,
            epoll,
            producers,
            epoch: Instant::now(),
        })
    }

    /// Records sent, and after a run also acknowledged, of each partition by producer.
    pub(super) fn sent(&self) -> Vec<BTreeMap<u16, u64>> {
        let mut sent = vec![BTreeMap::new(); usize::from(self.shape.partitions)];
        for (number, producer) in (0..).zip(&self.producers) {
            for (partition, next) in &producer.partitions {
                if *next > 0 {
                    sent[usize::from(*partition)].insert(number, *next);
                }
            }
        }
        sent
    }

    /// Sends for `warm` and `span`, measures the latter (longer while nothing at all is acknowledged), and waits for every answer unless the rate was given up.
    pub(super) fn run(&mut self, pace: Pace, warm: Duration, span: Duration) -> Result<Phase> {
        self.run_marked(pace, warm, span, &mut || ())
    }

    /// As [`Self::run`]; `mark` is called when the warm-up is over, and again when what is measured ends.
    pub(super) fn run_marked(
        &mut self,
        pace: Pace,
        warm: Duration,
        span: Duration,
        mark: &mut dyn FnMut(),
    ) -> Result<Phase> {
        let start = self.now();
        let from = start + nanos(warm);
        let mut end = from + nanos(span);
        let schedule = match pace {
            Pace::Most => None,
            Pace::Rate(rate) | Pace::Try(rate) => {
                Some(Schedule::new(start, rate / f64::from(self.shape.batch)))
            }
        };
        let mut tally = Tally {
            from,
            end,
            records: 0,
            latency: Spread::new(),
            progress: start,
        };
        let mut given_up = false;
        let mut begun = false;
        let mut dealt = 0;
        let mut ready = Vec::with_capacity(self.producers.len());
        if schedule.is_none() {
            for number in 0..self.producers.len() {
                self.refill(number, start)?;
            }
        }
        loop {
            let now = self.now();
            if !begun && now >= from {
                begun = true;
                mark();
            }
            if now >= end {
                // A server may answer in bursts further apart than a short run is long.
                let none = schedule.is_none() && tally.records == 0;
                if !none || now > tally.progress + nanos(PATIENCE) {
                    break;
                }
                end += nanos(span);
                tally.end = end;
            }
            let mut wake = if begun { end } else { from };
            if let Some(schedule) = schedule {
                let count = schedule.count(now);
                for index in dealt..count {
                    let number = (index % u64::from(self.shape.producers)) as usize;
                    let due = schedule.due(index);
                    self.producers[number].waiting.push_back(due);
                    self.drain(number)?;
                }
                dealt = count;
                wake = wake.min(schedule.due(dealt));
            }
            let late = |due: u64| due + nanos(GIVE_UP) < now;
            if matches!(pace, Pace::Try(_)) && self.oldest().is_some_and(late) {
                given_up = true;
                break;
            }
            ensure!(
                now < tally.progress + nanos(PATIENCE),
                "no request was acknowledged for {PATIENCE:?}"
            );
            self.wait(wake, &mut ready)?;
            for number in ready.drain(..) {
                self.receive(number, &mut tally)?;
                match schedule {
                    // What is measured last is sent before the end.
                    None if self.now() < end => self.refill(number, start)?,
                    None => self.producers[number].write()?,
                    Some(_) => self.drain(number)?,
                }
            }
        }
        mark();
        let late = end.saturating_sub(nanos(BEHIND));
        let behind = schedule.is_some() && self.oldest().is_some_and(|due| due < late);
        given_up |= behind && matches!(pace, Pace::Try(_));
        for producer in &mut self.producers {
            producer.waiting.clear();
        }
        tally.progress = self.now();
        while !given_up && self.producers.iter().any(|one| !one.in_flight.is_empty()) {
            let now = self.now();
            ensure!(
                now < tally.progress + nanos(PATIENCE),
                "requests were not acknowledged within {PATIENCE:?}"
            );
            self.wait(now + 100_000_000, &mut ready)?;
            for number in ready.drain(..) {
                self.receive(number, &mut tally)?;
                self.producers[number].write()?;
            }
        }
        let span = Duration::from_nanos(end - from);
        Ok(Phase {
            rate: tally.records as f64 / span.as_secs_f64(),
            span,
            latency: tally.latency,
            behind: behind || given_up,
            given_up,
            schedule,
        })
    }

    /// Sends at the greatest pace until so many records are sent (a few requests more), and waits for every answer.
    pub(super) fn fill(&mut self, records: u64) -> Result<()> {
        let start = self.now();
        let mut tally = Tally {
            // Nothing is measured.
            from: u64::MAX,
            end: u64::MAX,
            records: 0,
            latency: Spread::new(),
            progress: start,
        };
        let mut ready = Vec::with_capacity(self.producers.len());
        for number in 0..self.producers.len() {
            self.refill(number, start)?;
        }
        loop {
            let now = self.now();
            ensure!(
                now < tally.progress + nanos(PATIENCE),
                "no request was acknowledged for {PATIENCE:?}"
            );
            let partitions = self.producers.iter().flat_map(|one| &one.partitions);
            let enough = partitions.map(|(_, next)| next).sum::<u64>() >= records;
            if enough && self.producers.iter().all(|one| one.in_flight.is_empty()) {
                return Ok(());
            }
            self.wait(now + 100_000_000, &mut ready)?;
            for number in ready.drain(..) {
                self.receive(number, &mut tally)?;
                if enough {
                    self.producers[number].write()?;
                } else {
                    self.refill(number, start)?;
                }
            }
        }
    }

    /// The clock of schedules.
    pub(super) fn epoch(&self) -> Instant {
        self.epoch
    }

    fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    /// When the oldest request that is not answered was due.
    fn oldest(&self) -> Option<u64> {
        let oldest = self.producers.iter().filter_map(|producer| {
            let sent = producer.in_flight.front().map(|one| one.due);
            sent.or(producer.waiting.front().copied())
        });
        oldest.min()
    }

    /// Sends as many requests as may be in flight.
    fn refill(&mut self, number: usize, start: u64) -> Result<()> {
        let now = self.now().max(start);
        let in_flight = self.shape.in_flight;
        let batch = self.shape.batch;
        let producer = &mut self.producers[number];
        while producer.in_flight.len() < in_flight {
            producer.send(now, batch);
        }
        producer.write()
    }

    /// Sends what is due, as far as there is room.
    fn drain(&mut self, number: usize) -> Result<()> {
        let batch = self.shape.batch;
        let records_max = OPEN_RECORDS_MAX / u32::from(self.shape.producers);
        let in_flight_max = (records_max / batch).max(1) as usize;
        let producer = &mut self.producers[number];
        while producer.in_flight.len() < in_flight_max
            && producer.out.len() - producer.written < UNSENT_BYTES_MAX
            && let Some(due) = producer.waiting.pop_front()
        {
            producer.send(due, batch);
        }
        producer.write()
    }

    /// Waits for sockets, at most until `wake`.
    fn wait(&self, wake: u64, ready: &mut Vec<usize>) -> Result<()> {
        let left = wake.saturating_sub(self.now());
        // epoll itself counts in milliseconds; poll does not.
        if left > 0 {
            let timeout = Timespec {
                tv_sec: (left / 1_000_000_000) as i64,
                tv_nsec: (left % 1_000_000_000) as i64,
            };
            match poll(
                &mut [PollFd::new(&self.epoll, PollFlags::IN)],
                Some(&timeout),
            ) {
                Ok(_) | Err(rustix::io::Errno::INTR) => (),
                Err(error) => return Err(error.into()),
            }
        }
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut events = Vec::with_capacity(self.producers.len());
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut events),
            Some(&zero),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => (),
            Err(error) => return Err(error.into()),
        }
        ready.extend(events.iter().map(|event| {
            let data = event.data;
            data.u64() as usize
        }));
        Ok(())
    }

    /// Reads and counts answers.
    fn receive(&mut self, number: usize, tally: &mut Tally) -> Result<()> {
        let epoch = self.epoch;
        let producer = &mut self.producers[number];
        loop {
            if producer.filled == producer.input.len() {
                producer.input.resize(producer.input.len() * 2, 0);
            }
            let room = producer.input.len() - producer.filled;
            let read = match producer.stream.read(&mut producer.input[producer.filled..]) {
                Ok(0) => bail!("the server closed a producer's connection"),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("a producer's connection"),
            };
            producer.filled += read;
            let now = epoch.elapsed().as_nanos() as u64;
            producer.answers(now, tally)?;
            // A socket that gave less than was asked for is empty, and tells when it is not.
            if read < room {
                return Ok(());
            }
        }
    }
}

impl Producer {
    fn send(&mut self, due: u64, batch: u32) {
        let turn = self.turn;
        self.turn = (turn + 1) % self.partitions.len();
        let (partition, next) = &mut self.partitions[turn];
        self.wire.request(&mut self.out, *partition, *next);
        *next += u64::from(batch);
        self.in_flight.push_back(InFlight { due, left: batch });
    }

    fn write(&mut self) -> Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) => return Err(error).context("a producer's connection"),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    fn answers(&mut self, now: u64, tally: &mut Tally) -> Result<()> {
        let (in_flight, answered) = (&mut self.in_flight, self.answered);
        let taken = self.wire.answers(
            &self.input[..self.filled],
            &mut self.out,
            &mut |number: u64, records: u32| {
                let place = (number - answered) as usize;
                if let Some(one) = in_flight.get_mut(place) {
                    one.left -= records;
                    tally.records(now, records);
                    if one.left == 0 {
                        tally.request(one.due, now);
                    }
                }
            },
        )?;
        self.input.copy_within(taken..self.filled, 0);
        self.filled -= taken;
        while self.in_flight.front().is_some_and(|one| one.left == 0) {
            self.in_flight.pop_front();
            self.answered += 1;
        }
        Ok(())
    }
}

struct Tally {
    from: u64,
    end: u64,
    /// Acknowledged between the two.
    records: u64,
    latency: Spread,
    /// When the last acknowledgement came.
    progress: u64,
}

impl Tally {
    fn records(&mut self, now: u64, records: u32) {
        self.progress = now;
        if (self.from..self.end).contains(&now) {
            self.records += u64::from(records);
        }
    }

    fn request(&mut self, due: u64, now: u64) {
        // Also what is answered after the end: leaving it out would hide the slowest.
        if (self.from..self.end).contains(&due) {
            self.latency
                .add(Duration::from_nanos(now.saturating_sub(due)));
        }
    }
}

fn nanos(time: Duration) -> u64 {
    time.as_nanos() as u64
}
