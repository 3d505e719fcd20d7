//! A line becomes a record.

use clap::ValueEnum;
use model::Timestamp;

use crate::json::{self, Header};

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Framing {
    /// A value, or a key and a value
    Lines,
    /// A record as JSON
    Json,
    /// Nothing: all of the input is one value
    Whole,
}

/// What is the same in every record, and how a line is read.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) framing: Framing,
    pub(super) key: Option<Vec<u8>>,
    pub(super) separator: Option<Vec<u8>>,
    pub(super) headers: Vec<Header>,
    pub(super) partition: Option<u32>,
    pub(super) empty_as_null: bool,
}

/// A record to produce.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<Header>,
    pub(super) partition: Option<u32>,
    pub(super) timestamp: Timestamp,
}

impl Recipe {
    /// The record of one line; what is wrong with it otherwise.
    pub(super) fn record(&self, line: &[u8], now: Timestamp) -> Result<Record, String> {
        let mut record = match self.framing {
            Framing::Json => {
                let read = json::read(line)?;
                let mut headers = self.headers.clone();
                headers.extend(read.headers);
                Record {
                    key: read.key,
                    value: read.value,
                    headers,
                    partition: read.partition,
                    timestamp: read.timestamp.unwrap_or(now),
                }
            }
            Framing::Lines | Framing::Whole => {
                let (key, value) = self.split(line);
                Record {
                    key: key.map(<[u8]>::to_vec).or_else(|| self.key.clone()),
                    value: Some(value.to_vec()),
                    headers: self.headers.clone(),
                    partition: None,
                    timestamp: now,
                }
            }
        };
        record.partition = self.partition.or(record.partition);
        if self.empty_as_null && record.value.as_deref() == Some(b"") {
            record.value = None;
        }
        Ok(record)
    }

    /// At the first separator; a line without one has no key.
    fn split<'a>(&self, line: &'a [u8]) -> (Option<&'a [u8]>, &'a [u8]) {
        let Some(separator) = &self.separator else {
            return (None, line);
        };
        let mut places = line.windows(separator.len());
        match places.position(|place| place == separator.as_slice()) {
            Some(at) => (Some(&line[..at]), &line[at + separator.len()..]),
            None => (None, line),
        }
    }
}

/// `name=value`, or `name` for a null value.
pub(super) fn header(text: &str) -> Header {
    match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.as_bytes().to_vec())),
        None => (text.to_owned(), None),
    }
}

/// A separator as it is written in a flag, with `\t` and `\n`.
pub(super) fn separator(text: &str) -> Result<String, String> {
    let text = text.replace("\\t", "\t").replace("\\n", "\n");
    if text.is_empty() {
        return Err("a separator has at least one character".to_owned());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        Recipe {
            framing: Framing::Lines,
            key: None,
            separator: None,
            headers: vec![],
            partition: None,
            empty_as_null: false,
        }
    }

    fn check(recipe: &Recipe, line: &str, key: Option<&str>, value: Option<&str>) {
        let record = recipe
            .record(line.as_bytes(), Timestamp::from_millis(5))
            .unwrap();
        let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
        assert_eq!(
            (record.key, record.value),
            (bytes(key), bytes(value)),
            "{line}"
        );
        assert_eq!(record.timestamp, Timestamp::from_millis(5));
    }

    #[test]
    fn lines_have_keys_where_there_is_a_separator() {
        check(&recipe(), "a:b", None, Some("a:b"));
        let colons = Recipe {
            separator: Some(b"::".to_vec()),
            ..recipe()
        };
        check(&colons, "a::b::c", Some("a"), Some("b::c"));
        check(&colons, "::b", Some(""), Some("b"));
        check(&colons, "a:", None, Some("a:"));
        check(&colons, "", None, Some(""));
        let fixed = Recipe {
            key: Some(b"k".to_vec()),
            ..recipe()
        };
        check(&fixed, "v", Some("k"), Some("v"));
    }

    #[test]
    fn empty_values_become_tombstones_where_that_is_wished() {
        let tombs = Recipe {
            separator: Some(b":".to_vec()),
            empty_as_null: true,
            ..recipe()
        };
        check(&tombs, "a:", Some("a"), None);
        check(&tombs, "a:b", Some("a"), Some("b"));
    }

    #[test]
    fn flags_come_before_what_a_line_says() {
        let json = Recipe {
            framing: Framing::Json,
            headers: vec![header("from=flag"), header("null")],
            partition: Some(3),
            ..recipe()
        };
        let line = br#"{"value":"v","partition":1,"headers":{"a":"1"},"timestamp":9}"#;
        let record = json.record(line, Timestamp::from_millis(5)).unwrap();
        assert_eq!(record.partition, Some(3));
        assert_eq!(record.timestamp, Timestamp::from_millis(9));
        let names: Vec<&str> = record
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["from", "null", "a"]);
        assert_eq!(record.headers[1].1, None);
    }
}
