//! Names that come from outside, checked once and cheap to clone.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::PartitionId;
use crate::limits::{GROUP_ID_BYTES_MAX, TOPIC_NAME_BYTES_MAX};

/// Why a text is not a name.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
pub enum InvalidName {
    /// The name has no characters, or is `.` or `..`, which are directories.
    #[error("'{name}' cannot be a {what}")]
    Reserved {
        /// What was being named.
        what: &'static str,
        /// The text given.
        name: String,
    },
    /// The name is too long.
    #[error("a {what} has at most {limit} bytes, this one has {length}")]
    TooLong {
        /// What was being named.
        what: &'static str,
        /// Bytes given.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A character that is not allowed.
    #[error("'{name}' cannot be a {what}: '{character}' is none of A-Z a-z 0-9 . _ -")]
    Character {
        /// What was being named.
        what: &'static str,
        /// The text given.
        name: String,
        /// The first character that is not allowed.
        character: char,
    },
}

/// A topic's name: 1 to 249 of `A-Z a-z 0-9 . _ -`, not `.` or `..` (Kafka's rule).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Checks `name` and keeps it.
    ///
    /// # Errors
    /// [`InvalidName`] by the rule of the type.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        const WHAT: &str = "topic name";
        if matches!(name, "" | "." | "..") {
            return Err(InvalidName::Reserved {
                what: WHAT,
                name: name.to_owned(),
            });
        }
        if name.len() > TOPIC_NAME_BYTES_MAX {
            return Err(InvalidName::TooLong {
                what: WHAT,
                length: name.len(),
                limit: TOPIC_NAME_BYTES_MAX,
            });
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if let Some(character) = name.chars().find(|c| !allowed(*c)) {
            return Err(InvalidName::Character {
                what: WHAT,
                name: name.to_owned(),
                character,
            });
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether Lantern itself owns the topic (`lantern.` and everything below).
    pub fn is_internal(&self) -> bool {
        self.0.starts_with("lantern.")
    }
}

/// A consumer group's id: 1 to 255 bytes of any text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(Arc<str>);

impl GroupId {
    /// Checks `id` and keeps it.
    ///
    /// # Errors
    /// [`InvalidName`] when it is empty or longer than 255 bytes.
    pub fn new(id: &str) -> Result<Self, InvalidName> {
        const WHAT: &str = "group id";
        if id.is_empty() {
            return Err(InvalidName::Reserved {
                what: WHAT,
                name: String::new(),
            });
        }
        if id.len() > GROUP_ID_BYTES_MAX {
            return Err(InvalidName::TooLong {
                what: WHAT,
                length: id.len(),
                limit: GROUP_ID_BYTES_MAX,
            });
        }
        Ok(Self(id.into()))
    }

    /// Whether Lantern commits as this group by itself: for a listener, a webhook of alerts, a replay.
    pub fn is_internal(&self) -> bool {
        self.0.starts_with("lantern-")
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_name {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

text_name!(TopicName);
text_name!(GroupId);

/// A topic's identity for life: a UUID that a topic made later under the same name does not share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId([u8; 16]);

impl TopicId {
    /// The identity with these bytes. All zero means "none" on Kafka's wire and is never given out.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Makes a version 4 UUID (RFC 9562) of 16 random bytes.
    pub const fn from_random(mut random: [u8; 16]) -> Self {
        random[6] = (random[6] & 0x0f) | 0x40;
        random[8] = (random[8] & 0x3f) | 0x80;
        Self(random)
    }

    /// The 16 bytes, most significant first.
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition of it.
    pub partition: PartitionId,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    pub fn new(topic: TopicName, partition: PartitionId) -> Self {
        Self { topic, partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_names_follow_kafkas_rule() {
        for good in ["a", "orders", "lantern.metrics", "A_b-9", &"x".repeat(249)] {
            assert!(TopicName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "größe", &"x".repeat(250)] {
            assert!(TopicName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_random_topic_id_is_a_version_4_uuid() {
        let id = TopicId::from_random([0xff; 16]);
        assert_eq!(id.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
