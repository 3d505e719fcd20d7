//! Topic configuration as text: every key with its kind, default and meaning, read and printed.
//!
//! Invariants: printing and reading a [`TopicConfig`] round-trips; an unknown key or a bad value is
//! refused by name, never ignored; every key of [`KEYS`] can be shown with its default.
//!
//! Keys and value formats are those of Kafka's topic configuration (its documentation, section
//! "Topic-Level Configs"), so that existing tools and scripts work. Not here: what a key does to
//! the log, which is `embedded`.

mod cleanup;
mod keys;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use stdx::ByteSize;

pub use cleanup::{Cleanup, CleanupPolicy, DirtyRatio};
pub use keys::KEYS;

use crate::{Durability, Error, TimestampKind, TopicConfig};

/// The smallest segment a topic may ask for.
pub const SEGMENT_BYTES_MIN: u64 = 1 << 10;

/// The largest segment a topic may ask for: positions in a segment are 31 bits in the index.
pub const SEGMENT_BYTES_MAX: u64 = (1 << 31) - 1;

/// One key of a topic's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigKey {
    /// The key, as tools write it.
    pub name: &'static str,
    /// What its values look like.
    pub kind: ConfigKind,
    /// Its value when nobody set it.
    pub default: &'static str,
    /// Whether Lantern acts on it; otherwise it is only kept and shown.
    pub active: bool,
    /// What it means, in a sentence.
    pub doc: &'static str,
}

/// What values of a key look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigKind {
    /// `true` or `false`.
    Bool,
    /// A whole number in `[min, max]`.
    Number {
        /// The smallest allowed.
        min: i64,
        /// The largest allowed.
        max: i64,
    },
    /// A number from 0 to 1.
    Fraction,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Some of these words, with commas between.
    Words(&'static [&'static str]),
    /// Any text.
    Text,
}

/// A key with the value it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// The key.
    pub key: &'static ConfigKey,
    /// The value in force.
    pub value: String,
    /// Whether the value is that of a topic nobody configured.
    pub is_default: bool,
}

/// The key called `name`.
pub fn config_key(name: &str) -> Option<&'static ConfigKey> {
    KEYS.binary_search_by(|key| key.name.cmp(name))
        .ok()
        .and_then(|index| KEYS.get(index))
}

impl TopicConfig {
    /// Reads `entries` over `base`: keys that are not named keep the value of `base`.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for the first key that is unknown or value that cannot be.
    pub fn from_entries<'a>(
        base: &Self,
        entries: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Error> {
        let mut config = base.clone();
        for (key, value) in entries {
            config.set(key, Some(value))?;
        }
        Ok(config)
    }

    /// Sets one key; `None` puts its default back.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] when the key is unknown or the value cannot be; nothing changed.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), Error> {
        let given = value.unwrap_or_default();
        let key = config_key(name).ok_or_else(|| invalid(name, given, "there is no such key"))?;
        let value = value.map_or(key.default, str::trim);
        key.check(value)?;
        match key.name {
            "cleanup.policy" => self.cleanup.policy = CleanupPolicy::of(value),
            "delete.retention.ms" => {
                self.cleanup.delete_retention = Duration::from_millis(unsigned(value));
            }
            "max.compaction.lag.ms" => {
                self.cleanup.max_lag =
                    (value != key.default).then(|| Duration::from_millis(unsigned(value)));
            }
            "min.cleanable.dirty.ratio" => self.cleanup.dirty_ratio = DirtyRatio::of(value),
            "min.compaction.lag.ms" => {
                self.cleanup.min_lag = Duration::from_millis(unsigned(value));
            }
            "lantern.durability" => {
                self.durability = match value {
                    "written" => Durability::Written,
                    _ => Durability::Flushed,
                }
            }
            "max.message.bytes" => self.batch_bytes = ByteSize::from_bytes(unsigned(value)),
            "message.timestamp.type" => {
                self.timestamps = match value {
                    "LogAppendTime" => TimestampKind::LogAppend,
                    _ => TimestampKind::Create,
                }
            }
            "retention.bytes" => {
                self.retention_bytes = limit(value).map(ByteSize::from_bytes);
            }
            "retention.ms" => self.retention = limit(value).map(Duration::from_millis),
            "segment.bytes" => self.segment_bytes = ByteSize::from_bytes(unsigned(value)),
            "segment.ms" => self.segment_age = Duration::from_millis(unsigned(value)),
            name if value == key.default => {
                self.inert.remove(name);
            }
            name => {
                self.inert.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(())
    }

    /// Every key with its value, in alphabetical order.
    pub fn entries(&self) -> Vec<ConfigEntry> {
        KEYS.iter()
            .map(|key| {
                let value = self.value_of(key);
                ConfigEntry {
                    key,
                    is_default: value == key.default,
                    value,
                }
            })
            .collect()
    }

    /// The keys whose values are not the default, with their values: the least text from which
    /// [`TopicConfig::from_entries`] over the default makes this configuration again.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        self.entries()
            .into_iter()
            .filter(|entry| !entry.is_default)
            .map(|entry| (entry.key.name.to_owned(), entry.value))
            .collect()
    }

    /// Checks values that were set in code rather than read.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for the first value that cannot be.
    pub fn validate(&self) -> Result<(), Error> {
        for name in self.inert.keys() {
            match config_key(name) {
                None => return Err(invalid(name, &self.inert[name], "there is no such key")),
                Some(key) if key.active => {
                    return Err(invalid(
                        name,
                        &self.inert[name],
                        "it has a field of its own",
                    ));
                }
                Some(_) => (),
            }
        }
        let Cleanup {
            min_lag, max_lag, ..
        } = self.cleanup;
        if max_lag.is_some_and(|max| max < min_lag) {
            let value = min_lag.as_millis().to_string();
            let reason = "it must not be longer than max.compaction.lag.ms";
            return Err(invalid("min.compaction.lag.ms", &value, reason));
        }
        self.entries()
            .iter()
            .try_for_each(|entry| entry.key.check(&entry.value))
    }

    fn value_of(&self, key: &ConfigKey) -> String {
        let millis = |span: Duration| {
            i64::try_from(span.as_millis())
                .unwrap_or(i64::MAX)
                .to_string()
        };
        let bytes = |size: ByteSize| size.bytes().to_string();
        let none = || "-1".to_owned();
        match key.name {
            "cleanup.policy" => self.cleanup.policy.text().to_owned(),
            "delete.retention.ms" => millis(self.cleanup.delete_retention),
            "max.compaction.lag.ms" => {
                let max = self.cleanup.max_lag;
                max.map_or_else(|| key.default.to_owned(), millis)
            }
            "min.cleanable.dirty.ratio" => self.cleanup.dirty_ratio.get().to_string(),
            "min.compaction.lag.ms" => millis(self.cleanup.min_lag),
            "lantern.durability" => match self.durability {
                Durability::Flushed => "flushed".to_owned(),
                Durability::Written => "written".to_owned(),
            },
            "max.message.bytes" => bytes(self.batch_bytes),
            "message.timestamp.type" => match self.timestamps {
                TimestampKind::Create => "CreateTime".to_owned(),
                TimestampKind::LogAppend => "LogAppendTime".to_owned(),
            },
            "retention.bytes" => self.retention_bytes.map_or_else(none, bytes),
            "retention.ms" => self.retention.map_or_else(none, millis),
            "segment.bytes" => bytes(self.segment_bytes),
            "segment.ms" => millis(self.segment_age),
            name => self
                .inert
                .get(name)
                .cloned()
                .unwrap_or_else(|| key.default.to_owned()),
        }
    }
}

impl ConfigKey {
    /// Checks that `value` can be this key's.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] with what is allowed.
    pub fn check(&self, value: &str) -> Result<(), Error> {
        let refuse = |reason: String| Err(invalid(self.name, value, reason));
        match self.kind {
            ConfigKind::Bool if matches!(value, "true" | "false") => Ok(()),
            ConfigKind::Bool => refuse("write true or false".to_owned()),
            ConfigKind::Number { min, max } => match value.parse::<i64>() {
                Ok(number) if (min..=max).contains(&number) => Ok(()),
                Ok(_) if max == i64::MAX => refuse(format!("it must be at least {min}")),
                Ok(_) => refuse(format!("it must be from {min} to {max}")),
                Err(_) => refuse("write a whole number".to_owned()),
            },
            ConfigKind::Fraction => match value.parse::<f64>() {
                Ok(number) if (0.0..=1.0).contains(&number) => Ok(()),
                _ => refuse("write a number from 0 to 1".to_owned()),
            },
            ConfigKind::Word(words) if words.contains(&value) => Ok(()),
            ConfigKind::Word(words) => refuse(format!("write one of {}", list(words))),
            ConfigKind::Words(words)
                if value.is_empty()
                    || value.split(',').all(|word| words.contains(&word.trim())) =>
            {
                Ok(())
            }
            ConfigKind::Words(words) => refuse(format!(
                "write some of {} with commas between, or nothing",
                list(words)
            )),
            ConfigKind::Text => Ok(()),
        }
    }
}

fn list(words: &[&str]) -> String {
    let mut text = String::new();
    for (index, word) in words.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let _ = write!(text, "{comma}{word}");
    }
    text
}

/// A number that was checked not to be negative.
fn unsigned(value: &str) -> u64 {
    value.parse().unwrap_or_default()
}

/// A number that was checked, where -1 means that there is no limit.
fn limit(value: &str) -> Option<u64> {
    value.parse().ok()
}

fn invalid(key: &str, value: &str, reason: impl Into<String>) -> Error {
    Error::InvalidConfig {
        key: key.to_owned(),
        value: value.to_owned(),
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str, value: &str) -> Result<TopicConfig, Error> {
        TopicConfig::from_entries(&TopicConfig::default(), [(key, value)])
    }

    #[test]
    fn keys_are_sorted_and_their_defaults_are_those_of_the_type() {
        assert!(KEYS.is_sorted_by_key(|key| key.name));
        for entry in TopicConfig::default().entries() {
            assert!(entry.is_default, "{} is {}", entry.key.name, entry.value);
            entry.key.check(entry.key.default).unwrap();
        }
    }

    #[test]
    fn active_keys_reach_their_fields() {
        let config = |key, value| read(key, value).unwrap();
        assert_eq!(config("retention.ms", "-1").retention, None);
        assert_eq!(
            config("retention.ms", "1000").retention,
            Some(Duration::from_secs(1))
        );
        assert_eq!(
            config("retention.bytes", "5").retention_bytes,
            Some(ByteSize::from_bytes(5))
        );
        assert_eq!(
            config("message.timestamp.type", "LogAppendTime").timestamps,
            TimestampKind::LogAppend
        );
        assert_eq!(
            config("lantern.durability", "written").durability,
            Durability::Written
        );
        assert_eq!(config("segment.bytes", "1024").segment_bytes.bytes(), 1024);
        assert_eq!(config("segment.ms", "7").segment_age.as_millis(), 7);
        assert_eq!(config("max.message.bytes", "99").batch_bytes.bytes(), 99);
        let cleanup = |key, value| config(key, value).cleanup;
        let both = cleanup("cleanup.policy", "compact, delete").policy;
        assert!(both.compacts() && both.deletes());
        assert!(!cleanup("cleanup.policy", "compact").policy.deletes());
        let nothing = cleanup("cleanup.policy", "").policy;
        assert!(!nothing.compacts() && !nothing.deletes());
        let millis = Duration::from_millis;
        assert_eq!(
            cleanup("delete.retention.ms", "5").delete_retention,
            millis(5)
        );
        assert_eq!(cleanup("min.compaction.lag.ms", "6").min_lag, millis(6));
        assert_eq!(
            cleanup("max.compaction.lag.ms", "7").max_lag,
            Some(millis(7))
        );
        let ratio = cleanup("min.cleanable.dirty.ratio", "0.25").dirty_ratio;
        assert_eq!(ratio.get(), 0.25);
    }

    #[test]
    fn a_record_cannot_stay_longer_than_it_may() {
        let mut config = read("max.compaction.lag.ms", "7").unwrap();
        config.set("min.compaction.lag.ms", Some("8")).unwrap();
        match config.validate() {
            Err(Error::InvalidConfig { key, .. }) => assert_eq!(key, "min.compaction.lag.ms"),
            other => panic!("{other:?}"),
        }
        config.set("min.compaction.lag.ms", Some("7")).unwrap();
        config.validate().unwrap();
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_key() {
        for (key, value) in [
            ("no.such.key", "1"),
            ("retention.ms", "-2"),
            ("retention.ms", "soon"),
            ("retention.ms", ""),
            ("segment.bytes", "1023"),
            ("segment.bytes", "99999999999"),
            ("segment.ms", "0"),
            ("max.message.bytes", "-1"),
            ("max.message.bytes", "67108865"),
            ("message.timestamp.type", "Yesterday"),
            ("cleanup.policy", "delete,shred"),
            ("cleanup.policy", "delete,"),
            ("min.cleanable.dirty.ratio", "1.5"),
            ("preallocate", "yes"),
        ] {
            match read(key, value) {
                Err(Error::InvalidConfig { key: named, .. }) => assert_eq!(named, key),
                other => panic!("{key}={value} gave {other:?}"),
            }
        }
    }

    #[test]
    fn inert_keys_are_kept_and_shown_and_a_default_is_forgotten() {
        let mut config = read("compression.type", "zstd").unwrap();
        assert_eq!(config.to_map()["compression.type"], "zstd");
        config.set("compression.type", None).unwrap();
        assert_eq!(config, TopicConfig::default());
    }

    #[test]
    fn printing_and_reading_round_trip() {
        let mut config = TopicConfig::default();
        for (key, value) in [
            ("retention.ms", "60000"),
            ("retention.bytes", "1048576"),
            ("segment.bytes", "65536"),
            ("lantern.durability", "written"),
            ("compression.type", "zstd"),
            ("cleanup.policy", "delete,compact"),
            ("min.cleanable.dirty.ratio", "0.1"),
            ("delete.retention.ms", "0"),
        ] {
            config.set(key, Some(value)).unwrap();
        }
        let map = config.to_map();
        assert_eq!(map.len(), 8);
        let again = TopicConfig::from_entries(
            &TopicConfig::default(),
            map.iter()
                .map(|(key, value)| (key.as_str(), value.as_str())),
        );
        assert_eq!(again.unwrap(), config);
    }

    #[test]
    fn values_set_in_code_are_checked_too() {
        let config = TopicConfig {
            segment_bytes: ByteSize::from_bytes(1),
            ..TopicConfig::default()
        };
        assert!(config.validate().is_err());
        let mut config = TopicConfig::default();
        config.inert.insert("retention.ms".into(), "5".into());
        assert!(config.validate().is_err());
        TopicConfig::default().validate().unwrap();
    }
}
