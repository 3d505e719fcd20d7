//! What a request takes in memory once it is decoded, worked out before it is.
//!
//! An empty point has two bytes on the wire and two hundred in memory, so the length of a request says little. This walks the
//! bytes as the decoder will, without keeping anything.

use std::mem::size_of;

use opentelemetry_proto::tonic::common::v1::{AnyValue, EntityRef, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, SummaryDataPoint,
};
use series::write::{Fields, Value, WireError};

/// Items that a list has room for as soon as it holds one.
const ROOM_FIRST: usize = 4;

/// Deeper than prost goes.
const DEPTH_MAX: u32 = 100;

/// The messages that hold others, or that others hold many of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Request,
    Sender,
    Resource,
    Entity,
    ScopeMetrics,
    Scope,
    Metric,
    Gauge,
    Sum,
    Histogram,
    Exponential,
    Summary,
    Number,
    Explicit,
    ExponentialPoint,
    Buckets,
    SummaryPoint,
    Quantile,
    Exemplar,
    Pair,
    Any,
    List,
    Pairs,
}

impl Kind {
    /// Which message a field of this one holds; `None` for texts, bytes and numbers.
    fn child(self, field: u32) -> Option<Self> {
        Some(match (self, field) {
            (Self::Request, 1) => Self::Sender,
            (Self::Sender, 1) => Self::Resource,
            (Self::Sender, 2) => Self::ScopeMetrics,
            (Self::Resource, 3) => Self::Entity,
            (Self::ScopeMetrics, 1) => Self::Scope,
            (Self::ScopeMetrics, 2) => Self::Metric,
            (Self::Metric, 5) => Self::Gauge,
            (Self::Metric, 7) => Self::Sum,
            (Self::Metric, 9) => Self::Histogram,
            (Self::Metric, 10) => Self::Exponential,
            (Self::Metric, 11) => Self::Summary,
            (Self::Gauge | Self::Sum, 1) => Self::Number,
            (Self::Histogram, 1) => Self::Explicit,
            (Self::Exponential, 1) => Self::ExponentialPoint,
            (Self::Summary, 1) => Self::SummaryPoint,
            (Self::ExponentialPoint, 8 | 9) => Self::Buckets,
            (Self::SummaryPoint, 6) => Self::Quantile,
            (Self::Number, 5) | (Self::Explicit, 8) | (Self::ExponentialPoint, 11) => {
                Self::Exemplar
            }
            (Self::Resource | Self::ExponentialPoint | Self::Pairs, 1)
            | (Self::Scope, 3)
            | (Self::Metric, 12)
            | (Self::Number | Self::SummaryPoint | Self::Exemplar, 7)
            | (Self::Explicit, 9) => Self::Pair,
            (Self::Pair, 2) | (Self::List, 1) => Self::Any,
            (Self::Any, 5) => Self::List,
            (Self::Any, 6) => Self::Pairs,
            _ => return None,
        })
    }

    /// Bytes of an item of the list that a field of this one is; `None` when the field is no list.
    fn item(self, field: u32) -> Option<usize> {
        match (self, field) {
            (Self::Explicit, 6 | 7) | (Self::Buckets, 2) => Some(size_of::<u64>()),
            (Self::Entity, 3 | 4) => Some(size_of::<String>()),
            // There is one, as a part of what holds it.
            (Self::Pair, 2) => None,
            _ => self.child(field)?.size(),
        }
    }

    /// Bytes of one, where they come in lists.
    fn size(self) -> Option<usize> {
        Some(match self {
            Self::Sender => size_of::<ResourceMetrics>(),
            Self::Entity => size_of::<EntityRef>(),
            Self::ScopeMetrics => size_of::<ScopeMetrics>(),
            Self::Metric => size_of::<Metric>(),
            Self::Number => size_of::<NumberDataPoint>(),
            Self::Explicit => size_of::<HistogramDataPoint>(),
            Self::ExponentialPoint => size_of::<ExponentialHistogramDataPoint>(),
            Self::SummaryPoint => size_of::<SummaryDataPoint>(),
            Self::Quantile => size_of::<ValueAtQuantile>(),
            Self::Exemplar => size_of::<Exemplar>(),
            Self::Pair => size_of::<KeyValue>(),
            Self::Any => size_of::<AnyValue>(),
            // Part of what holds them.
            Self::Request
            | Self::Resource
            | Self::Scope
            | Self::Buckets
            | Self::Gauge
            | Self::Sum
            | Self::Histogram
            | Self::Exponential
            | Self::Summary
            | Self::List
            | Self::Pairs => return None,
        })
    }
}

/// Bytes that a request takes at most, or some number above `limit`.
pub(crate) fn weight(bytes: &[u8], limit: usize) -> Result<usize, WireError> {
    let mut sum = 0;
    add(Kind::Request, bytes, DEPTH_MAX, limit, &mut sum)?;
    Ok(sum)
}

fn add(
    kind: Kind,
    bytes: &[u8],
    depth: u32,
    limit: usize,
    sum: &mut usize,
) -> Result<(), WireError> {
    let mut fields = Fields::new(bytes);
    let mut begun = 0;
    while *sum <= limit
        && let Some((field, value)) = fields.next()?
    {
        let first = is_first(&mut begun, field);
        let item = kind.item(field).unwrap_or(0);
        // A list begins with room for four, and has room for twice as many as it holds later.
        *sum += if first { ROOM_FIRST * item } else { 2 * item };
        // Other numbers have their place in what holds them.
        let Value::Bytes(inner) = value else {
            continue;
        };
        match kind.child(field) {
            // What is nested deeper is refused by the decoder.
            Some(_) if depth == 0 => (),
            Some(child) => add(child, inner, depth - 1, limit, sum)?,
            // Numbers of one byte each become eight.
            None if kind == Kind::Buckets => *sum += 16 * inner.len(),
            None => *sum += 2 * (size_of::<String>() + inner.len()),
        }
    }
    Ok(())
}

/// Whether a field comes for the first time in its message. Fields above those that are lists do not matter.
fn is_first(begun: &mut u32, field: u32) -> bool {
    let bit = 1_u32.checked_shl(field).unwrap_or(0);
    let first = *begun & bit == 0;
    *begun |= bit;
    first
}
