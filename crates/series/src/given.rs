//! The labels that a request gives a series, looked at before any of them is copied.
//!
//! Many series of one request may refer to one long text, so the request's own length does not bound what
//! copies of its texts take.

use crate::Error;
use crate::labels::{DuplicateLabel, Labels, METRIC_NAME, is_there};
use crate::store::{StoreOptions, cut};

/// Labels in the order they come; those without a name or a value are left out.
#[derive(Debug)]
pub(crate) struct Given<'a> {
    /// One more than is allowed, at most.
    pairs: Vec<(&'a str, &'a str)>,
    /// How many there are.
    count: usize,
    most: usize,
}

impl<'a> Given<'a> {
    pub(crate) fn new(limits: &StoreOptions) -> Self {
        Self {
            pairs: Vec::with_capacity(8),
            count: 0,
            most: limits.labels_max,
        }
    }

    pub(crate) fn push(&mut self, pair: (&'a str, &'a str)) {
        if !is_there(&pair) {
            return;
        }
        self.count += 1;
        if self.pairs.len() <= self.most {
            self.pairs.push(pair);
        }
    }

    /// Says which of the limits they break.
    pub(crate) fn limited(&self, limits: &StoreOptions) -> Result<(), Error> {
        limits.check(self.count, self.pairs.iter().copied())
    }

    /// Puts them in order and says why they name no series. They are within the limits, or to compare them might take long.
    pub(crate) fn sound(&mut self) -> Result<(), Error> {
        self.pairs.sort_unstable_by(|a, b| a.0.cmp(b.0));
        if !self.pairs.iter().any(|(name, _)| *name == METRIC_NAME) {
            return Err(Error::NoMetricName {
                labels: cut(self.pairs.iter().copied()),
            });
        }
        Ok(DuplicateLabel::find(&self.pairs)?)
    }

    /// Bytes that [`build`](Self::build) takes for names, values, and where they end.
    pub(crate) fn bytes(&self) -> usize {
        let texts: usize = self.pairs.iter().map(|(n, v)| n.len() + v.len()).sum();
        texts + self.pairs.len() * 2 * size_of::<u32>()
    }

    /// The labels, copied. They are sound.
    pub(crate) fn build(&self) -> Labels {
        Labels::from_sorted(&self.pairs)
    }
}
