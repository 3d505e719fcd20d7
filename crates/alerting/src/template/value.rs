//! What template expressions are made of, and how Go would print it.
//!
//! Invariants: cloning is cheap; a [`Value::Map`] answers missing keys with an empty string (as
//! Prometheus' `missingkey=zero` does for labels), a [`Value::Record`] refuses unknown fields.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::format;

/// A value inside a template.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Nothing, Go's `nil`.
    Nil,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A sample value or another number.
    Float(f64),
    /// Text.
    Str(Arc<str>),
    /// Things in order, for `range`.
    List(Arc<[Value]>),
    /// Names with values, for example labels; a missing name is empty.
    Map(Arc<BTreeMap<String, Value>>),
    /// Fixed fields, for example one result of `query`: `Labels` and `Value`.
    Record(Arc<BTreeMap<&'static str, Value>>),
    /// A moment in seconds after the epoch (`toTime`).
    Time(f64),
    /// A span in seconds (`toDuration`).
    Span(f64),
}

impl Value {
    /// Text as a value.
    pub(crate) fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Str(text.into())
    }

    /// Labels as a value.
    pub(crate) fn labels<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let map = labels
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Self::text(value)));
        Self::Map(Arc::new(map.collect()))
    }

    /// One result of `query`.
    pub(crate) fn sample(labels: Value, value: f64) -> Self {
        let fields = [("Labels", labels), ("Value", Self::Float(value))];
        Self::Record(Arc::new(fields.into_iter().collect()))
    }

    /// Whether `if` takes it: everything but false, zero, nothing and empty.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) | Self::Span(value) => *value != 0.0,
            Self::Str(value) => !value.is_empty(),
            Self::List(values) => !values.is_empty(),
            Self::Map(values) => !values.is_empty(),
            Self::Record(_) | Self::Time(_) => true,
        }
    }

    /// The name Go gives the type, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Str(_) => "string",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Record(_) => "sample",
            Self::Time(_) => "time",
            Self::Span(_) => "duration",
        }
    }

    /// Appends the value as Go's `%v` prints it.
    pub(super) fn print(&self, out: &mut String) {
        match self {
            Self::Nil => out.push_str("<nil>"),
            Self::Bool(value) => {
                let _ = write!(out, "{value}");
            }
            Self::Int(value) => {
                let _ = write!(out, "{value}");
            }
            Self::Float(value) => out.push_str(&format::shortest(*value)),
            Self::Str(value) => out.push_str(value),
            Self::List(values) => {
                out.push('[');
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        out.push(' ');
                    }
                    value.print(out);
                }
                out.push(']');
            }
            Self::Map(values) => {
                out.push_str("map[");
                for (index, (name, value)) in values.iter().enumerate() {
                    if index > 0 {
                        out.push(' ');
                    }
                    out.push_str(name);
                    out.push(':');
                    value.print(out);
                }
                out.push(']');
            }
            Self::Record(fields) => {
                out.push('{');
                for (index, value) in fields.values().enumerate() {
                    if index > 0 {
                        out.push(' ');
                    }
                    value.print(out);
                }
                out.push('}');
            }
            Self::Time(seconds) => out.push_str(&format::time(*seconds)),
            Self::Span(seconds) => out.push_str(&format::go_duration(*seconds)),
        }
    }

    /// The value as Go's `%v` prints it.
    pub(super) fn printed(&self) -> String {
        let mut out = String::new();
        self.print(&mut out);
        out
    }
}
