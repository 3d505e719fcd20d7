//! Remote write against messages made by prost, an implementation that is not ours.

use model::Timestamp;
use proptest::prelude::*;
use prost::Message;
use series::write::{
    Applier, RequestV2, WireError, compress, decode_v1, decode_v2, decompress, encode_v2,
};
use series::{Labels, Matcher, STALE_NAN, Store, StoreOptions, Touched, is_stale};

#[derive(Clone, PartialEq, Message)]
struct V1Request {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<V1Series>,
}

#[derive(Clone, PartialEq, Message)]
struct V1Series {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<V1Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(bytes = "vec", repeated, tag = "3")]
    exemplars: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "4")]
    histograms: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct V1Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct V2Request {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<V2Series>,
}

#[derive(Clone, PartialEq, Message)]
struct V2Series {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(bytes = "vec", repeated, tag = "3")]
    histograms: Vec<Vec<u8>>,
}

fn label(name: &str, value: &str) -> V1Label {
    V1Label {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

fn sample(timestamp: i64, value: f64) -> Sample {
    Sample { value, timestamp }
}

fn texts(symbols: &[&str]) -> Vec<String> {
    symbols.iter().map(|s| (*s).to_owned()).collect()
}

#[test]
fn version_1_requests_are_read() {
    let request = V1Request {
        timeseries: vec![
            V1Series {
                labels: vec![label("job", "a"), label("__name__", "up")],
                samples: vec![sample(-5, 1.0), sample(10, f64::NAN)],
                exemplars: vec![vec![]],
                histograms: vec![vec![], vec![]],
            },
            V1Series {
                labels: vec![label("job", "nameless")],
                samples: vec![sample(1, 1.0)],
                ..V1Series::default()
            },
            V1Series {
                labels: vec![label("__name__", "x"), label("a", "1"), label("a", "2")],
                samples: vec![sample(1, 1.0)],
                ..V1Series::default()
            },
        ],
    };
    let decoded = decode_v1(&request.encode_to_vec()).unwrap();
    assert_eq!(decoded.samples, 2);
    assert_eq!(
        [decoded.histograms, decoded.exemplars, decoded.refused_count],
        [2, 1, 2]
    );
    let (labels, samples) = &decoded.series[0];
    assert_eq!(labels.to_string(), r#"up{job="a"}"#);
    assert_eq!(samples[0], (Timestamp::from_millis(-5), 1.0));
    assert!(samples[1].1.is_nan());
    let reasons: Vec<String> = decoded
        .refused
        .iter()
        .map(|r| r.reason.to_string())
        .collect();
    assert_eq!(
        reasons,
        [
            r#"series {job="nameless"} has no metric name"#,
            "label 'a' is given twice"
        ]
    );
}

#[test]
fn version_2_requests_are_read() {
    let request = V2Request {
        symbols: texts(&["", "__name__", "up", "job", "a"]),
        timeseries: vec![V2Series {
            labels_refs: vec![1, 2, 3, 4],
            samples: vec![sample(7, STALE_NAN)],
            histograms: vec![vec![]],
        }],
    };
    let decoded = decode_v2(&request.encode_to_vec()).unwrap();
    assert_eq!(decoded.series[0].0.to_string(), r#"up{job="a"}"#);
    assert!(
        is_stale(decoded.series[0].1[0].1),
        "the marker keeps its bits"
    );
    assert_eq!(decoded.histograms, 1);
}

#[test]
fn version_2_requests_that_lie_are_refused() {
    let request = |symbols: &[&str], refs: &[u32]| {
        let series = V2Series {
            labels_refs: refs.to_vec(),
            ..V2Series::default()
        };
        V2Request {
            symbols: texts(symbols),
            timeseries: vec![series],
        }
        .encode_to_vec()
    };
    let error = |bytes: &[u8]| decode_v2(bytes).unwrap_err();
    assert_eq!(error(&request(&["x"], &[])), WireError::FirstSymbol);
    assert_eq!(
        error(&request(&["", "a"], &[1])),
        WireError::OddLabels { series: 0 }
    );
    assert_eq!(
        error(&request(&["", "a"], &[1, 2])),
        WireError::UnknownSymbol {
            series: 0,
            symbol: 2,
            count: 2
        }
    );
    assert!(matches!(error(&[0x22, 5, 0]), WireError::Truncated { .. }));
    assert!(matches!(error(&[0x22, 1, 0xff]), WireError::NotUtf8 { .. }));
}

#[test]
fn an_applier_follows_its_series() {
    let store = Store::new(StoreOptions::default());
    let mut applier = Applier::new();
    let mut touched = Touched::new();
    let watch = store.watch(vec![Matcher::equal("__name__", "up")]);
    let up = Labels::of(&[("__name__", "up"), ("job", "a")]);
    let record = |second: i64| encode_v2(&[(up.clone(), [(Timestamp::from_millis(second), 1.0)])]);
    let applied = applier.apply(&store, &record(1), &mut touched).unwrap();
    assert_eq!((applied.stored, touched.contains(watch)), (1, true));
    let applied = applier.apply(&store, &record(1), &mut touched).unwrap();
    assert_eq!((applied.stored, applied.known), (0, 1));
    // The series is collected under the applier's feet.
    store.gc(Timestamp::from_millis(100_000_000));
    assert_eq!(store.counters().series, 0);
    let applied = applier
        .apply(&store, &record(100_000_000), &mut touched)
        .unwrap();
    assert_eq!(applied.stored, 1);
    assert_eq!(store.counters().series, 1);
    let old = applier.apply(&store, &record(5), &mut touched).unwrap();
    assert_eq!(old.outside, 1);
    let nameless = encode_v2(&[(
        Labels::of(&[("a", "b")]),
        [(Timestamp::from_millis(100_000_001), 1.0)],
    )]);
    let applied = applier.apply(&store, &nameless, &mut touched).unwrap();
    assert_eq!(applied.refused, 1);
    assert!(applied.first_refusal.is_some());
}

fn series() -> impl Strategy<Value = Vec<(Labels, Vec<(Timestamp, f64)>)>> {
    let labels =
        prop::collection::btree_map("[a-z_]{1,5}", "[a-z0-9 é]{1,6}", 0..5).prop_map(|map| {
            let pairs: Vec<(&str, &str)> =
                map.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            Labels::of(&pairs).with("__name__", "m")
        });
    let samples = prop::collection::vec((any::<i64>(), any::<u64>()), 1..5).prop_map(|samples| {
        let read = |(t, bits)| (Timestamp::from_millis(t), f64::from_bits(bits));
        samples.into_iter().map(read).collect()
    });
    prop::collection::vec((labels, samples), 0..8)
}

fn bits(series: &[(Labels, Vec<(Timestamp, f64)>)]) -> Vec<(Labels, Vec<(Timestamp, u64)>)> {
    let bits = |s: &(Timestamp, f64)| (s.0, s.1.to_bits());
    series
        .iter()
        .map(|(l, s)| (l.clone(), s.iter().map(bits).collect()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_encoded_is_decoded(series in series()) {
        let bytes = encode_v2(&series);
        prop_assert_eq!(bits(&decode_v2(&bytes).unwrap().series), bits(&series));
        // And prost reads the same.
        let request = V2Request::decode(bytes.as_slice()).unwrap();
        prop_assert_eq!(request.timeseries.len(), series.len());
        prop_assert_eq!(&request.symbols[0], "");
        let body = compress(&bytes).unwrap();
        prop_assert_eq!(decompress(&body).unwrap(), bytes);
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(decode_v1(&bytes));
        drop(decode_v2(&bytes));
        drop(decompress(&bytes));
        if let Ok(request) = RequestV2::parse(&bytes) {
            for series in request.series().flatten() {
                drop(request.labels(&series));
                series.samples().for_each(drop);
            }
        }
    }

    #[test]
    fn a_damaged_request_never_panics(series in series(), at in any::<usize>(), bit in 0_u8..8) {
        let mut bytes = encode_v2(&series);
        if !bytes.is_empty() {
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
        }
        drop(decode_v2(&bytes));
        let store = Store::new(StoreOptions::default());
        drop(Applier::new().apply(&store, &bytes, &mut Touched::new()));
    }
}
