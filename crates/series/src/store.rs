//! The series of the last hours, in memory.
//!
//! Invariants: within the retention a sample of any age is taken, in or out of order; a timestamp keeps
//! the first value it got; readers work on shared, finished chunks and hold no lock while they unpack.
//! The store reads no clock: [`Store::advance`] and [`Store::gc`] tell it the time.
//!
//! Locks, in this order: the index (shared by appends and reads, alone for new and collected series),
//! then one series' samples.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use model::Timestamp;
use parking_lot::RwLock;

use crate::Error;
use crate::body::Taken;
use crate::chunk::{Chunk, Samples};
use crate::given::Given;
use crate::index::{Entry, Index, SeriesId};
use crate::labels::{Labels, METRIC_NAME};
use crate::matcher::Matcher;
use crate::watch::{Touched, WatchId};

/// Characters of a series' text in an error.
const SHOWN_CHARS: usize = 200;

/// What a store may hold.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// How long samples are kept, by their own timestamps. Default 6 h.
    pub retention: Duration,
    /// How far ahead of the store's time a timestamp may be. Default 10 min.
    pub future_max: Duration,
    /// Most series. Default 1,000,000.
    pub series_max: usize,
    /// Most labels of one series, the metric name included. Default 64.
    pub labels_max: usize,
    /// Longest label name in bytes. Default 512.
    pub label_name_bytes_max: usize,
    /// Longest label value in bytes. Default 4,096.
    pub label_value_bytes_max: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            retention: Duration::from_hours(6),
            future_max: Duration::from_mins(10),
            series_max: 1_000_000,
            labels_max: 64,
            label_name_bytes_max: 512,
            label_value_bytes_max: 4_096,
        }
    }
}

impl StoreOptions {
    /// Which limit a series of `count` labels breaks; `labels` are the first of them at least.
    pub(crate) fn check<'a>(
        &self,
        count: usize,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), Error> {
        if count > self.labels_max {
            return Err(Error::TooManyLabels {
                labels: cut(labels),
                count,
                limit: self.labels_max,
            });
        }
        for (name, value) in labels {
            if name.len() > self.label_name_bytes_max {
                return Err(Error::LabelNameTooLong {
                    name: name.chars().take(40).collect(),
                    length: name.len(),
                    limit: self.label_name_bytes_max,
                });
            }
            if value.len() > self.label_value_bytes_max {
                return Err(Error::LabelValueTooLong {
                    name: name.to_owned(),
                    length: value.len(),
                    limit: self.label_value_bytes_max,
                });
            }
        }
        Ok(())
    }
}

/// What became of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Appended {
    /// It is the newest of its series.
    Stored,
    /// It is in, between older ones of its series.
    StoredLate,
    /// It was there already; nothing changed.
    Duplicate,
    /// Its timestamp was there with another value; the first one stays.
    Conflict,
    /// It is older than the retention.
    TooOld,
    /// It is too far in the future.
    TooNew,
    /// The series of this id was collected; resolve its labels again.
    Gone,
}

impl Appended {
    /// Whether the series changed.
    pub const fn is_stored(self) -> bool {
        matches!(self, Self::Stored | Self::StoredLate)
    }
}

/// What happened to samples and series since the store was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Series now.
    pub series: u64,
    /// Series ever made.
    pub series_created: u64,
    /// Series collected.
    pub series_removed: u64,
    /// Samples taken in order.
    pub stored: u64,
    /// Samples taken out of order.
    pub stored_late: u64,
    /// Samples that were there already.
    pub duplicates: u64,
    /// Samples whose timestamp was there with another value.
    pub conflicts: u64,
    /// Samples refused for being older than the retention.
    pub too_old: u64,
    /// Samples refused for being too far in the future.
    pub too_new: u64,
    /// Series refused by a limit.
    pub series_refused: u64,
}

/// How much the store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Series.
    pub series: u64,
    /// Samples.
    pub samples: u64,
    /// Bytes the samples take, the index aside.
    pub sample_bytes: u64,
    /// Oldest timestamp.
    pub oldest: Option<Timestamp>,
    /// Newest timestamp.
    pub newest: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Counts {
    series_created: AtomicU64,
    series_removed: AtomicU64,
    stored: AtomicU64,
    stored_late: AtomicU64,
    duplicates: AtomicU64,
    conflicts: AtomicU64,
    too_old: AtomicU64,
    too_new: AtomicU64,
    series_refused: AtomicU64,
}

/// The store. Share it by `Arc`; every method takes `&self`.
///
/// ```
/// use model::Timestamp;
/// use series::{Labels, Matcher, Store, StoreOptions};
///
/// let store = Store::new(StoreOptions::default());
/// let up = Labels::of(&[("__name__", "up"), ("job", "lantern")]);
/// for second in 0..10 {
///     store.append(&up, Timestamp::from_millis(second * 1_000), 1.0).unwrap();
/// }
/// let from = Timestamp::from_millis(5_000);
/// let found = store.select(&[Matcher::equal("job", "lantern")], from, Timestamp::MAX);
/// assert_eq!(found[0].samples.clone().count(), 5);
/// ```
#[derive(Debug)]
pub struct Store {
    options: StoreOptions,
    index: RwLock<Index>,
    /// Changes whenever a series comes or goes.
    generation: AtomicU64,
    /// Milliseconds; `i64::MIN` until the store was told.
    now: AtomicI64,
    counts: Counts,
}

/// A series and its samples within the time asked for.
#[derive(Debug, Clone)]
pub struct Series {
    /// The series.
    pub labels: Labels,
    /// Its samples in order.
    pub samples: Samples,
}

/// A series of a store, found once and read often. Keeps reading what is left of the series after it
/// was collected; watch [`Store::generation`] to find its successor.
#[derive(Debug, Clone)]
pub struct SeriesRef(Arc<Entry>);

impl SeriesRef {
    /// The series.
    pub fn labels(&self) -> &Labels {
        &self.0.labels
    }

    /// Its id in the store.
    pub fn id(&self) -> SeriesId {
        self.0.id
    }

    /// The samples within `[from, to]`.
    pub fn samples(&self, from: Timestamp, to: Timestamp) -> Samples {
        let (from, to) = (from.millis(), to.millis());
        let chunks = self.0.body.lock().chunks(from, to);
        Samples::new(chunks, from, to)
    }

    /// The newest sample within `[from, to]`; costs next to nothing when that is the newest of all.
    pub fn newest(&self, from: Timestamp, to: Timestamp) -> Option<(Timestamp, f64)> {
        let body = self.0.body.lock();
        if let Some((timestamp, value)) = body.newest() {
            if timestamp < from.millis() {
                return None;
            }
            if timestamp <= to.millis() {
                return Some((Timestamp::from_millis(timestamp), value));
            }
        }
        let chunks = body.chunks(from.millis(), to.millis());
        drop(body);
        Samples::new(chunks, from.millis(), to.millis()).newest()
    }
}

impl Store {
    /// An empty store.
    pub fn new(options: StoreOptions) -> Self {
        Self {
            options,
            index: RwLock::new(Index::new()),
            generation: AtomicU64::new(0),
            now: AtomicI64::new(i64::MIN),
            counts: Counts::default(),
        }
    }

    /// The options it was made with.
    pub fn options(&self) -> &StoreOptions {
        &self.options
    }

    /// Tells the store the time, which bounds the timestamps taken from here on. Until it is told, it
    /// takes any.
    pub fn advance(&self, now: Timestamp) {
        self.now.fetch_max(now.millis(), Relaxed);
    }

    /// A number that changes whenever a series comes or goes, so that what was found by matchers can
    /// be kept as long as it stays the same.
    pub fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// The id of the series of `labels`, which is made if it is not there.
    ///
    /// # Errors
    /// One of the limits of [`StoreOptions`], by name.
    pub fn resolve(&self, labels: &Labels) -> Result<SeriesId, Error> {
        self.entry(labels).map(|entry| entry.id)
    }

    /// Like [`resolve`](Self::resolve), for labels of which nothing is copied unless they are good.
    pub(crate) fn resolve_given(&self, mut given: Given<'_>) -> Result<SeriesId, Error> {
        given
            .limited(&self.options)
            .inspect_err(|_| self.count(&self.counts.series_refused))?;
        given.sound()?;
        self.resolve(&given.build())
    }

    fn entry(&self, labels: &Labels) -> Result<Arc<Entry>, Error> {
        if let Some(entry) = self.index.read().find(labels) {
            return Ok(Arc::clone(entry));
        }
        self.options
            .check(labels.len(), labels.iter())
            .inspect_err(|_| self.count(&self.counts.series_refused))?;
        let mut index = self.index.write();
        if let Some(entry) = index.find(labels) {
            return Ok(Arc::clone(entry));
        }
        if index.len() >= self.options.series_max {
            self.count(&self.counts.series_refused);
            return Err(Error::TooManySeries {
                labels: cut(labels.iter()),
                limit: self.options.series_max,
            });
        }
        let entry = index.insert(labels);
        self.generation.fetch_add(1, Relaxed);
        self.count(&self.counts.series_created);
        Ok(entry)
    }

    /// Takes in one sample of the series of `labels`.
    ///
    /// # Errors
    /// One of the limits of [`StoreOptions`], by name, when the series would be new.
    pub fn append(&self, labels: &Labels, at: Timestamp, value: f64) -> Result<Appended, Error> {
        let mut touched = Touched::new();
        self.append_touching(labels, at, value, &mut touched)
    }

    /// Like [`append`](Self::append), and marks the watches that want to hear of it.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_touching(
        &self,
        labels: &Labels,
        at: Timestamp,
        value: f64,
        touched: &mut Touched,
    ) -> Result<Appended, Error> {
        if let Some(refusal) = self.refusal(at.millis()) {
            return Ok(refusal);
        }
        loop {
            let id = self.resolve(labels)?;
            let appended = self.append_id(id, at, value, touched);
            // A collection may come between the two; the next round makes the series anew.
            if appended != Appended::Gone {
                return Ok(appended);
            }
        }
    }

    /// Takes in one sample of a resolved series and marks the watches that want to hear of it.
    pub fn append_id(
        &self,
        id: SeriesId,
        at: Timestamp,
        value: f64,
        touched: &mut Touched,
    ) -> Appended {
        if let Some(refusal) = self.refusal(at.millis()) {
            return refusal;
        }
        let index = self.index.read();
        let Some(entry) = index.get(id) else {
            return Appended::Gone;
        };
        let mut body = entry.body.lock();
        let taken = body.append(at.millis(), value);
        if matches!(taken, Taken::InOrder | Taken::Late) {
            for watch in &body.watches {
                touched.set(*watch);
            }
        }
        drop(body);
        let (count, appended) = match taken {
            Taken::InOrder => (&self.counts.stored, Appended::Stored),
            Taken::Late => (&self.counts.stored_late, Appended::StoredLate),
            Taken::Same => (&self.counts.duplicates, Appended::Duplicate),
            Taken::Other => (&self.counts.conflicts, Appended::Conflict),
        };
        self.count(count);
        appended
    }

    /// Every series with its chunks, one after another: what is not asked for yet is as it is then.
    pub(crate) fn contents(&self) -> impl Iterator<Item = (Labels, Vec<Arc<Chunk>>)> {
        let entries: Vec<Arc<Entry>> = self.index.read().entries().cloned().collect();
        entries.into_iter().map(|entry| {
            let chunks = entry.body.lock().chunks(i64::MIN, i64::MAX);
            (entry.labels.clone(), chunks)
        })
    }

    /// Makes the series of `labels` of `chunks`; false if it has samples already, or if these are out of order.
    pub(crate) fn adopt(&self, labels: &Labels, chunks: Vec<Chunk>) -> Result<bool, Error> {
        let count = chunks.iter().map(|chunk| u64::from(chunk.count)).sum();
        let adopted = self.entry(labels)?.body.lock().adopt(chunks);
        if adopted {
            self.counts.stored.fetch_add(count, Relaxed);
        }
        Ok(adopted)
    }

    /// Why a sample of time `at` is not taken, counted.
    fn refusal(&self, at: i64) -> Option<Appended> {
        let now = self.now.load(Relaxed);
        if now == i64::MIN {
            return None;
        }
        let now = Timestamp::from_millis(now);
        if at < now.minus(self.options.retention).millis() {
            self.count(&self.counts.too_old);
            return Some(Appended::TooOld);
        }
        if at > now.plus(self.options.future_max).millis() {
            self.count(&self.counts.too_new);
            return Some(Appended::TooNew);
        }
        None
    }

    #[expect(clippy::unused_self, reason = "reads as what it does")]
    fn count(&self, count: &AtomicU64) {
        count.fetch_add(1, Relaxed);
    }

    /// The series that fulfil all `matchers`, whether or not they have samples now. For queries that
    /// are asked again and again: keep the answer while [`generation`](Self::generation) stays.
    pub fn find(&self, matchers: &[Matcher]) -> Vec<SeriesRef> {
        self.index
            .read()
            .select(matchers)
            .into_iter()
            .map(SeriesRef)
            .collect()
    }

    /// The series that fulfil all `matchers` and may have samples within `[from, to]`, with those.
    pub fn select(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Vec<Series> {
        let found = self.find(matchers).into_iter();
        let in_time = found.filter(|series| overlaps(series, from, to));
        let read = |series: SeriesRef| Series {
            samples: series.samples(from, to),
            labels: series.labels().clone(),
        };
        in_time.map(read).collect()
    }

    /// The labels of the series that fulfil all `matchers` and may have samples within `[from, to]`,
    /// sorted.
    pub fn series(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Vec<Labels> {
        let found = self.find(matchers).into_iter();
        let in_time = found.filter(|series| overlaps(series, from, to));
        let mut labels: Vec<Labels> = in_time.map(|series| series.labels().clone()).collect();
        labels.sort_unstable();
        labels
    }

    /// The label names of those series, sorted; of all there are when `matchers` is empty.
    pub fn label_names(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Vec<String> {
        let names: BTreeSet<String> = if matchers.is_empty() {
            self.index.read().names().map(str::to_owned).collect()
        } else {
            let series = self.series(matchers, from, to);
            series
                .iter()
                .flatten()
                .map(|(name, _)| name.to_owned())
                .collect()
        };
        names.into_iter().collect()
    }

    /// The values label `name` has in those series, sorted; in all there are when `matchers` is empty.
    pub fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Vec<String> {
        let values: BTreeSet<String> = if matchers.is_empty() {
            self.index
                .read()
                .values(name)
                .map(|(value, _)| value.to_owned())
                .collect()
        } else {
            let series = self.series(matchers, from, to);
            series
                .iter()
                .filter_map(|s| s.get(name))
                .map(str::to_owned)
                .collect()
        };
        values.into_iter().collect()
    }

    /// The `limit` metric names with the most series, and how many they have.
    pub fn biggest_metrics(&self, limit: usize) -> Vec<(String, usize)> {
        let index = self.index.read();
        let mut names: Vec<(&str, usize)> = index.values(METRIC_NAME).collect();
        names.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        names
            .into_iter()
            .take(limit)
            .map(|(name, count)| (name.to_owned(), count))
            .collect()
    }

    /// Asks to hear of new samples of the series that fulfil all `matchers`, now and later.
    pub fn watch(&self, matchers: Vec<Matcher>) -> WatchId {
        WatchId(self.index.write().watch(matchers))
    }

    /// Takes a watch back.
    pub fn unwatch(&self, watch: WatchId) {
        self.index.write().unwatch(watch.0);
    }

    /// Drops chunks older than the retention before `now`, and series that have none left. Returns
    /// the samples and the series dropped. Call it every minute or so.
    pub fn gc(&self, now: Timestamp) -> (u64, usize) {
        self.advance(now);
        let cutoff = now.minus(self.options.retention).millis();
        let entries: Vec<Arc<Entry>> = self.index.read().entries().cloned().collect();
        let mut dropped = 0;
        let mut empty = Vec::new();
        for entry in entries {
            let mut body = entry.body.lock();
            dropped += body.drop_before(cutoff);
            if body.is_empty() {
                drop(body);
                empty.push(entry);
            }
        }
        if empty.is_empty() {
            return (dropped, 0);
        }
        let mut index = self.index.write();
        // Appends hold the index, so what is still empty now stays so until it is gone.
        empty.retain(|entry| entry.body.lock().is_empty());
        index.remove(&empty);
        drop(index);
        self.generation.fetch_add(1, Relaxed);
        self.counts
            .series_removed
            .fetch_add(empty.len() as u64, Relaxed);
        (dropped, empty.len())
    }

    /// What happened so far; cheap.
    pub fn counters(&self) -> Counters {
        let counts = &self.counts;
        Counters {
            series: self.index.read().len() as u64,
            series_created: counts.series_created.load(Relaxed),
            series_removed: counts.series_removed.load(Relaxed),
            stored: counts.stored.load(Relaxed),
            stored_late: counts.stored_late.load(Relaxed),
            duplicates: counts.duplicates.load(Relaxed),
            conflicts: counts.conflicts.load(Relaxed),
            too_old: counts.too_old.load(Relaxed),
            too_new: counts.too_new.load(Relaxed),
            series_refused: counts.series_refused.load(Relaxed),
        }
    }

    /// How much is held; walks all series.
    pub fn stats(&self) -> Stats {
        let entries: Vec<Arc<Entry>> = self.index.read().entries().cloned().collect();
        let mut stats = Stats {
            series: entries.len() as u64,
            ..Stats::default()
        };
        for entry in entries {
            let body = entry.body.lock();
            let (samples, bytes) = body.size();
            stats.samples += samples;
            stats.sample_bytes += bytes as u64;
            if let Some((first, last)) = body.bounds() {
                let (first, last) = (Timestamp::from_millis(first), Timestamp::from_millis(last));
                stats.oldest = Some(stats.oldest.map_or(first, |oldest| oldest.min(first)));
                stats.newest = stats.newest.max(Some(last));
            }
        }
        stats
    }
}

fn overlaps(series: &SeriesRef, from: Timestamp, to: Timestamp) -> bool {
    let bounds = series.0.body.lock().bounds();
    bounds.is_some_and(|(first, last)| first <= to.millis() && last >= from.millis())
}

/// A series' text, short enough for an error; of labels that are long or many only the start is looked at.
pub(crate) fn cut<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut chars = 0;
    let mut few = Vec::new();
    for (name, value) in labels {
        if chars <= SHOWN_CHARS || name == METRIC_NAME {
            let pair = (start(name), start(value));
            chars += pair.0.chars().count() + pair.1.chars().count();
            few.push(pair);
        }
    }
    few.sort_unstable();
    let text = Labels::from_sorted(&few).to_string();
    match start(&text) {
        cut if cut.len() < text.len() => format!("{cut}…"),
        _ => text,
    }
}

fn start(text: &str) -> &str {
    let end = text.char_indices().nth(SHOWN_CHARS).map(|(end, _)| end);
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}
