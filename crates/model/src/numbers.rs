//! Numbers that must not be mixed up.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A partition's number within its topic, from 0.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct PartitionId(u32);

impl PartitionId {
    /// Partition `number`.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A record's number in its partition, from 0, without gaps as assigned. At most `i64::MAX`, since
/// Kafka's wire is signed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Offset(u64);

impl Offset {
    /// The first offset of every partition.
    pub const ZERO: Self = Self(0);

    /// Offset `number`.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The offset after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The offset `count` records further.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }

    /// Records from `earlier` to here; zero when `earlier` is not earlier.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The offset as Kafka's signed number.
    pub fn as_i64(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// The offset of Kafka's signed number; `None` below zero, where Kafka keeps its special values.
    pub fn from_i64(number: i64) -> Option<Self> {
        u64::try_from(number).ok().map(Self)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in a partition as its broker counts: ordered, storable, and otherwise opaque.
///
/// Each broker gives the bits its own meaning: the embedded broker and Kafka an offset, JetStream a
/// stream sequence, Redis Streams a time and a sequence. Only the broker that made a position may
/// read it; two positions of one partition compare in log order.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Position(u128);

impl Position {
    /// For brokers: the position with these bits.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// For brokers: the bits.
    pub const fn bits(self) -> u128 {
        self.0
    }
}

impl From<Offset> for Position {
    fn from(offset: Offset) -> Self {
        Self(u128::from(offset.get()))
    }
}
