//! Buckets by name: one for each client, one for each topic, and never more than so many.
//!
//! Invariants: a name's debt is never forgotten; at most `max` names are kept. A bucket that is full again is as a new
//! one, so dropping it forgets nothing: that is what goes when there is no room. When all of them owe something, names
//! that come then share one bucket: inventing names buys nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Rate, TokenBucket};

/// How long to wait after a search for full buckets found none.
const SEARCH_PAUSE: Duration = Duration::from_secs(1);

/// A bounded number of buckets by name.
#[derive(Debug)]
pub struct Buckets {
    max: usize,
    named: BTreeMap<Box<str>, TokenBucket>,
    shared: Option<TokenBucket>,
    search_at: Duration,
}

impl Buckets {
    /// Room for `max` names.
    pub const fn new(max: usize) -> Self {
        Self {
            max,
            named: BTreeMap::new(),
            shared: None,
            search_at: Duration::ZERO,
        }
    }

    /// The bucket of `name`, which has this rate: a new one where there is none, or where the rate is another by now.
    pub fn get(&mut self, name: &str, rate: Rate, now: Duration) -> &mut TokenBucket {
        // Looked up twice, since the borrow of a find would outlive the branch that inserts.
        if !self.named.contains_key(name) {
            if self.named.len() >= self.max {
                self.search(now);
            }
            if self.named.len() >= self.max {
                return renewed(
                    self.shared.get_or_insert_with(|| TokenBucket::new(rate)),
                    rate,
                );
            }
            self.named.insert(name.into(), TokenBucket::new(rate));
        }
        let bucket = self.named.entry(name.into());
        renewed(bucket.or_insert_with(|| TokenBucket::new(rate)), rate)
    }

    /// How long until `name` owes nothing; makes no bucket.
    pub fn delay(&mut self, name: &str, now: Duration) -> Duration {
        let full = self.named.len() >= self.max;
        let bucket = match self.named.get_mut(name) {
            Some(bucket) => Some(bucket),
            None if full => self.shared.as_mut(),
            None => None,
        };
        bucket.map_or(Duration::ZERO, |bucket| bucket.delay(now))
    }

    /// Names kept now.
    pub fn len(&self) -> usize {
        self.named.len()
    }

    /// Whether no name is kept.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    fn search(&mut self, now: Duration) {
        if now < self.search_at {
            return;
        }
        self.named.retain(|_, bucket| !bucket.is_full(now));
        if self.named.len() >= self.max {
            self.search_at = now.saturating_add(SEARCH_PAUSE);
        }
    }
}

fn renewed(bucket: &mut TokenBucket, rate: Rate) -> &mut TokenBucket {
    if bucket.rate() != rate {
        *bucket = TokenBucket::new(rate);
    }
    bucket
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const RATE: Rate = Rate::per_second(100);

    fn charge(buckets: &mut Buckets, name: &str, tokens: u64, now: Duration) -> Duration {
        buckets.get(name, RATE, now).charge(tokens, now)
    }

    #[test]
    fn names_do_not_share_and_paid_ones_make_room() {
        let mut buckets = Buckets::new(2);
        assert_eq!(charge(&mut buckets, "a", 300, SECOND), 2 * SECOND);
        assert_eq!(charge(&mut buckets, "b", 100, SECOND), Duration::ZERO);
        assert_eq!(buckets.delay("b", SECOND), Duration::ZERO);
        // `b` is full again two seconds later, and `a` is not.
        assert_eq!(charge(&mut buckets, "c", 100, 3 * SECOND), Duration::ZERO);
        assert_eq!(buckets.len(), 2);
        assert_eq!(charge(&mut buckets, "a", 100, 3 * SECOND), SECOND);
    }

    #[test]
    fn invented_names_share_one_bucket_when_there_is_no_room() {
        let mut buckets = Buckets::new(10);
        let mut admitted = 0_u32;
        for name in 0..10_000 {
            let now = SECOND + Duration::from_millis(name);
            let name = name.to_string();
            if buckets.delay(&name, now).is_zero() {
                charge(&mut buckets, &name, 5_000, now);
                admitted += 1;
            }
        }
        assert_eq!(buckets.len(), 10);
        assert!(admitted < 20, "{admitted} got through at once");
    }

    #[test]
    fn another_rate_is_in_force_at_once() {
        let mut buckets = Buckets::new(10);
        charge(&mut buckets, "a", 100_000, SECOND);
        let fast = Rate::per_second(1_000_000);
        assert_eq!(buckets.get("a", fast, SECOND).delay(SECOND), Duration::ZERO);
    }
}
