//! What members subscribe to, and which topics that is right now.
//!
//! Invariants: equal subscriptions are one in memory and are resolved once; a pattern matches whole
//! names, and never those of Lantern's own topics (`lantern.…`), which must be named.
//!
//! A pattern is RE2's dialect (`series`). It is compiled when a member first brings it and when topics
//! change, and not kept: what is kept is which topics matched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::TopicId;

use super::Topics;
use crate::Error;

/// Longest pattern, in bytes.
pub(crate) const REGEX_BYTES_MAX: usize = 4 << 10;

/// Most bytes of names of one subscription. A thousand members' records, all of which may be stored
/// in one batch, stay below the largest batch; who reads more topics uses a pattern.
pub(crate) const NAMES_BYTES_MAX: usize = 32 << 10;

/// What a member reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Subscription {
    /// Topics by name, sorted, each once. They need not exist.
    pub(crate) names: Vec<Arc<str>>,
    /// And all that match this.
    pub(crate) regex: Option<Arc<str>>,
}

impl Subscription {
    pub(crate) fn new(mut names: Vec<Arc<str>>, regex: Option<Arc<str>>) -> Self {
        names.sort_unstable();
        names.dedup();
        let regex = regex.filter(|pattern| !pattern.is_empty());
        Self { names, regex }
    }

    /// The topics it is, of those there are.
    ///
    /// # Errors
    /// [`Error::InvalidRegex`].
    fn resolve(&self, topics: &Topics) -> Result<BTreeSet<TopicId>, Error> {
        let named = self.names.iter().filter_map(|name| topics.named(name));
        let mut found: BTreeSet<_> = named.map(|topic| topic.id).collect();
        if let Some(pattern) = &self.regex {
            let matches = compile(pattern)?;
            let matching = topics
                .iter()
                .filter(|(name, _)| !name.is_internal() && matches(name.as_str()));
            found.extend(matching.map(|(_, topic)| topic.id));
        }
        Ok(found)
    }
}

/// Whether a whole name matches `pattern`.
fn compile(pattern: &str) -> Result<impl Fn(&str) -> bool, Error> {
    let invalid = |reason: String| Error::InvalidRegex {
        pattern: pattern.chars().take(100).collect(),
        reason,
    };
    if pattern.len() > REGEX_BYTES_MAX {
        return Err(invalid(format!(
            "it has {} bytes, {REGEX_BYTES_MAX} are allowed",
            pattern.len()
        )));
    }
    let regex = series::anchored_pattern(pattern).map_err(|error| {
        let cause = std::error::Error::source(&error);
        invalid(cause.map_or_else(|| error.to_string(), ToString::to_string))
    })?;
    Ok(move |name: &str| regex.is_match(name))
}

/// The distinct subscriptions of one group with the topics they are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subscriptions {
    resolved: BTreeMap<Arc<Subscription>, Arc<BTreeSet<TopicId>>>,
}

impl Subscriptions {
    /// The one that is equal to this, with its topics.
    ///
    /// # Errors
    /// [`Error::InvalidRegex`].
    pub(crate) fn intern(
        &mut self,
        subscription: Subscription,
        topics: &Topics,
    ) -> Result<Arc<Subscription>, Error> {
        if let Some((known, _)) = self.resolved.get_key_value(&subscription) {
            return Ok(Arc::clone(known));
        }
        let found = subscription.resolve(topics)?;
        let subscription = Arc::new(subscription);
        self.resolved
            .insert(Arc::clone(&subscription), Arc::new(found));
        Ok(subscription)
    }

    /// The topics of one that was interned.
    pub(crate) fn topics(&self, of: &Subscription) -> Arc<BTreeSet<TopicId>> {
        self.resolved.get(of).cloned().unwrap_or_default()
    }

    /// Resolves all of them anew, since topics changed.
    pub(crate) fn refresh(&mut self, topics: &Topics) {
        for (subscription, found) in &mut self.resolved {
            // It compiled before, or it was stored by a version that took it.
            *found = Arc::new(subscription.resolve(topics).unwrap_or_default());
        }
    }

    /// Forgets those that no member has any more.
    pub(crate) fn prune(&mut self) {
        self.resolved
            .retain(|subscription, _| Arc::strong_count(subscription) > 1);
    }

    /// Every topic that somebody reads.
    pub(crate) fn union(&self) -> BTreeSet<TopicId> {
        let all = self.resolved.values();
        all.flat_map(|topics| topics.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::Topic;

    fn topics(names: &[&str]) -> Topics {
        let each = names.iter().zip(1..);
        each.map(|(name, byte)| {
            let topic = Topic {
                id: TopicId::from_bytes([byte; 16]),
                partitions: 1,
            };
            (name.parse().unwrap(), topic)
        })
        .collect()
    }

    fn found(names: &[&str], regex: Option<&str>) -> Result<Vec<u8>, Error> {
        let topics = topics(&["orders", "orders.dlq", "rides", "lantern.groups"]);
        let names = names.iter().map(|name| Arc::from(*name)).collect();
        let subscription = Subscription::new(names, regex.map(Arc::from));
        let found = subscription.resolve(&topics)?;
        Ok(found.into_iter().map(|id| id.bytes()[0]).collect())
    }

    #[test]
    fn names_and_patterns_add_up_and_patterns_match_whole_names() {
        assert_eq!(found(&["rides", "nowhere", "rides", ""], None), Ok(vec![3]));
        assert_eq!(found(&[], Some("orders")), Ok(vec![1]));
        assert_eq!(found(&["rides"], Some("orders.*")), Ok(vec![1, 2, 3]));
        assert_eq!(found(&[], Some("^ord.*|ri[d]es$")), Ok(vec![1, 2, 3]));
        assert_eq!(found(&[], Some(r"\Qorders.\E\w+")), Ok(vec![2]), "as RE2");
        assert_eq!(found(&[], Some(".*")), Ok(vec![1, 2, 3]), "Lantern's own");
        assert_eq!(found(&["lantern.groups"], Some("")), Ok(vec![4]));
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        for (pattern, why) in [("(", "unclosed group"), ("a{2,1}", "invalid repetition")] {
            let error = found(&[], Some(pattern)).unwrap_err();
            assert!(matches!(error, Error::InvalidRegex { .. }));
            assert!(error.to_string().contains(why), "{error}");
        }
        let long = "a".repeat(REGEX_BYTES_MAX + 1);
        assert!(found(&[], Some(&long)).is_err());
        assert!(found(&[], Some(r"(\w{1000}){1000}")).is_err(), "too big");
        assert!(found(&[], Some(r"(?=ahead)")).is_err(), "not in RE2");
    }

    #[test]
    fn equal_subscriptions_are_one_and_unused_ones_go() {
        let mut all = Subscriptions::default();
        let topics = topics(&["a", "b"]);
        let of = |name: &str| Subscription::new(vec![name.into()], None);
        let first = all.intern(of("a"), &topics).unwrap();
        let second = all.intern(of("a"), &topics).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        let other = all.intern(of("b"), &topics).unwrap();
        assert_eq!(all.union().len(), 2);
        drop(other);
        all.prune();
        assert_eq!(all.union().len(), 1);
        all.refresh(&self::topics(&["b"]));
        assert_eq!(all.union().len(), 0, "the topic vanished");
    }
}
