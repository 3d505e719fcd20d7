//! Which records fit.

use std::str::FromStr;

use record::Record;
use regex::bytes::Regex;

use super::condition::Condition;

/// A header that a record must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HeaderWanted {
    name: String,
    value: Option<String>,
}

impl FromStr for HeaderWanted {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        if name.is_empty() {
            return Err("write NAME or NAME=VALUE");
        }
        Ok(Self {
            name: name.to_owned(),
            value,
        })
    }
}

/// All that a record must be. An empty filter fits every record.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    pub(super) key: Option<Regex>,
    pub(super) value: Option<Regex>,
    pub(super) headers: Vec<HeaderWanted>,
    pub(super) conditions: Vec<Condition>,
}

impl Filter {
    /// Whether all of it is so. Null keys and values match no expression.
    pub(super) fn fits(&self, record: &Record<'_>) -> bool {
        matches(self.key.as_ref(), record.key)
            && matches(self.value.as_ref(), record.value)
            && self.headers.iter().all(|wanted| has(record, wanted))
            && self.is_json_that_fits(record.value)
    }

    fn is_json_that_fits(&self, value: Option<&[u8]>) -> bool {
        if self.conditions.is_empty() {
            return true;
        }
        let json = value.and_then(|value| serde_json::from_slice(value).ok());
        let Some(json) = json else {
            return false;
        };
        self.conditions.iter().all(|one| one.fits(&json))
    }
}

fn matches(regex: Option<&Regex>, bytes: Option<&[u8]>) -> bool {
    regex.is_none_or(|regex| bytes.is_some_and(|bytes| regex.is_match(bytes)))
}

fn has(record: &Record<'_>, wanted: &HeaderWanted) -> bool {
    record.headers.iter().any(|(name, value)| {
        let same = |text: &String| value == Some(text.as_bytes());
        name == wanted.name && wanted.value.as_ref().is_none_or(same)
    })
}

#[cfg(test)]
mod tests {
    use model::Timestamp;
    use record::{BatchBuilder, Compression};

    use super::*;

    type Parts<'a> = (
        Option<&'a [u8]>,
        Option<&'a [u8]>,
        &'a [(&'a str, Option<&'a [u8]>)],
    );

    fn check(filter: &Filter, (key, value, headers): Parts<'_>, expected: bool) {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(Timestamp::from_millis(1), key, value, headers);
        let batch = builder.build();
        let records = batch.records().unwrap();
        let record = records.iter().next().unwrap().unwrap();
        assert_eq!(filter.fits(&record), expected, "{record:?}");
    }

    #[test]
    fn everything_asked_for_must_be_so() {
        let regex = |text: &str| Some(Regex::new(text).unwrap());
        let all = Filter {
            key: regex("^o-"),
            value: regex("paid"),
            headers: vec!["source=shop".parse().unwrap(), "trace".parse().unwrap()],
            conditions: vec![],
        };
        let shop: (&str, Option<&[u8]>) = ("source", Some(b"shop"));
        let good = [("source", Some(&b"app"[..])), shop, ("trace", None)];
        check(&all, (Some(b"o-1"), Some(b"unpaid"), &good), true);
        check(&all, (Some(b"p-1"), Some(b"paid"), &good), false);
        check(&all, (Some(b"o-1"), Some(b"open"), &good), false);
        check(&all, (Some(b"o-1"), Some(b"paid"), &good[..2]), false);
        check(
            &all,
            (Some(b"o-1"), Some(b"paid"), &[good[0], good[2]]),
            false,
        );
        check(&all, (None, Some(b"paid"), &good), false);
        check(&all, (Some(b"o-1"), None, &good), false);
        check(&Filter::default(), (None, None, &[]), true);
        assert!("=x".parse::<HeaderWanted>().is_err());
    }

    #[test]
    fn bytes_that_are_no_text_are_matched_too() {
        let filter = Filter {
            value: Some(Regex::new(r"(?-u)\xff.b").unwrap()),
            ..Filter::default()
        };
        check(&filter, (None, Some(b"a\xff-b"), &[]), true);
    }

    #[test]
    fn conditions_want_json() {
        let filter = Filter {
            conditions: vec![
                super::super::condition::read(".amount > 100").unwrap(),
                super::super::condition::read(".status == paid").unwrap(),
            ],
            ..Filter::default()
        };
        check(
            &filter,
            (None, Some(br#"{"amount": 101, "status": "paid"}"#), &[]),
            true,
        );
        check(
            &filter,
            (None, Some(br#"{"amount": 101, "status": "open"}"#), &[]),
            false,
        );
        check(&filter, (None, Some(b"amount 101"), &[]), false);
        check(&filter, (None, None, &[]), false);
    }
}
