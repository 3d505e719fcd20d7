//! Events of topics on their way to cells: the direct path, no query in between.
//!
//! One task follows each partition and takes its records into an [`Intake`]; the board empties it at
//! each beat. So an event is on screen one beat after it became readable, and however fast events come,
//! what waits is bounded: sums, a fixed ring of counts and the newest rows of tickers.
//!
//! Arrival of an event, for the frame's stamps: the record's timestamp when it lies within
//! [`STAMP_TRUST`] before now, which makes the measured way include produce and fsync; else the moment
//! the follower saw it. Events from before the board was looked at are history and carry no stamp.
//!
//! Not here: tailing (`follow`), JSON and templates (`rows`).

use std::collections::VecDeque;
use std::time::Duration;

use model::{Timestamp, TopicName};
use record::Record;

use crate::cells::Events;
use crate::plan::Plan;
use crate::schema::Show;

mod follow;
mod rates;
mod rows;

pub(crate) use follow::follow_topic;
use rates::RateWindow;
pub(crate) use rows::{RawRow, RowBuilder};

/// How old a record's own timestamp may be to count as its arrival.
pub(crate) const STAMP_TRUST: Duration = Duration::from_secs(10);

/// What a board takes from one topic.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) topic: TopicName,
    events: Events,
    /// Records ever published, once known: the ends of all partitions when they were first seen, and
    /// every record since.
    total: Option<u64>,
    rates: Vec<Rate>,
    tickers: Vec<Ticker>,
    /// Partitions whose history is still being read; `None` until the topic was looked for.
    behind: Option<u32>,
}

#[derive(Debug)]
struct Rate {
    /// Place in the plan's counts.
    count: usize,
    types: Vec<String>,
    window: RateWindow,
}

#[derive(Debug)]
struct Ticker {
    /// Place in the plan's tickers.
    place: usize,
    types: Vec<String>,
    most: usize,
    rows: VecDeque<RawRow>,
}

/// What an intake held.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) events: Events,
    pub(crate) total: Option<u64>,
    /// Place in the plan's counts, and events per second.
    pub(crate) rates: Vec<(usize, f64)>,
    /// Place in the plan's tickers, and its new rows in the order of their times.
    pub(crate) rows: Vec<(usize, Vec<RawRow>)>,
}

impl Intake {
    /// What `plan` wants from `topic`.
    pub(crate) fn new(plan: &Plan, topic: &TopicName) -> Self {
        let rates = plan.counts.iter().enumerate();
        let rates = rates.filter(|(_, it)| it.topic == *topic && it.show == Show::Rate);
        let tickers = plan
            .tickers
            .iter()
            .enumerate()
            .filter(|(_, it)| it.topic == *topic);
        Self {
            topic: topic.clone(),
            events: Events::default(),
            total: None,
            behind: None,
            rates: rates
                .map(|(count, it)| Rate {
                    count,
                    types: it.types.clone(),
                    window: RateWindow::new(it.window),
                })
                .collect(),
            tickers: tickers
                .map(|(ticker, it)| Ticker {
                    place: ticker,
                    types: it.types.clone(),
                    most: it.rows,
                    rows: VecDeque::new(),
                })
                .collect(),
        }
    }

    /// How far back history is of use: rows for tickers, time for rates.
    pub(crate) fn history(&self) -> (usize, Duration) {
        let rows = self
            .tickers
            .iter()
            .map(|ticker| ticker.most)
            .max()
            .unwrap_or(0);
        let span = self.rates.iter().map(|rate| rate.window.span()).max();
        (rows, span.unwrap_or(Duration::ZERO))
    }

    /// The topic was looked for: so many partitions have history to read.
    pub(crate) fn expect_history(&mut self, partitions: u32) {
        self.behind.get_or_insert(partitions);
    }

    /// One partition's history is read.
    pub(crate) fn history_read(&mut self) {
        self.behind = self.behind.map(|behind| behind.saturating_sub(1));
    }

    /// Whether all history is in.
    pub(crate) fn has_history(&self) -> bool {
        self.behind == Some(0)
    }

    /// Counts the records a partition already had.
    pub(crate) fn add_total(&mut self, count: u64) {
        self.total = Some(self.total.unwrap_or(0) + count);
    }

    /// Takes one record. `left` is how many follow it in its batch, `live` whether it is new.
    pub(crate) fn take(&mut self, record: &Record<'_>, left: u64, live: bool, now_ns: i64) {
        let now = Timestamp::from_millis(now_ns.div_euclid(1_000_000));
        let at_ns = arrival(record.timestamp, now_ns);
        if live {
            self.events.add(at_ns);
            self.total = self.total.map(|total| total + 1);
        }
        let kind = record.headers.get("ce_type").flatten();
        let wanted = |types: &[String]| {
            types.is_empty() || types.iter().any(|it| Some(it.as_bytes()) == kind)
        };
        for rate in self.rates.iter_mut().filter(|rate| wanted(&rate.types)) {
            rate.window.add(if live { now } else { record.timestamp });
        }
        for ticker in self
            .tickers
            .iter_mut()
            .filter(|ticker| wanted(&ticker.types))
        {
            // Behind it in this batch are enough to push it out again: do not copy it first.
            if ticker.types.is_empty()
                && usize::try_from(left).is_ok_and(|left| left >= ticker.most)
            {
                continue;
            }
            ticker.push(RawRow::copy(record), live);
        }
    }

    /// Takes everything out, with the rates as of `now`.
    pub(crate) fn drain(&mut self, now: Timestamp) -> Taken {
        let rows = self
            .tickers
            .iter_mut()
            .filter(|ticker| !ticker.rows.is_empty());
        let rows = rows.map(|ticker| {
            let mut rows: Vec<_> = ticker.rows.drain(..).collect();
            rows.sort_by_key(|row| row.timestamp);
            (ticker.place, rows)
        });
        Taken {
            events: std::mem::take(&mut self.events),
            total: self.total,
            rows: rows.collect(),
            rates: self
                .rates
                .iter_mut()
                .map(|rate| (rate.count, rate.window.per_second(now)))
                .collect(),
        }
    }
}

impl Ticker {
    /// Keeps a row: news at the end, history by its time, because partitions are read side by side.
    fn push(&mut self, row: RawRow, live: bool) {
        let place = if live {
            self.rows.len()
        } else {
            self.rows
                .partition_point(|kept| kept.timestamp <= row.timestamp)
        };
        self.rows.insert(place, row);
        if self.rows.len() > self.most {
            self.rows.pop_front();
        }
    }
}

/// When an event arrived, in Unix nanoseconds.
fn arrival(timestamp: Timestamp, now_ns: i64) -> u64 {
    let said = timestamp.millis().saturating_mul(1_000_000);
    let trust = i64::try_from(STAMP_TRUST.as_nanos()).unwrap_or(i64::MAX);
    let trusted = said <= now_ns && now_ns - said <= trust;
    u64::try_from(if trusted { said } else { now_ns }).unwrap_or(0)
}

#[cfg(test)]
mod tests;
