//! Ticker rows: a record copied out of its batch, and later written as the page prints it.

use std::borrow::Cow;

use frame::Level;
use model::Timestamp;
use record::Record;
use serde_json::{Value, json};

use crate::cells::OwnedRow;
use crate::plan::TickerPlan;
use crate::template::{Field, Template};
use crate::unit::Unit;

/// Bytes of a value that a row looks at; a longer one is shown without its fields.
const VALUE_BYTES: usize = 16 << 10;

/// Characters of one column of a row; what is longer ends in an ellipsis.
const COLUMN_CHARS: usize = 200;

/// What a row needs of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawRow {
    pub(crate) timestamp: Timestamp,
    key: Option<Box<[u8]>>,
    value: Option<Box<[u8]>>,
    /// Bytes of the value, kept or not.
    size: usize,
    offset: u64,
    headers: Vec<(Box<str>, Box<[u8]>)>,
}

impl RawRow {
    pub(crate) fn copy(record: &Record<'_>) -> Self {
        let value = record.value.filter(|value| value.len() <= VALUE_BYTES);
        let headers = record.headers.iter();
        Self {
            timestamp: record.timestamp,
            key: record.key.map(Into::into),
            value: value.map(Into::into),
            size: record.value.map_or(0, <[u8]>::len),
            offset: record.offset.get(),
            headers: headers
                .filter_map(|(name, value)| Some((name.into(), value?.into())))
                .collect(),
        }
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        let found = self.headers.iter().find(|(known, _)| **known == *name);
        found.map(|(_, value)| &**value)
    }
}

/// Writes rows of one ticker.
#[derive(Debug)]
pub(crate) struct RowBuilder {
    next_id: f64,
}

impl RowBuilder {
    /// Ids grow from a start that is higher at every later moment, so that they grow across restarts.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            next_id: now.millis().max(0) as f64 * 256.0,
        }
    }

    pub(crate) fn build(&mut self, plan: &TickerPlan, raw: &RawRow) -> OwnedRow {
        let row_id = self.next_id;
        self.next_id += 1.0;
        let value = raw
            .value
            .as_deref()
            .and_then(|value| serde_json::from_slice(value).ok());
        let kind = column(&plan.kind, raw, value.as_ref());
        let level = plan.levels.get(&kind).copied().unwrap_or(Level::None);
        let text = json!({
            "type": kind,
            "subject": column(&plan.subject, raw, value.as_ref()),
            "text": column(&plan.text, raw, value.as_ref()),
        });
        OwnedRow {
            row_id,
            t_ms: raw.timestamp.millis() as f64,
            level,
            text: text.to_string(),
        }
    }
}

fn column(template: &Template, raw: &RawRow, value: Option<&Value>) -> String {
    let mut text = String::new();
    template.render(&mut text, Unit::Short, |name| field(raw, value, name));
    if let Some((cut, _)) = text.char_indices().nth(COLUMN_CHARS) {
        text.truncate(cut);
        text.push('…');
    }
    text
}

/// `key`, `value`, `size`, `offset`, `header.NAME` or `value.PATH`.
fn field<'a>(raw: &'a RawRow, value: Option<&'a Value>, name: &str) -> Option<Field<'a>> {
    let text = |bytes: &'a [u8]| Field::Text(String::from_utf8_lossy(bytes));
    if let Some(header) = name.strip_prefix("header.") {
        return raw.header(header).map(text);
    }
    match name {
        "key" => raw.key.as_deref().map(text),
        "value" => raw.value.as_deref().map(text),
        "size" => Some(Field::Number(raw.size as f64)),
        "offset" => Some(Field::Text(raw.offset.to_string().into())),
        _ => json_field(value?, name.strip_prefix("value.")?),
    }
}

fn json_field<'a>(value: &'a Value, path: &str) -> Option<Field<'a>> {
    let found = path.split('.').try_fold(value, |value, part| match value {
        Value::Array(list) => list.get(part.parse::<usize>().ok()?),
        value => value.get(part),
    })?;
    Some(match found {
        Value::Null => return None,
        Value::String(text) => Field::Text(Cow::Borrowed(text)),
        Value::Number(number) => Field::Number(number.as_f64()?),
        other => Field::Text(Cow::Owned(other.to_string())),
    })
}
