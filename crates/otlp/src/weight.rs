//! What a request takes in memory once it is decoded, worked out before it is.
//!
//! An empty point has two bytes on the wire and two hundred in memory, so the length of a request says little. This walks the
//! bytes as the decoder will, without keeping anything.

use std::mem::size_of;

use opentelemetry_proto::tonic::common::v1::{AnyValue, EntityRef, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, SummaryDataPoint,
};
use series::write::{Fields, Value, WireError};

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

    /// Bytes of one, as it stands in a list.
    fn size(self) -> usize {
        match self {
            Self::Sender => size_of::<ResourceMetrics>(),
            Self::Entity => size_of::<EntityRef>(),
            Self::ScopeMetrics => size_of::<ScopeMetrics>(),
            Self::Scope => size_of::<InstrumentationScope>(),
            Self::Metric => size_of::<Metric>(),
            Self::Number => size_of::<NumberDataPoint>(),
            Self::Explicit => size_of::<HistogramDataPoint>(),
            Self::ExponentialPoint => size_of::<ExponentialHistogramDataPoint>(),
            Self::Buckets => size_of::<Buckets>(),
            Self::SummaryPoint => size_of::<SummaryDataPoint>(),
            Self::Quantile => size_of::<ValueAtQuantile>(),
            Self::Exemplar => size_of::<Exemplar>(),
            Self::Pair => size_of::<KeyValue>(),
            Self::Any => size_of::<AnyValue>(),
            // Part of what holds them.
            Self::Request
            | Self::Resource
            | Self::Gauge
            | Self::Sum
            | Self::Histogram
            | Self::Exponential
            | Self::Summary
            | Self::List
            | Self::Pairs => 0,
        }
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
    while *sum <= limit
        && let Some((field, value)) = fields.next()?
    {
        match (value, kind.child(field)) {
            (Value::Bytes(inner), Some(child)) => {
                // Lists have room for twice as many.
                *sum += 2 * child.size();
                // What is nested deeper is refused by the decoder.
                if depth > 0 {
                    add(child, inner, depth - 1, limit, sum)?;
                }
            }
            // Numbers of one byte each become eight.
            (Value::Bytes(packed), None) if kind == Kind::Buckets => *sum += 16 * packed.len(),
            (Value::Bytes(text), None) => *sum += 2 * (size_of::<String>() + text.len()),
            _ => *sum += 2 * size_of::<u64>(),
        }
    }
    Ok(())
}
