//! A record as JSON, the same when it is consumed and when it is produced.
//!
//! Keys, values and header values are bytes: text is a string, other bytes are `{"base64": "…"}`, a
//! null is `null`. Produced, a value may also be any other JSON, which is taken as it is written.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::Timestamp;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::units;

/// Bytes, or none, on the way out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Data<'a>(pub(crate) Option<&'a [u8]>);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(bytes) = self.0 else {
            return serializer.serialize_none();
        };
        if let Ok(text) = std::str::from_utf8(bytes) {
            return serializer.serialize_str(text);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("base64", &STANDARD.encode(bytes))?;
        map.end()
    }
}

/// A header on the way out.
#[derive(Debug, Serialize)]
pub(crate) struct HeaderOut<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: Data<'a>,
}

/// A record on the way out.
#[derive(Debug, Serialize)]
pub(crate) struct RecordOut<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    /// RFC 3339; null for records that have none.
    pub(crate) timestamp: Option<String>,
    pub(crate) key: Data<'a>,
    pub(crate) value: Data<'a>,
    pub(crate) headers: Vec<HeaderOut<'a>>,
}

/// A record's time on the way out: -1 is Kafka's "none".
pub(crate) fn timestamp_out(at: Timestamp) -> Option<String> {
    (at.millis() != -1).then(|| units::time(at))
}

/// A header's name with its value or none.
pub(crate) type Header = (String, Option<Vec<u8>>);

/// A record on the way in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RecordIn {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<Header>,
    pub(crate) partition: Option<u32>,
    pub(crate) timestamp: Option<Timestamp>,
}

/// The fields; where a record came from is known and not used.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields<'a> {
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(borrow, default)]
    headers: Option<&'a RawValue>,
    #[serde(default)]
    partition: Option<u32>,
    #[serde(borrow, default)]
    timestamp: Option<&'a RawValue>,
    #[serde(default, rename = "topic")]
    _topic: serde::de::IgnoredAny,
    #[serde(default, rename = "offset")]
    _offset: serde::de::IgnoredAny,
}

/// A field that is there, even as `null`.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Base64 {
    base64: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderIn<'a> {
    name: String,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
}

/// Reads a line of JSON; the error says what is wrong with it.
pub(crate) fn read(line: &[u8]) -> Result<RecordIn, String> {
    let fields: Fields<'_> = serde_json::from_slice(line).map_err(|error| {
        let hint = if error.to_string().starts_with("unknown field") {
            " (to produce each line of JSON as a value, leave out --input json)"
        } else {
            ""
        };
        format!("it is no record as JSON: {}{hint}", short(&error))
    })?;
    let value = fields
        .value
        .ok_or("it has no \"value\": write null for a tombstone")?;
    Ok(RecordIn {
        key: fields.key.map_or(Ok(None), data)?,
        value: data(value)?,
        headers: fields.headers.map_or(Ok(Vec::new()), headers)?,
        partition: fields.partition,
        timestamp: fields.timestamp.map_or(Ok(None), timestamp)?,
    })
}

/// Each line is a document of its own: the column says enough.
fn short(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((what, _)) => format!("{what} at column {}", error.column()),
        None => text,
    }
}

fn data(raw: &RawValue) -> Result<Option<Vec<u8>>, String> {
    let text = raw.get();
    if text == "null" {
        return Ok(None);
    }
    if text.starts_with('"') {
        let text: String = serde_json::from_str(text).map_err(|error| short(&error))?;
        return Ok(Some(text.into_bytes()));
    }
    if text.starts_with('{')
        && let Ok(Base64 { base64 }) = serde_json::from_str(text)
    {
        let bytes = STANDARD.decode(base64);
        return bytes
            .map(Some)
            .map_err(|error| format!("its base64 is none: {error}"));
    }
    Ok(Some(text.as_bytes().to_vec()))
}

/// `[{"name": …, "value": …}]`, or `{"name": "value"}` for those who write by hand.
fn headers(raw: &RawValue) -> Result<Vec<Header>, String> {
    let text = raw.get();
    let wrong = |error: serde_json::Error| {
        format!(
            "its headers are neither [{{\"name\": …, \"value\": …}}] nor {{\"name\": \"value\"}}: {}",
            short(&error)
        )
    };
    if text == "null" {
        return Ok(Vec::new());
    }
    if text.starts_with('[') {
        let list: Vec<HeaderIn<'_>> = serde_json::from_str(text).map_err(wrong)?;
        let list = list.into_iter();
        return list
            .map(|header| Ok((header.name, header.value.map_or(Ok(None), data)?)))
            .collect();
    }
    let map: std::collections::BTreeMap<String, &RawValue> =
        serde_json::from_str(text).map_err(wrong)?;
    map.into_iter()
        .map(|(name, value)| Ok((name, data(value)?)))
        .collect()
}

/// RFC 3339, or Unix milliseconds.
fn timestamp(raw: &RawValue) -> Result<Option<Timestamp>, String> {
    let text = raw.get();
    if text == "null" {
        return Ok(None);
    }
    if let Ok(millis) = text.parse() {
        return Ok(Some(Timestamp::from_millis(millis)));
    }
    let time = text.trim_matches('"').parse::<jiff::Timestamp>();
    let time = time.map_err(|_| {
        format!("its timestamp {text} is neither \"2026-05-01T12:00:00Z\" nor Unix milliseconds")
    })?;
    Ok(Some(Timestamp::from_millis(time.as_millisecond())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn records_as_people_write_them() {
        let record = read(br#"{"key":"k","value":{"amount": 1.50},"headers":{"a":"1"},"partition":2,"timestamp":"1970-01-01T00:00:01Z"}"#);
        assert_eq!(
            record.unwrap(),
            RecordIn {
                key: Some(b"k".to_vec()),
                value: Some(br#"{"amount": 1.50}"#.to_vec()),
                headers: vec![("a".into(), Some(b"1".to_vec()))],
                partition: Some(2),
                timestamp: Some(Timestamp::from_millis(1_000)),
            }
        );
        let tombstone =
            read(br#"{"key":{"base64":"/w=="},"value":null,"timestamp":5,"topic":"t","offset":9}"#);
        let tombstone = tombstone.unwrap();
        assert_eq!(tombstone.key, Some(vec![0xff]));
        assert_eq!((tombstone.value, tombstone.headers.len()), (None, 0));
        assert_eq!(tombstone.timestamp, Some(Timestamp::from_millis(5)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said = |line: &str| read(line.as_bytes()).unwrap_err();
        insta::assert_snapshot!(said("plain text"), @"it is no record as JSON: expected value at column 1");
        insta::assert_snapshot!(said(r#"{"amount": 3}"#), @"it is no record as JSON: unknown field `amount`, expected one of `key`, `value`, `headers`, `partition`, `timestamp`, `topic`, `offset` at column 9 (to produce each line of JSON as a value, leave out --input json)");
        insta::assert_snapshot!(said(r#"{"key": "k"}"#), @r#"it has no "value": write null for a tombstone"#);
        insta::assert_snapshot!(said(r#"{"value": "v", "timestamp": "noon"}"#), @r#"its timestamp "noon" is neither "2026-05-01T12:00:00Z" nor Unix milliseconds"#);
        insta::assert_snapshot!(said(r#"{"value": {"base64": "!"}}"#), @"its base64 is none: Invalid symbol 33, offset 0.");
        assert!(said(r#"{"value": "v", "headers": 3}"#).starts_with("its headers are neither"));
        assert!(said(r#"{"value": "v", "partition": -1}"#).contains("invalid value"));
    }

    proptest! {
        #[test]
        fn what_was_consumed_can_be_produced(
            key in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)),
            value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)),
            header in "\\PC*",
            millis in 0_i64..4_000_000_000_000,
        ) {
            let out = RecordOut {
                topic: "t",
                partition: 3,
                offset: 7,
                timestamp: timestamp_out(Timestamp::from_millis(millis)),
                key: Data(key.as_deref()),
                value: Data(value.as_deref()),
                headers: vec![HeaderOut { name: &header, value: Data(value.as_deref()) }],
            };
            let read = read(&serde_json::to_vec(&out).unwrap()).unwrap();
            prop_assert_eq!(read, RecordIn {
                key,
                headers: vec![(header, value.clone())],
                value,
                partition: Some(3),
                timestamp: Some(Timestamp::from_millis(millis)),
            });
        }
    }
}
