//! Data points as samples.

use std::iter::repeat;

use model::Timestamp;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, DataPointFlags, HistogramDataPoint, Metric, NumberDataPoint,
    SummaryDataPoint,
};
use series::{STALE_NAN, StoreOptions, format_value};

use crate::attributes::{Pairs, Resource, named};
use crate::name::{self, Kind};
use crate::{Collector, Error, shortened};

/// The longest of `_bucket`, `_count`, `_sum`.
const SUFFIX_BYTES_MAX: usize = 7;

/// Labels that the samples of one histogram or summary differ by.
const BUCKET: &str = "le";
const QUANTILE: &str = "quantile";
const OWN: [&str; 2] = [BUCKET, QUANTILE];

/// Adds the samples of a metric; answers when its newest was taken.
pub(crate) fn translate(
    metric: &Metric,
    resource: &Resource,
    to: &mut Collector,
) -> Result<Option<Timestamp>, Error> {
    let Some(data) = &metric.data else {
        return Ok(None);
    };
    let (kind, points) = match data {
        Data::Gauge(gauge) => (Kind::Gauge, gauge.data_points.len()),
        Data::Sum(sum) if sum.is_monotonic => (Kind::Counter, sum.data_points.len()),
        Data::Sum(sum) => (Kind::Other, sum.data_points.len()),
        Data::Histogram(histogram) => (Kind::Other, histogram.data_points.len()),
        Data::ExponentialHistogram(histogram) => (Kind::Other, histogram.data_points.len()),
        Data::Summary(summary) => (Kind::Other, summary.data_points.len()),
    };
    let name = name::metric(&metric.name, &metric.unit, kind);
    let mut adding = Adding {
        metric,
        name,
        resource,
        to,
        newest: None,
    };
    if !adding.is_named(points) {
        return Ok(None);
    }
    match data {
        Data::Gauge(gauge) => {
            for point in &gauge.data_points {
                adding.number(point)?;
            }
        }
        Data::Sum(sum) => {
            if adding.is_cumulative(sum.aggregation_temporality, points) {
                for point in &sum.data_points {
                    adding.number(point)?;
                }
            }
        }
        Data::Histogram(histogram) => {
            if adding.is_cumulative(histogram.aggregation_temporality, points) {
                for point in &histogram.data_points {
                    adding.histogram(point)?;
                }
            }
        }
        Data::ExponentialHistogram(_) => adding.refuse(points, || {
            "exponential histograms are not kept: send explicit buckets \
             (OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION=explicit_bucket_histogram)"
                .to_owned()
        }),
        Data::Summary(summary) => {
            for point in &summary.data_points {
                adding.summary(point)?;
            }
        }
    }
    Ok(adding.newest)
}

struct Adding<'a> {
    metric: &'a Metric,
    name: String,
    resource: &'a Resource,
    to: &'a mut Collector,
    newest: Option<Timestamp>,
}

impl Adding<'_> {
    fn refuse(&mut self, points: usize, reason: impl FnOnce() -> String) {
        let metric = &self.metric.name;
        self.to.refuse(points, || {
            format!("metric \"{}\": {}", shortened(metric), reason())
        });
    }

    fn is_named(&mut self, points: usize) -> bool {
        let most = StoreOptions::default().label_value_bytes_max - SUFFIX_BYTES_MAX;
        let length = self.name.len();
        if length == 0 {
            self.refuse(points, || "a name needs a letter or a digit".to_owned());
        } else if length > most {
            self.refuse(points, || format!("its name has more than {most} bytes"));
        }
        (1..=most).contains(&length)
    }

    fn is_cumulative(&mut self, temporality: i32, points: usize) -> bool {
        let cumulative =
            AggregationTemporality::try_from(temporality) == Ok(AggregationTemporality::Cumulative);
        if !cumulative {
            self.refuse(points, || {
                "only cumulative values are kept, no deltas: set \
                 OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=cumulative"
                    .to_owned()
            });
        }
        cumulative
    }

    /// When a point was taken and its labels; refuses it if it has no time or too much text.
    fn begin(&mut self, nanoseconds: u64, attributes: &[KeyValue]) -> Option<(Timestamp, Pairs)> {
        if nanoseconds == 0 {
            self.refuse(1, || "a point has no time".to_owned());
            return None;
        }
        let labels = match self.resource.labels(attributes) {
            Ok(labels) => labels,
            Err(reason) => {
                self.refuse(1, || reason);
                return None;
            }
        };
        // The nanoseconds of a u64 are fewer milliseconds than an i64 holds.
        let millis = i64::try_from(nanoseconds / 1_000_000).unwrap_or(i64::MAX);
        let at = Timestamp::from_millis(millis);
        Some((at, labels))
    }

    /// Whether this is the first histogram or summary of its series at its time; refuses it if not. Of two, samples of both
    /// would make up one that nobody measured.
    fn is_first(&mut self, labels: &Pairs, at: Timestamp) -> Result<bool, Error> {
        // Its samples have names for these of their own.
        let rest = labels
            .iter()
            .filter(|(name, _)| !OWN.contains(&name.as_str()));
        let rest = rest.map(|(name, value)| (name.clone(), value.clone()));
        let series = named(&rest.collect(), &self.name, None);
        let first = self.to.note(series, at)?;
        if !first {
            self.refuse(1, || {
                "two histograms or summaries of one series at one time: scopes are not told apart, nor \
                 names that differ only in signs"
                    .to_owned()
            });
        }
        Ok(first)
    }

    fn add(
        &mut self,
        labels: &Pairs,
        suffix: &str,
        more: Option<(&str, &str)>,
        at: Timestamp,
        value: f64,
    ) -> Result<(), Error> {
        self.newest = self.newest.max(Some(at));
        let labels = if suffix.is_empty() {
            named(labels, &self.name, more)
        } else {
            named(labels, &format!("{}{suffix}", self.name), more)
        };
        self.to.add(labels, at, value)
    }

    fn number(&mut self, point: &NumberDataPoint) -> Result<(), Error> {
        let Some((at, labels)) = self.begin(point.time_unix_nano, &point.attributes) else {
            return Ok(());
        };
        let value = match point.value {
            _ if is_stale(point.flags) => STALE_NAN,
            Some(Value::AsDouble(value)) => value,
            Some(Value::AsInt(value)) => value as f64,
            None => {
                self.refuse(1, || "a point has no value".to_owned());
                return Ok(());
            }
        };
        self.add(&labels, "", None, at, value)
    }

    fn histogram(&mut self, point: &HistogramDataPoint) -> Result<(), Error> {
        let Some((at, labels)) = self.begin(point.time_unix_nano, &point.attributes) else {
            return Ok(());
        };
        let stale = is_stale(point.flags);
        // What ends a series need not count anything.
        if let (false, Some(reason)) = (stale, contradiction(point)) {
            self.refuse(1, || reason);
            return Ok(());
        }
        if !self.is_first(&labels, at)? {
            return Ok(());
        }
        let or_stale = |value: f64| if stale { STALE_NAN } else { value };
        let mut below = 0_u64;
        let counts = point.bucket_counts.iter().copied().chain(repeat(0));
        for (bound, count) in point.explicit_bounds.iter().zip(counts) {
            below = below.saturating_add(count);
            // The last bucket is the one that holds everything, whether a bound says so or not.
            if bound.is_finite() {
                let le = plain(*bound);
                let le = Some((BUCKET, le.as_str()));
                self.add(&labels, "_bucket", le, at, or_stale(below as f64))?;
            }
        }
        let all = or_stale(point.count as f64);
        self.add(&labels, "_bucket", Some((BUCKET, "+Inf")), at, all)?;
        self.add(&labels, "_count", None, at, all)?;
        // One that ends does not say whether it had a sum.
        match point.sum.or(stale.then_some(STALE_NAN)) {
            Some(sum) => self.add(&labels, "_sum", None, at, or_stale(sum)),
            None => Ok(()),
        }
    }

    fn summary(&mut self, point: &SummaryDataPoint) -> Result<(), Error> {
        let Some((at, labels)) = self.begin(point.time_unix_nano, &point.attributes) else {
            return Ok(());
        };
        if !self.is_first(&labels, at)? {
            return Ok(());
        }
        let stale = is_stale(point.flags);
        let or_stale = |value: f64| if stale { STALE_NAN } else { value };
        for quantile in &point.quantile_values {
            let text = plain(quantile.quantile);
            let more = Some((QUANTILE, text.as_str()));
            self.add(&labels, "", more, at, or_stale(quantile.value))?;
        }
        self.add(&labels, "_count", None, at, or_stale(point.count as f64))?;
        self.add(&labels, "_sum", None, at, or_stale(point.sum))
    }
}

/// What a histogram says against itself.
fn contradiction(point: &HistogramDataPoint) -> Option<String> {
    let (bounds, counts) = (&point.explicit_bounds, &point.bucket_counts);
    let (bounds_len, counts_len) = (bounds.len(), counts.len());
    if (bounds_len, counts_len) != (0, 0) && bounds_len + 1 != counts_len {
        return Some(format!(
            "{bounds_len} bounds need one count more, not {counts_len}"
        ));
    }
    let sum = counts.iter().fold(0_u64, |sum, n| sum.saturating_add(*n));
    if !counts.is_empty() && sum != point.count {
        let count = point.count;
        return Some(format!(
            "a histogram of {count} values has {sum} in its buckets"
        ));
    }
    let ascend = bounds.iter().all(|bound| !bound.is_nan()) && bounds.is_sorted_by(|a, b| a < b);
    (!ascend).then(|| "the bounds of a histogram do not ascend".to_owned())
}

/// A number as Prometheus writes it in labels: never with an exponent.
fn plain(value: f64) -> String {
    if value.is_finite() {
        value.to_string()
    } else {
        format_value(value)
    }
}

fn is_stale(flags: u32) -> bool {
    flags & DataPointFlags::NoRecordedValueMask as u32 != 0
}
