//! Data points as samples.

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
use crate::{Collector, Error};

/// The longest of `_bucket`, `_count`, `_sum`.
const SUFFIX_BYTES_MAX: usize = 7;

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
    if name.is_empty() {
        to.refuse(points, || {
            format!(
                "metric \"{}\": a name needs a letter or a digit",
                metric.name
            )
        });
        return Ok(None);
    }
    let most = StoreOptions::default().label_value_bytes_max - SUFFIX_BYTES_MAX;
    if name.len() > most {
        let begin: String = metric.name.chars().take(100).collect();
        to.refuse(points, || {
            format!("metric \"{begin}…\": its name has more than {most} bytes")
        });
        return Ok(None);
    }
    let mut adding = Adding {
        metric,
        name,
        resource,
        to,
        newest: None,
    };
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
        self.to
            .refuse(points, || format!("metric \"{metric}\": {}", reason()));
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
        let (bounds, counts) = (&point.explicit_bounds, &point.bucket_counts);
        let agree = (bounds.is_empty() && counts.is_empty()) || bounds.len() + 1 == counts.len();
        if !agree {
            let (bounds, counts) = (bounds.len(), counts.len());
            self.refuse(1, || {
                format!("{bounds} bounds need one count more, not {counts}")
            });
            return Ok(());
        }
        let sum = counts
            .iter()
            .fold(0_u64, |sum, count| sum.saturating_add(*count));
        if !counts.is_empty() && sum != point.count {
            let count = point.count;
            self.refuse(1, || {
                format!("a histogram of {count} values has {sum} in its buckets")
            });
            return Ok(());
        }
        let ascend =
            bounds.iter().all(|bound| !bound.is_nan()) && bounds.is_sorted_by(|a, b| a < b);
        if !ascend {
            self.refuse(1, || "the bounds of a histogram do not ascend".to_owned());
            return Ok(());
        }
        let stale = is_stale(point.flags);
        let or_stale = |value: f64| if stale { STALE_NAN } else { value };
        let mut below = 0_u64;
        for (bound, count) in bounds.iter().zip(counts) {
            below = below.saturating_add(*count);
            // The last bucket is the one that holds everything, whether a bound says so or not.
            if bound.is_finite() {
                let le = format_value(*bound);
                let le = Some(("le", le.as_str()));
                self.add(&labels, "_bucket", le, at, or_stale(below as f64))?;
            }
        }
        let all = or_stale(point.count as f64);
        self.add(&labels, "_bucket", Some(("le", "+Inf")), at, all)?;
        self.add(&labels, "_count", None, at, all)?;
        match point.sum {
            Some(sum) => self.add(&labels, "_sum", None, at, or_stale(sum)),
            None => Ok(()),
        }
    }

    fn summary(&mut self, point: &SummaryDataPoint) -> Result<(), Error> {
        let Some((at, labels)) = self.begin(point.time_unix_nano, &point.attributes) else {
            return Ok(());
        };
        let stale = is_stale(point.flags);
        let or_stale = |value: f64| if stale { STALE_NAN } else { value };
        for quantile in &point.quantile_values {
            let text = format_value(quantile.quantile);
            let more = Some(("quantile", text.as_str()));
            self.add(&labels, "", more, at, or_stale(quantile.value))?;
        }
        self.add(&labels, "_count", None, at, or_stale(point.count as f64))?;
        self.add(&labels, "_sum", None, at, or_stale(point.sum))
    }
}

fn is_stale(flags: u32) -> bool {
    flags & DataPointFlags::NoRecordedValueMask as u32 != 0
}
