//! The path every sample of a record takes: a 2.0 request into a store.
//!
//! A sender that writes the same series again and again writes the same symbol table again and again.
//! What its label references lead to is remembered per table, so a known series costs a look at its
//! reference bytes instead of building and hashing its labels.

use std::collections::HashMap;

use super::v2::{RequestV2, SeriesV2};
use super::wire::WireError;
use crate::Error;
use crate::index::SeriesId;
use crate::store::{Appended, Store};
use crate::watch::Touched;

/// Symbol tables remembered. One per steady sender; the one not used for longest goes first.
const TABLES_MAX: usize = 64;

/// What a request did to the store.
#[derive(Debug, Default)]
pub struct Applied {
    /// Samples that are in now and were not before.
    pub stored: usize,
    /// Samples that were there already, with the same or another value.
    pub known: usize,
    /// Samples outside the store's time window.
    pub outside: usize,
    /// Samples of series the store refused.
    pub refused: usize,
    /// Why the first of those was refused.
    pub first_refusal: Option<Error>,
}

/// Puts requests into one store. Keep one per reader of the topic.
#[derive(Debug, Default)]
pub struct Applier {
    tables: Vec<Table>,
    round: u64,
}

#[derive(Debug)]
struct Table {
    hash: u64,
    symbols: Vec<Box<str>>,
    /// What label references lead to.
    series: HashMap<Box<[u32]>, SeriesId, ahash::RandomState>,
    used: u64,
}

impl Applier {
    /// An applier that knows no table yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts the 2.0 request `bytes` into `store` and marks the watches it touches. Always use one
    /// applier with one store.
    ///
    /// # Errors
    /// [`WireError`] when `bytes` is no such request. What came before the fault is in.
    pub fn apply(
        &mut self,
        store: &Store,
        bytes: &[u8],
        touched: &mut Touched,
    ) -> Result<Applied, WireError> {
        let request = RequestV2::parse(bytes)?;
        let table = self.table(&request);
        let mut applied = Applied::default();
        for series in request.series() {
            let series = series?;
            let mut id = table.series.get(series.refs()).copied();
            for (timestamp, value) in series.samples() {
                // At most one more round: a series just made is not collected at once.
                for _ in 0..2 {
                    let Some(known) =
                        id.or_else(|| table.resolve(store, &request, &series, &mut applied))
                    else {
                        break;
                    };
                    id = Some(known);
                    match store.append_id(known, timestamp, value, touched) {
                        Appended::Stored | Appended::StoredLate => applied.stored += 1,
                        Appended::Duplicate | Appended::Conflict => applied.known += 1,
                        Appended::TooOld | Appended::TooNew => applied.outside += 1,
                        Appended::Gone => {
                            id = None;
                            continue;
                        }
                    }
                    break;
                }
            }
        }
        Ok(applied)
    }

    fn table(&mut self, request: &RequestV2<'_>) -> &mut Table {
        self.round += 1;
        let same = |table: &Table| {
            table.hash == request.symbols_hash()
                && table
                    .symbols
                    .iter()
                    .map(|s| &**s)
                    .eq(request.symbols().iter().copied())
        };
        let found = self.tables.iter().position(same);
        let at = found.unwrap_or_else(|| {
            if self.tables.len() >= TABLES_MAX {
                let oldest = (0..self.tables.len()).min_by_key(|at| self.tables[*at].used);
                self.tables.swap_remove(oldest.unwrap_or_default());
            }
            self.tables.push(Table {
                hash: request.symbols_hash(),
                symbols: request.symbols().iter().map(|s| (*s).into()).collect(),
                series: HashMap::with_hasher(ahash::RandomState::with_seeds(1, 2, 3, 4)),
                used: 0,
            });
            self.tables.len() - 1
        });
        self.tables[at].used = self.round;
        &mut self.tables[at]
    }
}

impl Table {
    /// Finds or makes the series in the store and remembers it.
    fn resolve(
        &mut self,
        store: &Store,
        request: &RequestV2<'_>,
        series: &SeriesV2<'_>,
        applied: &mut Applied,
    ) -> Option<SeriesId> {
        let given = request.given(series, store.options());
        match store.resolve_given(given) {
            Ok(id) => {
                self.series.insert(series.refs().into(), id);
                Some(id)
            }
            Err(reason) => {
                applied.refused += 1;
                applied.first_refusal.get_or_insert(reason);
                None
            }
        }
    }
}
