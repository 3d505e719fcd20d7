//! How much a request may ask for, and that what is counted is no less than what is taken.

use super::*;

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

/// What series take in memory: counts, pointers and ends of their labels, texts, and the room of lists.
fn memory(found: &Translated) -> usize {
    let each = found.series.iter().map(|(labels, samples)| {
        let labels = 56 + labels.text_len() + 8 * labels.len();
        labels + samples.capacity() * size_of::<(Timestamp, f64)>()
    });
    found.series.capacity() * size_of::<(Labels, Vec<(Timestamp, f64)>)>() + each.sum::<usize>()
}

#[test]
fn what_is_counted_is_no_less_than_what_series_take() {
    let pairs: Vec<_> = (0..60).map(|n| text(&format!("k{n}"), "v")).collect();
    for attributes in [&pairs[..0], &pairs] {
        for count in [1, 2, 100, 129, 1_025] {
            let numbers =
                (0..count).map(|n| of(&format!("a{n}"), "", gauge(vec![number(1.0, attributes)])));
            let found = translated(&[], numbers.collect());
            assert_eq!(found.series.len(), count);
            assert!(
                found.bytes >= memory(&found),
                "{} of {}",
                found.bytes,
                memory(&found)
            );
            let points = (1..=count).map(|n| NumberDataPoint {
                time_unix_nano: AT + n as u64 * 1_000_000,
                ..number(1.0, attributes)
            });
            let found = translated(&[], vec![of("a", "", gauge(points.collect()))]);
            assert_eq!(found.series[0].1.len(), count);
            assert!(
                found.bytes >= memory(&found),
                "{} of {}",
                found.bytes,
                memory(&found)
            );
        }
    }
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

/// One message in another, by fields from the outside in.
fn chain(fields: &[u8], innermost: &[u8]) -> Vec<u8> {
    let begin = innermost.to_vec();
    fields
        .iter()
        .rev()
        .fold(begin, |inner, field| nested(*field, &inner))
}

#[test]
fn what_is_weighed_is_no_less_than_what_decoding_takes() {
    let (count, bound, text) = ([0x31; 9], [0x39; 9], [0x1a, 1, b'x']);
    // A list of each kind, by the way to it and an item.
    let pairs: [&[u8]; 11] = [
        &[1, 1, 1],
        &[1, 2, 1, 3],
        &[1, 2, 2, 12],
        &[1, 2, 2, 5, 1, 7],
        &[1, 2, 2, 7, 1, 7],
        &[1, 2, 2, 9, 1, 9],
        &[1, 2, 2, 10, 1, 1],
        &[1, 2, 2, 11, 1, 7],
        &[1, 2, 2, 5, 1, 5, 7],
        &[1, 2, 2, 10, 1, 11, 7],
        &[1, 1, 1, 2, 6, 1],
    ];
    let others: [(&[u8], &[u8]); 18] = [
        (&[], &[0x0a, 0]),
        (&[1], &[0x12, 0]),
        (&[1, 1], &[0x1a, 0]),
        (&[1, 1, 3], &text),
        (&[1, 1, 3], &[0x22, 1, b'x']),
        (&[1, 2], &[0x12, 0]),
        (&[1, 2, 2, 5], &[0x0a, 0]),
        (&[1, 2, 2, 9], &[0x0a, 0]),
        (&[1, 2, 2, 10], &[0x0a, 0]),
        (&[1, 2, 2, 11], &[0x0a, 0]),
        (&[1, 2, 2, 5, 1], &[0x2a, 0]),
        (&[1, 2, 2, 9, 1], &[0x42, 0]),
        (&[1, 2, 2, 9, 1], &count),
        (&[1, 2, 2, 9, 1], &bound),
        (&[1, 2, 2, 10, 1, 8], &[0x10, 1]),
        (&[1, 2, 2, 10, 1, 9], &[0x12, 1, 1]),
        (&[1, 2, 2, 11, 1], &[0x32, 0]),
        (&[1, 1, 1, 2, 5], &[0x0a, 0]),
    ];
    let lists = pairs
        .iter()
        .map(|way| (&way[..way.len() - 1], nested(way[way.len() - 1], &[])));
    let lists = lists.chain(others.map(|(way, item)| (way, item.to_vec())));
    for (way, item) in lists {
        for items in [1, 2, 4, 5, 9, 129] {
            // The same list in as many messages as fill the room of their own list almost.
            let one = chain(way.get(1..).unwrap_or_default(), &item.repeat(items));
            let bytes = match way.first() {
                Some(field) => nested(*field, &one).repeat(129),
                None => one,
            };
            let (most, taken) = weigh(&bytes).unwrap();
            assert!(taken >= items, "{way:?} holds no list");
            assert!(
                most >= taken,
                "{way:?}, {items} of {item:02x?}: {taken} are more than {most}"
            );
        }
    }
}

#[test]
fn lists_of_one_in_lists_of_one_are_weighed_with_the_room_they_have() {
    // An exponential histogram with an attribute, and an exemplar with one.
    let point = [nested(1, &[]), nested(11, &nested(7, &[]))].concat();
    let bytes = chain(&[1, 2, 2, 10, 1], &point).repeat(80_000);
    assert!(bytes.len() < 2 << 20, "{}", bytes.len());
    let (most, taken) = weigh(&bytes).unwrap();
    assert!(taken > DECODED_BYTES_MAX, "{taken}");
    assert!(most >= taken, "{most} for {taken}");
    assert!(matches!(decode(&bytes), Err(Error::Heavy)));
}
