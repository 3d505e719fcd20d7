//! Whole requests through [`translate`], names by table, and what is refused before it costs anything.

mod bounds;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
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
fn units_are_spelled_as_prometheus_spells_them() {
    for (unit, expected) in [
        ("d", "x_days"),
        ("h", "x_hours"),
        ("min", "x_minutes"),
        ("s", "x_seconds"),
        ("ms", "x_milliseconds"),
        ("us", "x_microseconds"),
        ("ns", "x_nanoseconds"),
        ("By", "x_bytes"),
        ("KiBy", "x_kibibytes"),
        ("MiBy", "x_mebibytes"),
        ("GiBy", "x_gibibytes"),
        ("TiBy", "x_tibibytes"),
        ("KBy", "x_kilobytes"),
        ("kBy", "x_kBy"),
        ("MBy", "x_megabytes"),
        ("GBy", "x_gigabytes"),
        ("TBy", "x_terabytes"),
        ("m", "x_meters"),
        ("V", "x_volts"),
        ("A", "x_amperes"),
        ("J", "x_joules"),
        ("W", "x_watts"),
        ("g", "x_grams"),
        ("Cel", "x_celsius"),
        ("Hz", "x_hertz"),
        ("%", "x_percent"),
        ("1", "x"),
        ("", "x"),
        ("By/s", "x_bytes_per_second"),
        ("By/m", "x_bytes_per_minute"),
        ("By/h", "x_bytes_per_hour"),
        ("By/d", "x_bytes_per_day"),
        ("By/w", "x_bytes_per_week"),
        ("By/mo", "x_bytes_per_month"),
        ("By/y", "x_bytes_per_year"),
        ("By/min", "x_bytes_per_min"),
        ("1/s", "x_per_second"),
        ("/s", "x_per_second"),
        ("s/", "x_seconds"),
        (" By / s ", "x_bytes_per_second"),
        ("By/s/m", "x_bytes_per_s_m"),
        ("{packet}/{frame}", "x"),
        ("m^2", "x_m_2"),
        ("__a..b", "x_a_b"),
        ("[degF]", "x_degF_"),
        ("[degF]/[x]", "x_degF_per_x"),
        ("/[x]", "x_per_x"),
        ("°", "x"),
        ("°/s", "x_per_second"),
        ("s/°", "x_seconds"),
        ("x", "x"),
    ] {
        assert_eq!(metric("x", unit, Kind::Other), expected, "{unit}");
    }
    // A unit is one word, whatever it holds.
    for (name, unit, expected) in [
        ("cpu_usage", "cpu.cores", "cpu_usage_cpu_cores"),
        ("cpu.cores", "cpu.cores", "cpu_cores_cpu_cores"),
        ("rate.per.second", "{op}/s", "rate_per_second_per_second"),
    ] {
        assert_eq!(metric(name, unit, Kind::Gauge), expected);
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
fn what_is_said_of_a_sender_does_not_depend_on_its_order() {
    let mut resource = vec![
        text("service.name", "shop"),
        text("a.b", "2"),
        text("a-b", "1"),
    ];
    resource.extend((0..100).map(|n| text(&format!("more.{n}"), "x")));
    let info = |resource: &[KeyValue]| {
        let found = translated(resource, vec![of("a", "", gauge(vec![number(1.0, &[])]))]);
        found.series[1].0.clone()
    };
    let one = info(&resource);
    resource.reverse();
    assert_eq!(info(&resource), one);
    assert_eq!(one.get("a_b"), Some("1;2"));
}

#[test]
fn numbers_in_attributes_are_written_as_the_collector_writes_them() {
    let list = |value| {
        Any::ArrayValue(ArrayValue {
            values: vec![any(Any::DoubleValue(value))],
        })
    };
    for (value, expected) in [
        (1.0, "1"),
        (-0.5, "-0.5"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (-1.5e-9, "-1.5e-9"),
        (1e-10, "1e-10"),
        (1e16, "10000000000000000"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (f64::MAX, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
    ] {
        let attributes = [
            pair("one", Any::DoubleValue(value)),
            pair("list", list(value)),
        ];
        let found = translated(
            &[],
            vec![of("a", "", gauge(vec![number(1.0, &attributes)]))],
        );
        let labels = &found.series[0].0;
        assert_eq!(labels.get("one"), Some(expected));
        assert_eq!(labels.get("list"), Some(&*format!("[{expected}]")));
    }
    for (value, expected) in [
        (f64::NAN, "NaN"),
        (f64::INFINITY, "+Inf"),
        (-f64::INFINITY, "-Inf"),
    ] {
        let attributes = [
            pair("one", Any::DoubleValue(value)),
            pair("list", list(value)),
        ];
        let found = translated(
            &[],
            vec![of("a", "", gauge(vec![number(1.0, &attributes)]))],
        );
        let labels = &found.series[0].0;
        assert_eq!(
            labels.get("one"),
            Some(&*format!("json: unsupported value: {expected}"))
        );
        assert_eq!(labels.get("list"), None);
    }
}

#[test]
fn maps_are_written_with_their_keys_in_order() {
    let inner = KeyValueList {
        values: vec![pair("x\"y", Any::BytesValue(vec![0, 255]))],
    };
    let map = KeyValueList {
        values: vec![
            pair("b", Any::KvlistValue(inner)),
            pair("a", Any::BoolValue(false)),
            pair("a", Any::IntValue(-7)),
            KeyValue {
                key: "c".to_owned(),
                ..KeyValue::default()
            },
        ],
    };
    let attributes = [pair("map", Any::KvlistValue(map))];
    let found = translated(
        &[],
        vec![of("a", "", gauge(vec![number(1.0, &attributes)]))],
    );
    assert_eq!(
        found.series[0].0.get("map"),
        Some(r#"{"a":-7,"b":{"x\"y":"AP8="},"c":null}"#)
    );
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

/// The values of a label, in the order of the series.
fn values_of<'a>(found: &'a Translated, label: &str) -> Vec<&'a str> {
    found
        .series
        .iter()
        .filter_map(|(labels, _)| labels.get(label))
        .collect()
}

#[test]
fn bounds_and_quantiles_have_no_exponent() {
    let bounds = [-f64::MAX, 1e-7, 1.0, 1e16, 1e22];
    let found = translated(&[], vec![of("a", "", histogram(&bounds, &[0; 6], None))]);
    let largest = format!("-17976931348623157{}", "0".repeat(292));
    let expected = [
        &*largest,
        "0.0000001",
        "1",
        "10000000000000000",
        "10000000000000000000000",
        "+Inf",
    ];
    assert_eq!(values_of(&found, "le"), expected);
    let quantiles = [
        0.0,
        1e-7,
        0.999,
        1.0,
        f64::NAN,
        f64::INFINITY,
        -f64::INFINITY,
    ];
    let found = translated(&[], vec![of("a", "", summary(&quantiles))]);
    assert_eq!(
        values_of(&found, "quantile"),
        ["0", "0.0000001", "0.999", "1", "NaN", "+Inf", "-Inf"]
    );
}

/// A summary whose values are its quantiles.
fn summary(quantiles: &[f64]) -> Data {
    let values = quantiles.iter().map(|quantile| ValueAtQuantile {
        quantile: *quantile,
        value: *quantile,
    });
    let point = SummaryDataPoint {
        time_unix_nano: AT,
        count: 1,
        quantile_values: values.collect(),
        ..SummaryDataPoint::default()
    };
    Data::Summary(Summary {
        data_points: vec![point],
    })
}

/// The data with these attributes at its points.
fn with(mut data: Data, attributes: &[KeyValue]) -> Data {
    match &mut data {
        Data::Histogram(found) => found.data_points[0].attributes = attributes.to_vec(),
        Data::Summary(found) => found.data_points[0].attributes = attributes.to_vec(),
        _ => panic!("no such points here"),
    }
    data
}

#[test]
fn two_histograms_at_one_time_are_not_mixed() {
    let (one, other) = (
        histogram(&[1.0], &[5, 5], Some(9.0)),
        histogram(&[2.0], &[1, 0], None),
    );
    let bounds: Vec<f64> = (0..10).map(f64::from).collect();
    let many = histogram(&bounds, &[1; 11], None);
    let mut asked = request(&[], vec![of("a.b", "", one.clone())]);
    // Another scope, and another name that becomes the same.
    let another = ScopeMetrics {
        metrics: vec![
            of("a.b", "", other.clone()),
            of("a_b", "", many),
            of("a.b", "", summary(&[0.5])),
        ],
        ..ScopeMetrics::default()
    };
    asked.resource_metrics[0].scope_metrics.push(another);
    let found = translate(&asked).unwrap();
    let expected = [
        r#"a_b_bucket{le="1"} 5"#,
        r#"a_b_bucket{le="+Inf"} 10"#,
        "a_b_count 10",
        "a_b_sum 9",
    ];
    assert_eq!(lines(&found), expected);
    assert_eq!(found.refused, 3);
    let reason = found.reason.unwrap();
    assert!(
        reason.contains("\"a.b\"") && reason.contains("one time"),
        "{reason}"
    );
    // What tells the samples of one apart does not tell two apart.
    let alike = ["1", "2"].map(|le| of("a", "", with(one.clone(), &[text("le", le)])));
    assert_eq!(translated(&[], alike.to_vec()).refused, 1);
    let alike = ["1", "2"].map(|q| of("a", "", with(summary(&[0.5]), &[text("quantile", q)])));
    assert_eq!(translated(&[], alike.to_vec()).refused, 1);
    // Two summaries, of which one has a quantile the other does not have.
    let found = translated(
        &[],
        vec![
            of("a", "", summary(&[0.5])),
            of("a", "", summary(&[0.9, 1.0])),
        ],
    );
    assert_eq!(
        (values_of(&found, "quantile"), found.refused),
        (vec!["0.5"], 1)
    );
    // Other attributes, another time: other points.
    let mut later = other.clone();
    if let Data::Histogram(later) = &mut later {
        later.data_points[0].time_unix_nano += 1_000_000;
    }
    let apart = [one, with(other, &[text("k", "v")]), later].map(|data| of("a", "", data));
    assert_eq!(translated(&[], apart.to_vec()).refused, 0);
}

#[test]
fn a_histogram_that_ends_need_not_count_anything() {
    for (bounds, counts, count) in [
        (&[1.0, 2.0][..], &[][..], 0),
        (&[1.0, 2.0], &[0, 0, 0], 7),
        (&[1.0, 2.0], &[0], 0),
        (&[2.0, f64::NAN, 1.0], &[], 0),
    ] {
        let mut data = histogram(bounds, counts, None);
        if let Data::Histogram(found) = &mut data {
            found.data_points[0].flags = 1;
            found.data_points[0].count = count;
        }
        let found = translated(&[], vec![of("a", "", data)]);
        assert_eq!((found.refused, &found.reason), (0, &None));
        let mut names: Vec<_> = found
            .series
            .iter()
            .map(|(labels, _)| labels.to_string())
            .collect();
        names.sort();
        let expected = [
            r#"a_bucket{le="+Inf"}"#,
            r#"a_bucket{le="1"}"#,
            r#"a_bucket{le="2"}"#,
            "a_count",
            "a_sum",
        ];
        assert_eq!(names, expected);
        for (labels, samples) in &found.series {
            assert!(samples.len() == 1 && is_stale(samples[0].1), "{labels}");
        }
    }
}

#[test]
fn reasons_repeat_the_beginning_of_a_name_only() {
    let points = || vec![number(1.0, &[])];
    for name in [
        ".".repeat(8 << 20),
        "度".repeat(1 << 20),
        "x".repeat(1 << 20),
    ] {
        let long = of(&name, "", gauge(points()));
        let reason = translated(&[], vec![long]).reason.unwrap();
        assert!(reason.len() < 400, "{}", reason.len());
        let begin: String = name.chars().take(100).collect();
        assert!(reason.contains(&format!("\"{begin}…\"")), "{reason}");
    }
    for (length, end) in [(100, ""), (101, "…")] {
        let metric = of(&"度".repeat(length), "", gauge(points()));
        let reason = translated(&[], vec![metric]).reason.unwrap();
        assert!(
            reason.contains(&format!("{}{end}\":", "度".repeat(100))),
            "{reason}"
        );
    }
    let name = "x".repeat(4_000);
    let delta = of(&name, "", sum(DELTA, true, points()));
    assert!(translated(&[], vec![delta]).reason.unwrap().len() < 400);
    let twice = |value| of(&name, "", gauge(vec![number(value, &[])]));
    let reason = translated(&[], vec![twice(1.0), twice(2.0)])
        .reason
        .unwrap();
    assert!(reason.len() < 400, "{}", reason.len());
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
