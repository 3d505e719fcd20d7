//! Which series a selector wants, one condition on one label each.
//!
//! A label that is not there has the empty value, so `zone=""` and `zone!~".+"` want series without a
//! zone. Regular expressions match the whole value; their dialect is RE2's (see `pattern`).

use std::fmt;

use regex::Regex;

use crate::Error;
use crate::pattern;

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// The operator as PromQL writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// One condition on one label.
///
/// ```
/// use series::{MatchOp, Matcher};
/// let matcher = Matcher::new(MatchOp::Regex, "job", "a|b.*").unwrap();
/// assert!(matcher.matches("bus") && !matcher.matches("xa"));
/// ```
#[derive(Clone)]
pub struct Matcher {
    name: Box<str>,
    op: MatchOp,
    value: Box<str>,
    test: Test,
}

/// What is really done to compare; `Equal` and `NotEqual` are exact.
#[derive(Clone)]
enum Test {
    Exact,
    /// The pattern is a list of plain words.
    Words(Box<[Box<str>]>),
    /// The pattern is `.*` or `.+`.
    Anything {
        or_nothing: bool,
    },
    Pattern(Regex),
}

impl Matcher {
    /// The condition that label `name` compares to `value` by `op`.
    ///
    /// # Errors
    /// [`Error::Pattern`] when `value` is no regular expression but has to be one.
    pub fn new(op: MatchOp, name: &str, value: &str) -> Result<Self, Error> {
        let test = match op {
            MatchOp::Equal | MatchOp::NotEqual => Test::Exact,
            MatchOp::Regex | MatchOp::NotRegex => Test::of_pattern(value)?,
        };
        Ok(Self {
            name: name.into(),
            op,
            value: value.into(),
            test,
        })
    }

    /// The condition that label `name` has exactly `value`; an empty value means "is not there".
    pub fn equal(name: &str, value: &str) -> Self {
        Self {
            name: name.into(),
            op: MatchOp::Equal,
            value: value.into(),
            test: Test::Exact,
        }
    }

    /// The label looked at.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The comparison.
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// The text compared with, as given.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether a label with `value` (empty: no such label) fulfils the condition.
    pub fn matches(&self, value: &str) -> bool {
        match self.op {
            MatchOp::Equal => *self.value == *value,
            MatchOp::NotEqual => *self.value != *value,
            MatchOp::Regex => self.test.holds(value),
            MatchOp::NotRegex => !self.test.holds(value),
        }
    }

    /// Whether series without the label fulfil the condition.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }

    /// The only values that can match, if they are known without looking at the index.
    pub(crate) fn literal_values(&self) -> Option<Vec<&str>> {
        match (self.op, &self.test) {
            (MatchOp::Equal, _) => Some(vec![&self.value]),
            (MatchOp::Regex, Test::Words(words)) => Some(words.iter().map(|w| &**w).collect()),
            _ => None,
        }
    }
}

impl Test {
    fn of_pattern(pattern: &str) -> Result<Self, Error> {
        match pattern {
            ".*" => return Ok(Self::Anything { or_nothing: true }),
            ".+" => return Ok(Self::Anything { or_nothing: false }),
            _ => (),
        }
        if !pattern.contains(pattern::is_special) {
            return Ok(Self::Words(pattern.split('|').map(Into::into).collect()));
        }
        pattern::compile(pattern).map(Self::Pattern)
    }

    fn holds(&self, value: &str) -> bool {
        match self {
            Self::Exact => false,
            Self::Words(words) => words.iter().any(|word| **word == *value),
            Self::Anything { or_nothing } => *or_nothing || !value.is_empty(),
            Self::Pattern(regex) => regex.is_match(value),
        }
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.op == other.op && self.value == other.value
    }
}

impl Eq for Matcher {}

impl std::hash::Hash for Matcher {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (&self.name, self.op, &self.value).hash(state);
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:?}", self.name, self.op.as_str(), self.value)
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(op: MatchOp, pattern: &str, good: &[&str], bad: &[&str]) {
        let matcher = Matcher::new(op, "l", pattern).unwrap();
        for value in good {
            assert!(matcher.matches(value), "{matcher} should match {value:?}");
        }
        for value in bad {
            assert!(
                !matcher.matches(value),
                "{matcher} should not match {value:?}"
            );
        }
    }

    #[test]
    fn patterns_match_the_whole_value() {
        check(
            MatchOp::Regex,
            "a.c",
            &["abc", "a\nc"],
            &["abcd", "xabc", ""],
        );
        check(MatchOp::Regex, "a|b", &["a", "b"], &["ab", "a|b", ""]);
        check(MatchOp::Regex, "a|b.*", &["a", "b", "bus"], &["ab"]);
        check(MatchOp::Regex, ".+", &["x"], &[""]);
        check(MatchOp::Regex, ".*", &["", "x"], &[]);
        check(MatchOp::Regex, "", &[""], &["x"]);
        check(MatchOp::Regex, "a|", &["", "a"], &["b"]);
        check(MatchOp::NotRegex, "a|b.*", &["", "c"], &["a", "bus"]);
    }

    #[test]
    fn exact_matchers_compare_text() {
        check(MatchOp::Equal, "a.c", &["a.c"], &["abc"]);
        check(MatchOp::NotEqual, "a", &["", "b"], &["a"]);
    }

    #[test]
    fn a_broken_pattern_is_named() {
        let error = Matcher::new(MatchOp::Regex, "l", "a(b").unwrap_err();
        assert!(error.to_string().contains("a(b"), "{error}");
    }
}
