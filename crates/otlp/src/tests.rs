//! Whole requests through [`translate`], names by table, and what is refused before it costs anything.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use proptest::prelude::*;
use series::is_stale;

use super::*;
use crate::name::{Kind, label, metric};

const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;
const DELTA: i32 = AggregationTemporality::Delta as i32;
/// A second and a bit, in nanoseconds.
const AT: u64 = 1_700_000_001_234_567_890;

fn any(value: Any) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn pair(key: &str, value: Any) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(any(value)),
        ..KeyValue::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, Any::StringValue(value.to_owned()))
}

fn number(value: f64, attributes: &[KeyValue]) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes.to_vec(),
        time_unix_nano: AT,
        value: Some(Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

fn of(name: &str, unit: &str, data: Data) -> Metric {
    Metric {
        name: name.to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn gauge(points: Vec<NumberDataPoint>) -> Data {
    Data::Gauge(Gauge {
        data_points: points,
    })
}

fn sum(temporality: i32, is_monotonic: bool, points: Vec<NumberDataPoint>) -> Data {
    Data::Sum(Sum {
        data_points: points,
        aggregation_temporality: temporality,
        is_monotonic,
    })
}

fn histogram(bounds: &[f64], counts: &[u64], sum: Option<f64>) -> Data {
    Data::Histogram(Histogram {
        data_points: vec![HistogramDataPoint {
            time_unix_nano: AT,
            count: counts.iter().sum(),
            sum,
            bucket_counts: counts.to_vec(),
            explicit_bounds: bounds.to_vec(),
            ..HistogramDataPoint::default()
        }],
        aggregation_temporality: CUMULATIVE,
    })
}

fn request(resource: &[KeyValue], metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource {
                attributes: resource.to_vec(),
                ..Resource::default()
            }),
            scope_metrics: vec![ScopeMetrics {
                metrics,
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    }
}

/// Each sample as `series value`.
fn lines(translated: &Translated) -> Vec<String> {
    let series = translated.series.iter();
    let samples = series.flat_map(|(labels, samples)| {
        let samples = samples.iter();
        samples.map(move |(at, value)| {
            assert_eq!(at.millis(), 1_700_000_001_234);
            format!("{labels} {value}")
        })
    });
    samples.collect()
}

fn translated(resource: &[KeyValue], metrics: Vec<Metric>) -> Translated {
    translate(&request(resource, metrics)).unwrap()
}

#[test]
fn names_say_the_unit_once_and_what_counts_ends_in_total() {
    for (name, unit, kind, expected) in [
        (
            "http.server.duration",
            "s",
            Kind::Other,
            "http_server_duration_seconds",
        ),
        (
            "http.server.duration.seconds",
            "s",
            Kind::Other,
            "http_server_duration_seconds",
        ),
        (
            "system.network.io",
            "By",
            Kind::Counter,
            "system_network_io_bytes_total",
        ),
        (
            "requests.total",
            "{request}",
            Kind::Counter,
            "requests_total",
        ),
        ("total.requests", "1", Kind::Counter, "requests_total"),
        ("cpu.utilization", "1", Kind::Gauge, "cpu_utilization_ratio"),
        ("cpu.utilization", "1", Kind::Other, "cpu_utilization"),
        ("speed", "m/s", Kind::Gauge, "speed_meters_per_second"),
        ("rate", "{packet}/s", Kind::Gauge, "rate_per_second"),
        (
            "queue.second",
            "{op}/s",
            Kind::Gauge,
            "queue_second_per_second",
        ),
        ("fan", "rpm", Kind::Gauge, "fan_rpm"),
        ("2.nd--value_", "", Kind::Gauge, "_2_nd_value"),
        (
            "job:latency:p99",
            "ms",
            Kind::Gauge,
            "job:latency:p99_milliseconds",
        ),
        ("温度", "Cel", Kind::Gauge, ""),
        ("温度.a", "Cel", Kind::Gauge, "a_celsius"),
    ] {
        assert_eq!(metric(name, unit, kind), expected, "{name} {unit}");
    }
}

#[test]
fn labels_are_plain_and_never_reserved() {
    for (key, expected) in [
        ("http.status_code", "http_status_code"),
        ("__name__", "key__name__"),
        ("_x", "key_x"),
        ("5xx", "key_5xx"),
        ("a--b", "a__b"),
        ("地区", "key__"),
        ("", ""),
    ] {
        assert_eq!(label(key), expected, "{key}");
    }
}

#[test]
fn the_sender_is_job_and_instance_and_the_rest_is_told_once() {
    let resource = [
        text("service.name", "checkout"),
        text("service.namespace", "shop"),
        text("service.instance.id", "pod-1"),
        text("cloud.region", "eu"),
    ];
    let points = vec![
        number(1.0, &[text("job", "mine"), text("path", "/")]),
        number(2.0, &[]),
    ];
    let found = translated(&resource, vec![of("queue.size", "", gauge(points))]);
    assert_eq!(
        lines(&found),
        [
            r#"queue_size{instance="pod-1", job="shop/checkout", path="/"} 1"#,
            r#"queue_size{instance="pod-1", job="shop/checkout"} 2"#,
            r#"target_info{cloud_region="eu", instance="pod-1", job="shop/checkout"} 1"#,
        ]
    );
    assert_eq!(found.refused, 0);
    // Nobody is named, or nothing else is said: there is nothing to tell.
    for resource in [&resource[..3], &resource[3..]] {
        let found = translated(resource, vec![of("a", "", gauge(vec![number(1.0, &[])]))]);
        assert_eq!(found.series.len(), 1);
    }
}

#[test]
fn values_that_are_no_text_are_written_as_json() {
    let list = ArrayValue {
        values: vec![
            any(Any::IntValue(1)),
            any(Any::StringValue("b".to_owned())),
            AnyValue { value: None },
        ],
    };
    let attributes = [
        pair("flag", Any::BoolValue(true)),
        pair("int", Any::IntValue(-7)),
        pair("float", Any::DoubleValue(0.5)),
        pair("list", Any::ArrayValue(list)),
        pair("bytes", Any::BytesValue(vec![0, 255])),
        text("a.b", "2"),
        text("a-b", "1"),
        text("empty", ""),
    ];
    let found = translated(
        &[],
        vec![of("a", "", gauge(vec![number(1.0, &attributes)]))],
    );
    let labels = &found.series[0].0;
    assert_eq!(labels.get("flag"), Some("true"));
    assert_eq!(labels.get("int"), Some("-7"));
    assert_eq!(labels.get("float"), Some("0.5"));
    assert_eq!(labels.get("list"), Some(r#"[1,"b",null]"#));
    assert_eq!(labels.get("bytes"), Some("AP8="));
    assert_eq!(labels.get("a_b"), Some("1;2"));
    assert_eq!(labels.get("empty"), None);
}

#[test]
fn a_histogram_is_running_counts_up_to_infinity() {
    let metrics = vec![
        of("wait", "s", histogram(&[0.1, 2.5], &[3, 0, 1], Some(4.5))),
        of("bare", "s", histogram(&[], &[], None)),
        of(
            "open",
            "s",
            histogram(&[1.0, f64::INFINITY], &[1, 1, 0], None),
        ),
    ];
    assert_eq!(
        lines(&translated(&[], metrics)),
        [
            r#"wait_seconds_bucket{le="0.1"} 3"#,
            r#"wait_seconds_bucket{le="2.5"} 3"#,
            r#"wait_seconds_bucket{le="+Inf"} 4"#,
            "wait_seconds_count 4",
            "wait_seconds_sum 4.5",
            r#"bare_seconds_bucket{le="+Inf"} 0"#,
            "bare_seconds_count 0",
            r#"open_seconds_bucket{le="1"} 1"#,
            r#"open_seconds_bucket{le="+Inf"} 2"#,
            "open_seconds_count 2",
        ]
    );
}

#[test]
fn a_summary_has_its_quantiles() {
    let point = SummaryDataPoint {
        time_unix_nano: AT,
        count: 9,
        sum: 12.5,
        quantile_values: vec![
            ValueAtQuantile {
                quantile: 0.5,
                value: 1.0,
            },
            ValueAtQuantile {
                quantile: 0.99,
                value: 3.0,
            },
        ],
        ..SummaryDataPoint::default()
    };
    let data = Data::Summary(Summary {
        data_points: vec![point],
    });
    assert_eq!(
        lines(&translated(&[], vec![of("rpc", "ms", data)])),
        [
            r#"rpc_milliseconds{quantile="0.5"} 1"#,
            r#"rpc_milliseconds{quantile="0.99"} 3"#,
            "rpc_milliseconds_count 9",
            "rpc_milliseconds_sum 12.5",
        ]
    );
}

#[test]
fn no_recorded_value_ends_a_series() {
    let point = NumberDataPoint {
        flags: 1,
        value: None,
        ..number(0.0, &[])
    };
    let found = translated(&[], vec![of("a", "", gauge(vec![point]))]);
    assert!(is_stale(found.series[0].1[0].1));
}

#[test]
fn what_cannot_be_kept_is_counted_and_told_and_the_rest_is_taken() {
    let two = || vec![number(1.0, &[]), number(2.0, &[text("a", "b")])];
    let exponential = Data::ExponentialHistogram(ExponentialHistogram {
        data_points: vec![ExponentialHistogramDataPoint::default()],
        aggregation_temporality: CUMULATIVE,
    });
    let unset = AggregationTemporality::Unspecified as i32;
    for (metric, refused, told) in [
        (
            of("a", "", sum(DELTA, true, two())),
            2,
            "TEMPORALITY_PREFERENCE",
        ),
        (of("a", "", sum(unset, true, two())), 2, "cumulative"),
        (of("a", "", exponential), 1, "explicit_bucket_histogram"),
        (
            of("a", "", histogram(&[1.0], &[1], None)),
            1,
            "1 bounds need one count more",
        ),
        (
            of("a", "", histogram(&[2.0, 1.0], &[1, 1, 1], None)),
            1,
            "ascend",
        ),
        (
            of("a", "", histogram(&[f64::NAN], &[1, 1], None)),
            1,
            "ascend",
        ),
        (of("…", "", gauge(two())), 2, "letter"),
        (
            of(
                "a",
                "",
                gauge(vec![NumberDataPoint {
                    time_unix_nano: 0,
                    ..number(1.0, &[])
                }]),
            ),
            1,
            "no time",
        ),
        (
            of(
                "a",
                "",
                gauge(vec![NumberDataPoint {
                    value: None,
                    ..number(1.0, &[])
                }]),
            ),
            1,
            "no value",
        ),
        (
            of(
                "a",
                "",
                gauge(vec![number(1.0, &[text("k", &"x".repeat(4_097))])]),
            ),
            1,
            "4096 bytes",
        ),
        (
            of("a", "", gauge(vec![number(1.0, &vec![text("k", "v"); 63])])),
            1,
            "64 labels",
        ),
    ] {
        let good = of("good", "", sum(CUMULATIVE, true, two()));
        let found = translated(&[], vec![metric.clone(), good]);
        assert_eq!(found.refused, refused, "{metric:?}");
        let reason = found.reason.clone().unwrap();
        assert!(
            reason.contains(told) && reason.contains(&metric.name),
            "{reason}"
        );
        assert_eq!(lines(&found), ["good_total 1", r#"good_total{a="b"} 2"#]);
    }
}

#[test]
fn samples_of_a_series_come_in_order_however_they_were_sent() {
    let at = |seconds: u64| NumberDataPoint {
        time_unix_nano: seconds * 1_000_000_000,
        ..number(seconds as f64, &[])
    };
    let metrics = vec![
        of("a", "", gauge(vec![at(3), at(1)])),
        of("a", "", gauge(vec![at(2)])),
    ];
    let found = translated(&[], metrics);
    assert_eq!(found.series.len(), 1);
    let values: Vec<f64> = found.series[0].1.iter().map(|(_, value)| *value).collect();
    assert_eq!(values, [1.0, 2.0, 3.0]);
}

#[test]
fn two_values_at_one_time_are_told_and_the_first_stays() {
    let one = |value| gauge(vec![number(value, &[])]);
    let metrics = vec![of("a.b", "", one(1.0)), of("a_b", "", one(2.0))];
    let found = translated(&[], metrics);
    assert_eq!(lines(&found), ["a_b 1"]);
    assert_eq!(found.refused, 1);
    assert!(found.reason.unwrap().contains("a_b"));
    // The same said twice is no contradiction.
    let metrics = vec![of("a.b", "", one(1.0)), of("a_b", "", one(1.0))];
    let found = translated(&[], metrics);
    assert_eq!(
        (lines(&found), found.refused),
        (vec!["a_b 1".to_owned()], 0)
    );
}

#[test]
fn a_sender_with_much_to_say_is_known_by_what_fits() {
    let long = "x".repeat(5_000);
    let mut resource = vec![
        text("service.name", "shop"),
        text("process.command_args", &long),
        text("cloud.region", "eu"),
    ];
    let metrics = || vec![of("a", "", gauge(vec![number(1.0, &[])]))];
    let found = translated(&resource, metrics());
    let expected = [
        r#"a{job="shop"} 1"#,
        r#"target_info{cloud_region="eu", job="shop"} 1"#,
    ];
    assert_eq!(lines(&found), expected);
    resource.extend((0..100).map(|n| text(&format!("more.{n}"), "x")));
    let found = translated(&resource, metrics());
    assert!(found.series[1].0.len() <= 64, "{}", found.series[1].0);
    // Who cannot be named cannot send.
    resource[0] = text("service.name", &long);
    let found = translated(&resource, metrics());
    assert_eq!((found.series.len(), found.refused), (0, 1));
}

#[test]
fn a_small_request_cannot_ask_for_very_much() {
    // Sixteen bytes a bucket on the wire, and four KiB of labels for each.
    let bounds: Vec<f64> = (0..10_000).map(f64::from).collect();
    let mut data = histogram(&bounds, &vec![0; 10_001], None);
    if let Data::Histogram(histogram) = &mut data {
        histogram.data_points[0].attributes = vec![text("k", &"x".repeat(4_000))];
    }
    let error = translate(&request(&[], vec![of("a", "", data)])).unwrap_err();
    assert!(matches!(error, Error::TooLarge), "{error}");
    // One series, whose labels are built again and again.
    let same = number(1.0, &[text("k", &"x".repeat(4_000))]);
    let data = gauge(vec![same; 10_000]);
    let error = translate(&request(&[], vec![of("a", "", data)])).unwrap_err();
    assert!(matches!(error, Error::TooLarge), "{error}");
    // Lists in lists, each with many nothings.
    let mut value = Any::ArrayValue(ArrayValue {
        values: vec![AnyValue { value: None }; 100_000],
    });
    for _ in 0..20 {
        value = Any::ArrayValue(ArrayValue {
            values: vec![any(value)],
        });
    }
    let found = translated(&[pair("k", value)], vec![]);
    assert!(found.series.is_empty());
}

/// A field that holds `inner`.
fn nested(field: u8, inner: &[u8]) -> Vec<u8> {
    let mut bytes = vec![field << 3 | 2];
    prost::encoding::encode_varint(inner.len() as u64, &mut bytes);
    bytes.extend_from_slice(inner);
    bytes
}

#[test]
fn what_is_small_on_the_wire_and_large_in_memory_is_refused_before_it_is_decoded() {
    // Two bytes each: points of exponential histograms, and texts of an entity.
    let points = nested(10, &[0x0a, 0].repeat(1 << 20));
    let metrics = nested(1, &nested(2, &nested(2, &points)));
    assert!(matches!(decode(&metrics), Err(Error::Heavy)));
    let keys = nested(1, &nested(1, &nested(3, &[0x1a, 0].repeat(3 << 20))));
    assert!(matches!(decode(&keys), Err(Error::Heavy)));
    // A request as large as they come is taken.
    let labels: Vec<_> = (0..5)
        .map(|n| text(&format!("attribute.{n}"), "some value"))
        .collect();
    let data = gauge(vec![number(1.0, &labels); 20_000]);
    let bytes = request(&[], vec![of("a", "", data)]).encode_to_vec();
    assert!(bytes.len() > 3 << 20, "{}", bytes.len());
    assert!(decode(&bytes).is_ok());
    assert!(decode(b"\xff").is_err());
    assert!(decode(&nested(1, &nested(2, b"\x0a"))).is_err());
}

#[test]
fn what_is_weighed_is_no_less_than_what_decoding_takes() {
    let thousand = |points| request(&[], vec![of("a", "", gauge(points))]);
    for (request, least) in [
        (
            thousand(vec![number(1.0, &[]); 1_000]),
            size_of::<NumberDataPoint>(),
        ),
        (
            request(&vec![text("k", "v"); 1_000], vec![]),
            size_of::<KeyValue>(),
        ),
        (
            request(&[], vec![Metric::default(); 1_000]),
            size_of::<Metric>(),
        ),
    ] {
        let weighed = weight::weight(&request.encode_to_vec(), usize::MAX).unwrap();
        assert!(weighed >= 1_000 * least, "{weighed} for {least} each");
    }
}

proptest! {
    /// Whatever comes, names are those Prometheus takes without quotes.
    #[test]
    fn names_are_always_plain(name in "\\PC{0,20}", unit in "[a-zA-Z/{}%0-9]{0,8}", kind in prop::sample::select(vec![Kind::Gauge, Kind::Counter, Kind::Other])) {
        let made = metric(&name, &unit, kind);
        prop_assert!(made.is_empty() || series::is_plain_metric_name(&made), "{made}");
        let made = label(&name);
        prop_assert!(made.is_empty() || series::is_plain_label_name(&made), "{made}");
    }
}
