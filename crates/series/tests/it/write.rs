//! Remote write against messages made by prost, an implementation that is not ours.

use model::Timestamp;
use proptest::prelude::*;
use prost::Message;
use series::write::{
    Applier, DECODED_BYTES_MAX, Decoded, RequestV2, SERIES_BYTES, WireError, compress, decode_v1,
    decode_v2, decompress, encode_v2,
};
use series::{Error, Labels, Matcher, STALE_NAN, Store, StoreOptions, Touched, is_stale};

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

/// A request of series that are written by hand.
#[derive(Clone, PartialEq, Message)]
struct Outer {
    #[prost(bytes = "vec", repeated, tag = "1")]
    timeseries: Vec<Vec<u8>>,
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

/// What the good series of a request take, counted anew.
fn taken(decoded: &Decoded) -> usize {
    let of = |(labels, samples): &(Labels, Vec<(Timestamp, f64)>)| {
        SERIES_BYTES + labels.text_len() + labels.len() * 8 + samples.capacity() * 16
    };
    decoded.series.iter().map(of).sum()
}

/// Series of one sample each, which all have the labels of the first.
fn alike(symbols: Vec<String>, labels_refs: &[u32], count: usize) -> Vec<u8> {
    let series = V2Series {
        labels_refs: labels_refs.to_vec(),
        samples: vec![sample(1, 1.0)],
        ..V2Series::default()
    };
    let timeseries = vec![series; count];
    V2Request {
        symbols,
        timeseries,
    }
    .encode_to_vec()
}

/// A series of as many and as long labels as may be, whose values are all one text.
fn widest() -> (Vec<String>, Vec<u32>) {
    let mut symbols = texts(&["", "__name__"]);
    symbols.push("x".repeat(4_096));
    symbols.extend((3..66).map(|number| format!("name{number}")));
    let names = std::iter::once(1).chain(3..66);
    (symbols, names.flat_map(|name| [name, 2]).collect())
}

#[test]
fn a_long_text_that_many_series_refer_to_is_not_copied_for_each() {
    let mut symbols = texts(&["", "__name__"]);
    symbols.push("x".repeat(1 << 20));
    for (refs, said) in [
        ([1, 2], "the value of label '__name__' has 1048576 bytes"),
        ([2, 1], "has 1048576 bytes, at most 512 are allowed"),
    ] {
        let decoded = decode_v2(&alike(symbols.clone(), &refs, 4_000)).unwrap();
        assert_eq!((decoded.refused_count, decoded.refused.len()), (4_000, 10));
        assert_eq!((decoded.series.len(), decoded.bytes), (0, 0));
        let reason = decoded.refused[0].reason.to_string();
        assert!(reason.contains(said), "{reason}");
    }
}

#[test]
fn long_names_are_not_compared() {
    // They differ in their last byte only: to sort them is to read all of them, many times over.
    let mut symbols = texts(&["", "value"]);
    symbols.extend((b'a'..=b'z').map(|last| "x".repeat(1 << 19) + &char::from(last).to_string()));
    let refs: Vec<u32> = (0..100).flat_map(|label| [2 + label * 7 % 26, 1]).collect();
    let few = refs.get(..40).unwrap_or_default();
    for (refs, said) in [(&*refs, "has 100 labels"), (few, "has 524289 bytes")] {
        let decoded = decode_v2(&alike(symbols.clone(), refs, 1_000)).unwrap();
        assert_eq!((decoded.refused_count, decoded.bytes), (1_000, 0));
        let reason = decoded.refused[0].reason.to_string();
        assert!(reason.contains(said) && reason.len() < 400, "{reason}");
    }
}

#[test]
fn what_the_good_series_of_a_request_take_is_bounded() {
    let (symbols, refs) = widest();
    let one = decode_v2(&alike(symbols.clone(), &refs, 1)).unwrap().bytes;
    assert!(one > 64 * 4_096, "{one}");
    let fit = DECODED_BYTES_MAX / one;
    let decoded = decode_v2(&alike(symbols.clone(), &refs, fit)).unwrap();
    assert_eq!((decoded.series.len(), decoded.bytes), (fit, fit * one));
    assert_eq!(decoded.bytes, taken(&decoded));
    let error = decode_v2(&alike(symbols, &refs, fit + 1)).unwrap_err();
    assert_eq!(error, WireError::Heavy);
    let text = error.to_string();
    assert!(
        text.contains("64 MiB") && text.contains("in parts"),
        "{text}"
    );
}

#[test]
fn samples_of_two_bytes_are_bounded_by_what_they_become() {
    let label = [b"\x0a\x08__name__".as_slice(), b"\x12\x02up"].concat();
    let series = |samples: usize| {
        let label = [&[0x0a, u8::try_from(label.len()).unwrap()], &*label].concat();
        [label, [0x12, 0].repeat(samples)].concat()
    };
    let request = |samples| {
        let timeseries = vec![series(samples)];
        Outer { timeseries }.encode_to_vec()
    };
    let most = (DECODED_BYTES_MAX - SERIES_BYTES) / 16 - 2;
    let decoded = decode_v1(&request(most)).unwrap();
    assert_eq!((decoded.samples, decoded.bytes), (most, taken(&decoded)));
    assert_eq!(decode_v1(&request(most + 2)).unwrap_err(), WireError::Heavy);
}

#[test]
fn version_1_labels_have_the_limits_of_the_store() {
    let series = |labels: Vec<V1Label>| V1Series {
        labels,
        samples: vec![sample(1, 1.0)],
        ..V1Series::default()
    };
    let with = |more: Vec<V1Label>| series([vec![label("__name__", "up")], more].concat());
    let many = |count: usize| with((0..count).map(|n| label(&format!("l{n}"), "v")).collect());
    let request = V1Request {
        timeseries: vec![
            many(63),
            many(64),
            with(vec![label(&"n".repeat(512), &"v".repeat(4_096))]),
            with(vec![label(&"n".repeat(513), "v")]),
            with(vec![label("n", &"v".repeat(4_097))]),
            // Labels that are not there are not counted.
            with(vec![label("", ""); 100_000]),
        ],
    };
    let decoded = decode_v1(&request.encode_to_vec()).unwrap();
    assert_eq!((decoded.series.len(), decoded.refused_count), (3, 3));
    assert_eq!(decoded.bytes, taken(&decoded));
    let [many, name, value] = &decoded.refused[..] else {
        panic!("{:?}", decoded.refused);
    };
    assert_eq!([many.index, name.index, value.index], [1, 3, 4]);
    assert!(matches!(
        many.reason,
        Error::TooManyLabels { count: 65, .. }
    ));
    let text = many.reason.to_string();
    assert!(
        text.starts_with(r#"series up{l0="v", l1="v""#) && text.contains("…"),
        "{text}"
    );
    assert!(matches!(name.reason, Error::LabelNameTooLong { .. }));
    assert!(matches!(value.reason, Error::LabelValueTooLong { .. }));
}

#[test]
fn tables_of_very_many_symbols_and_references_are_refused() {
    let symbols = [0x22, 0].repeat(DECODED_BYTES_MAX / 16 + 1);
    assert_eq!(decode_v2(&symbols).unwrap_err(), WireError::Heavy);
    let series = V2Series {
        labels_refs: vec![0; DECODED_BYTES_MAX / 4 + 2],
        ..V2Series::default()
    };
    let timeseries = vec![series];
    let request = V2Request {
        timeseries,
        symbols: texts(&[""]),
    };
    let request = request.encode_to_vec();
    assert_eq!(decode_v2(&request).unwrap_err(), WireError::Heavy);
}

#[test]
fn an_applier_has_the_limits_of_its_store() {
    let store = Store::new(StoreOptions {
        label_value_bytes_max: 4,
        ..StoreOptions::default()
    });
    let record = alike(texts(&["", "__name__", "upper"]), &[1, 2], 3);
    let applied = Applier::new()
        .apply(&store, &record, &mut Touched::new())
        .unwrap();
    assert_eq!((applied.stored, applied.refused), (0, 3));
    assert!(matches!(
        applied.first_refusal,
        Some(Error::LabelValueTooLong { .. })
    ));
    assert_eq!(store.counters().series_refused, 3);
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
        let decoded = decode_v2(&bytes).unwrap();
        prop_assert_eq!(bits(&decoded.series), bits(&series));
        prop_assert_eq!(decoded.bytes, taken(&decoded));
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
                assert_eq!(series.samples().count(), series.samples_len());
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
