//! A duration as Prometheus writes it: `150ms`, `30s`, `1h30m`, `7d`, `0`.
//!
//! Source: the duration syntax of Prometheus' configuration (units y, w, d, h, m, s, ms, each at
//! most once, from large to small; a year is 365 days).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A span of time with millisecond resolution, from 0 to about 584 million years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HumanDuration(Duration);

/// Unit names with their length in milliseconds, from large to small.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Why a text is not a duration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{text}' is not a duration: write for example 150ms, 30s, 5m, 1h30m or 7d")]
pub struct ParseDurationError {
    text: String,
}

impl HumanDuration {
    /// Wraps a standard duration; what is below a millisecond is not printed.
    pub const fn new(duration: Duration) -> Self {
        Self(duration)
    }

    /// The standard duration.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<Duration> for HumanDuration {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, length) in UNITS {
            // As Prometheus prints them: years and weeks only when they leave nothing over.
            let whole_only = matches!(unit, "y" | "w");
            if left >= length && (!whole_only || left.is_multiple_of(length)) {
                write!(f, "{}{unit}", left / length)?;
                left %= length;
            }
        }
        Ok(())
    }
}

impl FromStr for HumanDuration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseDurationError {
            text: text.to_owned(),
        };
        if text == "0" {
            return Ok(Self::default());
        }
        let mut rest = text;
        let mut total: u64 = 0;
        let mut next_unit = 0;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let number: u64 = rest[..digits].parse().map_err(|_| error())?;
            rest = &rest[digits..];
            let length = rest
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(rest.len());
            let index = UNITS
                .iter()
                .position(|(unit, _)| *unit == &rest[..length])
                .filter(|index| *index >= next_unit)
                .ok_or_else(error)?;
            next_unit = index + 1;
            rest = &rest[length..];
            let millis = number.checked_mul(UNITS[index].1).ok_or_else(error)?;
            total = total.checked_add(millis).ok_or_else(error)?;
        }
        if text.is_empty() {
            return Err(error());
        }
        Ok(Self(Duration::from_millis(total)))
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, millis: u64, printed: &str) {
        let duration: HumanDuration = text.parse().unwrap();
        assert_eq!(duration.get(), Duration::from_millis(millis), "{text}");
        assert_eq!(duration.to_string(), printed);
        assert_eq!(printed.parse::<HumanDuration>().unwrap(), duration);
    }

    #[test]
    fn durations_as_prometheus_writes_them() {
        check("0", 0, "0s");
        check("150ms", 150, "150ms");
        check("90s", 90_000, "1m30s");
        check("1h30m", 5_400_000, "1h30m");
        check("2w", 14 * 86_400_000, "2w");
        check("8d", 8 * 86_400_000, "8d");
        check("1d12h", 129_600_000, "1d12h");
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in [
            "",
            "5",
            "m",
            "1.5h",
            "-1s",
            "1s1m",
            "1s1s",
            "5 m",
            "99999999999999999999s",
        ] {
            assert!(text.parse::<HumanDuration>().is_err(), "{text}");
        }
    }
}
