//! Where in an event a value comes from: `key`, `header.NAME`, or `value.PATH` into its JSON.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A place in an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// The record's key, as text.
    Key,
    /// The first header of this name.
    Header(String),
    /// A member of the JSON value, by its path of object keys.
    Value(Vec<String>),
}

/// Why a text names no place.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{text}' is no field: write key, header.NAME or value.PATH")]
pub struct ParseFieldError {
    text: String,
}

impl FromStr for Field {
    type Err = ParseFieldError;

    fn from_str(text: &str) -> Result<Self, ParseFieldError> {
        let error = || ParseFieldError {
            text: text.to_owned(),
        };
        if text == "key" {
            return Ok(Self::Key);
        }
        match text.split_once('.') {
            Some(("header", name)) if !name.is_empty() => Ok(Self::Header(name.to_owned())),
            Some(("value", path)) if path.split('.').all(|part| !part.is_empty()) => {
                Ok(Self::Value(path.split('.').map(str::to_owned).collect()))
            }
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => f.write_str("key"),
            Self::Header(name) => write!(f, "header.{name}"),
            Self::Value(path) => write!(f, "value.{}", path.join(".")),
        }
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// One event as meters see it.
pub trait Event {
    /// When it happened, Unix milliseconds.
    fn millis(&self) -> i64;
    /// Its key.
    fn key(&self) -> Option<&[u8]>;
    /// The first header of this name.
    fn header(&self, name: &str) -> Option<&[u8]>;
    /// Its value as JSON; `None` when it is none.
    fn json(&self) -> Option<&Value>;
}

impl Field {
    /// The text of this place; `None` when the event does not have it.
    pub fn text<'e>(&self, event: &'e dyn Event) -> Option<Cow<'e, str>> {
        match self {
            Self::Key => event.key().map(String::from_utf8_lossy),
            Self::Header(name) => event.header(name).map(String::from_utf8_lossy),
            Self::Value(path) => match find(event, path)? {
                Value::String(text) => Some(Cow::Borrowed(text)),
                Value::Null => None,
                other => Some(Cow::Owned(other.to_string())),
            },
        }
    }

    /// The number at this place; texts of numbers count.
    pub fn number(&self, event: &dyn Event) -> Option<f64> {
        if let Self::Value(path) = self
            && let Some(number) = find(event, path).and_then(Value::as_f64)
        {
            return Some(number);
        }
        self.text(event)?
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
    }
}

fn find<'e>(event: &'e dyn Event, path: &[String]) -> Option<&'e Value> {
    path.iter()
        .try_fold(event.json()?, |value, name| value.get(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_read_back_as_written() {
        for text in ["key", "header.ce_type", "value.amount", "value.a.b"] {
            assert_eq!(text.parse::<Field>().unwrap().to_string(), text);
        }
        for wrong in ["", "keys", "header.", "value.", "value.a..b", "body.x"] {
            assert!(wrong.parse::<Field>().is_err(), "{wrong}");
        }
    }
}
