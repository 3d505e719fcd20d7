//! A series' identity: its label set.
//!
//! Invariants: names are unique and sorted by bytes, no name and no value is empty (a label without a
//! value is a label that is not there), and the hash is computed once. Cloning costs one reference.
//! Not here: limits on labels (`Store`), matching (`Matcher`).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use serde::ser::{Serialize, SerializeMap, Serializer};

/// The label that holds the metric's name.
pub const METRIC_NAME: &str = "__name__";

/// Sorted, unique labels, cheap to clone, compare and hash.
///
/// ```
/// use series::Labels;
/// let up = Labels::new([("__name__", "up"), ("job", "lantern"), ("zone", "")]).unwrap();
/// assert_eq!(up.get("job"), Some("lantern"));
/// assert_eq!(up.get("zone"), None); // an empty value is no label
/// assert_eq!(up.to_string(), r#"up{job="lantern"}"#);
/// ```
#[derive(Clone)]
pub struct Labels(Arc<Inner>);

struct Inner {
    hash: u64,
    /// Name, value, name, value, … without separators.
    text: Box<str>,
    /// Where each name and each value ends in `text`.
    ends: Box<[u32]>,
}

/// Two labels of one set have the same name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("label '{name}' is given twice")]
pub struct DuplicateLabel {
    /// The name.
    pub name: String,
}

impl DuplicateLabel {
    /// Looks for a name that comes twice in `sorted`.
    pub(crate) fn find(sorted: &[(&str, &str)]) -> Result<(), Self> {
        match sorted.windows(2).find(|two| two[0].0 == two[1].0) {
            Some(twice) => Err(Self {
                name: twice[0].0.to_owned(),
            }),
            None => Ok(()),
        }
    }
}

impl Labels {
    /// The labels of `pairs` in any order; pairs with an empty name or value are left out.
    ///
    /// # Errors
    /// [`DuplicateLabel`] when a name comes twice.
    pub fn new<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, DuplicateLabel> {
        let mut pairs: Vec<(&str, &str)> = pairs.into_iter().filter(is_there).collect();
        pairs.sort_unstable_by(|a, b| a.0.cmp(b.0));
        DuplicateLabel::find(&pairs)?;
        Ok(Self::from_sorted(&pairs))
    }

    /// The labels of `pairs` in any order; of pairs with one name the last one counts, and an empty
    /// value takes the label away. For label sets that code writes down.
    pub fn of(pairs: &[(&str, &str)]) -> Self {
        let mut builder = LabelsBuilder::default();
        for (name, value) in pairs {
            builder.set(name, value);
        }
        builder.build()
    }

    /// No labels.
    pub fn empty() -> Self {
        static EMPTY: OnceLock<Labels> = OnceLock::new();
        EMPTY.get_or_init(|| Self::from_sorted(&[])).clone()
    }

    /// `pairs` must be sorted, unique and without empty texts.
    pub(crate) fn from_sorted(pairs: &[(&str, &str)]) -> Self {
        let length = pairs.iter().map(|(n, v)| n.len() + v.len()).sum();
        let mut text = String::with_capacity(length);
        let mut ends = Vec::with_capacity(pairs.len() * 2);
        for (name, value) in pairs {
            text.push_str(name);
            ends.push(end_of(&text));
            text.push_str(value);
            ends.push(end_of(&text));
        }
        let mut hasher = hash_state().build_hasher();
        hasher.write(text.as_bytes());
        for end in &ends {
            hasher.write_u32(*end);
        }
        Self(Arc::new(Inner {
            hash: hasher.finish(),
            text: text.into(),
            ends: ends.into(),
        }))
    }

    /// The value of label `name`; `None` when the set has no such label.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// The metric's name, if there is one.
    pub fn metric_name(&self) -> Option<&str> {
        self.get(METRIC_NAME)
    }

    /// Names and values, sorted by name.
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            text: &self.0.text,
            ends: self.0.ends.chunks_exact(2),
            at: 0,
        }
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.0.ends.len() / 2
    }

    /// Whether there is no label at all.
    pub fn is_empty(&self) -> bool {
        self.0.ends.is_empty()
    }

    /// Bytes of all names and values.
    pub fn text_len(&self) -> usize {
        self.0.text.len()
    }

    /// The cached hash: equal sets have equal hashes within one build of Lantern.
    pub fn hash_value(&self) -> u64 {
        self.0.hash
    }

    /// These labels with `name` set to `value`; an empty value takes it away.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut builder = self.to_builder();
        builder.set(name, value);
        builder.build()
    }

    /// These labels but those named.
    #[must_use]
    pub fn without(&self, names: &[&str]) -> Self {
        if !self.iter().any(|(n, _)| names.contains(&n)) {
            return self.clone();
        }
        self.filter(|name| !names.contains(&name))
    }

    /// Only the named ones of these labels.
    #[must_use]
    pub fn only(&self, names: &[&str]) -> Self {
        self.filter(|name| names.contains(&name))
    }

    /// The labels whose name `keep` wants.
    #[must_use]
    pub fn filter(&self, keep: impl Fn(&str) -> bool) -> Self {
        let pairs: Vec<_> = self.iter().filter(|(name, _)| keep(name)).collect();
        Self::from_sorted(&pairs)
    }

    /// These labels without the metric's name.
    #[must_use]
    pub fn without_name(&self) -> Self {
        self.without(&[METRIC_NAME])
    }

    /// A builder that starts with these labels.
    pub fn to_builder(&self) -> LabelsBuilder {
        LabelsBuilder {
            pairs: self.iter().map(|(n, v)| (n.into(), v.into())).collect(),
        }
    }
}

/// Whether the pair is a label at all.
pub(crate) fn is_there(pair: &(&str, &str)) -> bool {
    !pair.0.is_empty() && !pair.1.is_empty()
}

/// A label set beyond 4 GiB is cut off by every limit there is long before.
fn end_of(text: &str) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

/// Fixed seeds: engines draw no randomness, and a replay must walk the same way twice.
fn hash_state() -> &'static ahash::RandomState {
    static STATE: OnceLock<ahash::RandomState> = OnceLock::new();
    STATE.get_or_init(|| ahash::RandomState::with_seeds(0x1a, 0x2b, 0x3c, 0x4d))
}

/// Labels under construction.
#[derive(Debug, Clone, Default)]
pub struct LabelsBuilder {
    /// Sorted by name.
    pairs: Vec<(Box<str>, Box<str>)>,
}

impl LabelsBuilder {
    /// Sets `name` to `value`, over what was there; an empty value takes the label away.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        match self.pairs.binary_search_by(|(n, _)| (**n).cmp(name)) {
            Ok(at) if value.is_empty() => drop(self.pairs.remove(at)),
            Ok(at) => self.pairs[at].1 = value.into(),
            Err(_) if value.is_empty() || name.is_empty() => (),
            Err(at) => self.pairs.insert(at, (name.into(), value.into())),
        }
        self
    }

    /// Takes `name` away.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.set(name, "")
    }

    /// The value `name` has so far.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.pairs.binary_search_by(|(n, _)| (**n).cmp(name));
        at.ok().map(|at| &*self.pairs[at].1)
    }

    /// The finished set.
    pub fn build(&self) -> Labels {
        let pairs: Vec<(&str, &str)> = self.pairs.iter().map(|(n, v)| (&**n, &**v)).collect();
        Labels::from_sorted(&pairs)
    }
}

/// Names and values of one [`Labels`], sorted by name.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    text: &'a str,
    ends: std::slice::ChunksExact<'a, u32>,
    at: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let ends = self.ends.next()?;
        let (name_end, value_end) = (ends[0] as usize, ends[1] as usize);
        let pair = (
            &self.text[self.at..name_end],
            &self.text[name_end..value_end],
        );
        self.at = value_end;
        Some(pair)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ends.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.hash == other.0.hash
                && self.0.text == other.0.text
                && self.0.ends == other.0.ends)
    }
}

impl Eq for Labels {}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

/// As Prometheus writes a series: `name{label="value"}`, `{label="value"}`, `{}`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.metric_name();
        f.write_str(name.unwrap_or_default())?;
        let mut rest = self.iter().filter(|(n, _)| *n != METRIC_NAME).peekable();
        if rest.peek().is_none() && name.is_some() {
            return Ok(());
        }
        f.write_str("{")?;
        let mut first = true;
        for (label, value) in rest {
            if !first {
                f.write_str(", ")?;
            }
            first = false;
            if is_plain_label_name(label) {
                write!(f, "{label}={value:?}")?;
            } else {
                write!(f, "{label:?}={value:?}")?;
            }
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As the query API writes it: an object of names and values.
impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (name, value) in self {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Whether `name` is a label name of Prometheus' classic form, `[a-zA-Z_][a-zA-Z0-9_]*`, which needs
/// no quotes in PromQL.
pub fn is_plain_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether `name` is a metric name of Prometheus' classic form, `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub fn is_plain_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || matches!(b, b'_' | b':'))
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_arrival_does_not_matter() {
        let a = Labels::new([("b", "2"), ("a", "1")]).unwrap();
        let b = Labels::of(&[("a", "0"), ("b", "2"), ("a", "1")]);
        assert_eq!(a, b);
        assert_eq!(a.hash_value(), b.hash_value());
        assert_eq!(a.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
    }

    #[test]
    fn a_shifted_border_is_another_set() {
        assert_ne!(Labels::of(&[("ab", "c")]), Labels::of(&[("a", "bc")]));
    }

    #[test]
    fn a_name_given_twice_is_refused() {
        let error = Labels::new([("a", "1"), ("a", "2")]).unwrap_err();
        assert_eq!(error.to_string(), "label 'a' is given twice");
    }

    #[test]
    fn editing_leaves_the_rest() {
        let labels = Labels::of(&[("__name__", "up"), ("job", "x"), ("host", "y")]);
        assert_eq!(labels.without_name().to_string(), r#"{host="y", job="x"}"#);
        assert_eq!(labels.only(&["job"]).to_string(), r#"{job="x"}"#);
        assert_eq!(labels.with("job", "").to_string(), r#"up{host="y"}"#);
        assert_eq!(labels.only(&["__name__"]).to_string(), "up");
        assert_eq!(Labels::empty().to_string(), "{}");
    }

    #[test]
    fn sets_sort_by_name_then_value() {
        let mut sets = [
            Labels::of(&[("b", "1")]),
            Labels::of(&[("a", "2")]),
            Labels::of(&[("a", "1"), ("b", "1")]),
            Labels::of(&[("a", "1")]),
        ];
        sets.sort();
        let texts: Vec<String> = sets.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                r#"{a="1"}"#,
                r#"{a="1", b="1"}"#,
                r#"{a="2"}"#,
                r#"{b="1"}"#
            ]
        );
    }
}
