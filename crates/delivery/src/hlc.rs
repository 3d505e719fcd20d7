//! Hybrid logical time: close to the clock, and never before its causes.
//!
//! A record made because of another carries a time after that of its cause, also when the machine's clock
//! went back or the cause's clock is ahead. Written into the header `x-hlc` as `MILLIS-COUNT`.
//! Source: S. Kulkarni et al., "Logical Physical Clocks", 2014, section 3.

use std::fmt;
use std::str::FromStr;

use model::Timestamp;

/// A hybrid logical time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hlc {
    /// Unix milliseconds: the largest seen.
    pub millis: i64,
    /// Tells times of one millisecond apart.
    pub count: u32,
}

impl Hlc {
    /// The header that carries it.
    pub const HEADER: &'static str = "x-hlc";

    /// The time of a record made at `now` because of one at `self`.
    #[must_use]
    pub fn after(self, now: Timestamp) -> Self {
        if now.millis() > self.millis {
            return Self {
                millis: now.millis(),
                count: 0,
            };
        }
        match self.count.checked_add(1) {
            Some(count) => Self { count, ..self },
            None => Self {
                millis: self.millis.saturating_add(1),
                count: 0,
            },
        }
    }
}

impl From<Timestamp> for Hlc {
    fn from(at: Timestamp) -> Self {
        Self {
            millis: at.millis(),
            count: 0,
        }
    }
}

impl fmt::Display for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.count)
    }
}

/// Why a text is no hybrid logical time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseHlcError;

impl fmt::Display for ParseHlcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a hybrid logical time is written MILLIS-COUNT")
    }
}

impl std::error::Error for ParseHlcError {}

impl FromStr for Hlc {
    type Err = ParseHlcError;

    fn from_str(text: &str) -> Result<Self, ParseHlcError> {
        let (millis, count) = text.rsplit_once('-').ok_or(ParseHlcError)?;
        Ok(Self {
            millis: millis.parse().map_err(|_| ParseHlcError)?,
            count: count.parse().map_err(|_| ParseHlcError)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effect_is_always_after_its_cause() {
        let cause: Hlc = "1000-4294967294".parse().unwrap();
        let mut before = cause;
        for now in [900, 1_000, 1_001, 1_001, 5] {
            let effect = before.after(Timestamp::from_millis(now));
            assert!(effect > before, "{effect} after {before}");
            assert_eq!(effect.to_string().parse(), Ok(effect));
            before = effect;
        }
        assert!(before.millis <= 1_002, "it stays near the clock: {before}");
        for text in ["", "5", "-", "a-1", "1-a", "1--1"] {
            assert!(text.parse::<Hlc>().is_err(), "{text}");
        }
        assert_eq!(
            "-5-1".parse(),
            Ok(Hlc {
                millis: -5,
                count: 1
            })
        );
    }
}
