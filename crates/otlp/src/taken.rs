//! What a decoded request takes in memory, by its lists and texts: what `weight` promises is held against it.

use std::mem::size_of;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, EntityRef, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, SummaryDataPoint,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

/// Bytes behind the pointers of a request.
pub(crate) fn taken(request: &ExportMetricsServiceRequest) -> usize {
    list(&request.resource_metrics, sender)
}

/// The room of a list, and what its items point at.
fn list<T>(items: &Vec<T>, each: impl Fn(&T) -> usize) -> usize {
    items.capacity() * size_of::<T>() + items.iter().map(each).sum::<usize>()
}

fn flat<T>(items: &Vec<T>) -> usize {
    list(items, |_| 0)
}

fn sender(of: &ResourceMetrics) -> usize {
    let resource = of.resource.as_ref().map_or(0, resource);
    resource + list(&of.scope_metrics, scope_metrics) + of.schema_url.capacity()
}

fn resource(of: &Resource) -> usize {
    list(&of.attributes, pair) + list(&of.entity_refs, entity)
}

fn entity(of: &EntityRef) -> usize {
    let keys = list(&of.id_keys, String::capacity) + list(&of.description_keys, String::capacity);
    of.schema_url.capacity() + of.r#type.capacity() + keys
}

fn scope_metrics(of: &ScopeMetrics) -> usize {
    let scope = of.scope.as_ref().map_or(0, scope);
    scope + list(&of.metrics, metric) + of.schema_url.capacity()
}

fn scope(of: &InstrumentationScope) -> usize {
    of.name.capacity() + of.version.capacity() + list(&of.attributes, pair)
}

fn metric(of: &Metric) -> usize {
    let points = match &of.data {
        None => 0,
        Some(Data::Gauge(of)) => list(&of.data_points, number),
        Some(Data::Sum(of)) => list(&of.data_points, number),
        Some(Data::Histogram(of)) => list(&of.data_points, histogram),
        Some(Data::ExponentialHistogram(of)) => list(&of.data_points, exponential),
        Some(Data::Summary(of)) => list(&of.data_points, summary),
    };
    let texts = of.name.capacity() + of.description.capacity() + of.unit.capacity();
    texts + list(&of.metadata, pair) + points
}

fn number(of: &NumberDataPoint) -> usize {
    list(&of.attributes, pair) + list(&of.exemplars, exemplar)
}

fn histogram(of: &HistogramDataPoint) -> usize {
    let numbers = flat(&of.bucket_counts) + flat(&of.explicit_bounds);
    numbers + list(&of.attributes, pair) + list(&of.exemplars, exemplar)
}

fn exponential(of: &ExponentialHistogramDataPoint) -> usize {
    let buckets = [&of.positive, &of.negative].into_iter().flatten();
    let numbers: usize = buckets.map(|of| flat(&of.bucket_counts)).sum();
    numbers + list(&of.attributes, pair) + list(&of.exemplars, exemplar)
}

fn summary(of: &SummaryDataPoint) -> usize {
    list(&of.attributes, pair) + flat(&of.quantile_values)
}

fn exemplar(of: &Exemplar) -> usize {
    list(&of.filtered_attributes, pair) + of.span_id.capacity() + of.trace_id.capacity()
}

fn pair(of: &KeyValue) -> usize {
    of.key.capacity() + of.value.as_ref().map_or(0, value)
}

fn value(of: &AnyValue) -> usize {
    match &of.value {
        Some(Value::StringValue(text)) => text.capacity(),
        Some(Value::BytesValue(bytes)) => bytes.capacity(),
        Some(Value::ArrayValue(of)) => list(&of.values, value),
        Some(Value::KvlistValue(of)) => list(&of.values, pair),
        _ => 0,
    }
}
