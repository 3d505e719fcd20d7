//! How a record looks: for people, as JSON, as its bare value, or by a format of the user's.

use std::io::{self, Write};

use clap::ValueEnum;
use model::TopicPartition;
use record::Record;

use super::format::Format;
use crate::json::{Data, HeaderOut, RecordOut, timestamp_out};
use crate::output::json_line;
use crate::stage::Stage;
use crate::style::{OneLine, Style, Styled};

/// Characters of a key or value that are shown on a terminal.
const TERMINAL_LIMIT: usize = 2_000;

/// How records are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Look {
    /// For people: time, place, key, value, headers
    Text,
    /// For programs: one object a line
    Json,
    /// The bare value and a line end
    Value,
}

/// Prints records.
#[derive(Debug)]
pub(super) struct Printer {
    look: Look,
    format: Option<Format>,
    limit: Option<usize>,
    colors: bool,
}

impl Printer {
    pub(super) fn new(look: Look, format: Option<Format>, full: bool, stage: &Stage) -> Self {
        let shortens = stage.out_is_terminal && !full;
        Self {
            look,
            format,
            limit: shortens.then_some(TERMINAL_LIMIT),
            colors: stage.colors,
        }
    }

    pub(super) fn print(
        &self,
        at: &TopicPartition,
        record: &Record<'_>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        if let Some(format) = &self.format {
            return format.write(at, record, out);
        }
        match self.look {
            Look::Text => self.text(at, record, out),
            Look::Json => json_line(
                out,
                &RecordOut {
                    topic: at.topic.as_str(),
                    partition: at.partition.get(),
                    offset: record.offset.get(),
                    timestamp: timestamp_out(record.timestamp),
                    key: Data(record.key),
                    value: Data(record.value),
                    headers: record
                        .headers
                        .iter()
                        .map(|(name, value)| HeaderOut {
                            name,
                            value: Data(value),
                        })
                        .collect(),
                },
            ),
            Look::Value => {
                out.write_all(record.value.unwrap_or_default())?;
                out.write_all(b"\n")
            }
        }
    }

    /// `2026-05-01T12:00:00.000Z  orders/0@42  key  value  source=shop`; no key is `-`, no value `<null>`.
    fn text(
        &self,
        at: &TopicPartition,
        record: &Record<'_>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let styled = |text: String, style| Styled(text, style, self.colors);
        let time = timestamp_out(record.timestamp).unwrap_or_else(|| "-".to_owned());
        let place = format!("{}/{}@{}", at.topic, at.partition, record.offset);
        let one_line = |bytes| OneLine {
            bytes,
            limit: self.limit,
        };
        let key = record.key.map(|key| one_line(key).to_string());
        let key = match key {
            Some(key) => styled(key, Style::Key),
            None => styled("-".to_owned(), Style::Dim),
        };
        write!(
            out,
            "{}  {}  {key}  ",
            styled(time, Style::Dim),
            styled(place, Style::Place)
        )?;
        match record.value {
            Some(value) => write!(out, "{}", one_line(value))?,
            None => write!(out, "{}", styled("<null>".to_owned(), Style::Dim))?,
        }
        for (name, value) in &record.headers {
            let name = one_line(name.as_bytes()).to_string();
            let header = match value {
                Some(value) => format!("{name}={}", one_line(value)),
                None => name,
            };
            write!(out, "  {}", styled(header, Style::Dim))?;
        }
        out.write_all(b"\n")
    }
}

#[cfg(test)]
mod tests {
    use model::{PartitionId, Timestamp};
    use record::{BatchBuilder, Compression};

    use super::*;

    fn printed(look: Look, colors: bool) -> String {
        let mut builder = BatchBuilder::new(Compression::None);
        let at = Timestamp::from_millis(1_700_000_000_000);
        let headers: [(&str, Option<&[u8]>); 2] = [("source", Some(b"shop")), ("seen", None)];
        builder.push(at, Some(b"o-1"), Some(b"{\"total\": 3}\n"), &headers);
        builder.push(Timestamp::from_millis(-1), None, None, &[]);
        builder.push(at, Some(b"\xff\0"), Some("走马灯".as_bytes()), &[]);
        let batch = builder.build();
        let printer = Printer {
            look,
            format: None,
            limit: Some(10),
            colors,
        };
        let at = TopicPartition::new("orders".parse().unwrap(), PartitionId::new(3));
        let mut out = Vec::new();
        for record in &batch.records().unwrap() {
            printer.print(&at, &record.unwrap(), &mut out).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn for_people() {
        insta::assert_snapshot!(printed(Look::Text, false), @r#"
        2023-11-14T22:13:20.000Z  orders/3@0  o-1  {"total": … (+3 bytes)  source=shop  seen
        -  orders/3@1  -  <null>
        2023-11-14T22:13:20.000Z  orders/3@2  \xff\x00  走马灯
        "#);
    }

    #[test]
    fn in_colours() {
        let line = printed(Look::Text, true);
        let line = line.lines().nth(1).unwrap().replace('\x1b', "^");
        insta::assert_snapshot!(line, @"^[2m-^[0m  ^[36morders/3@1^[0m  ^[2m-^[0m  ^[2m<null>^[0m");
    }

    #[test]
    fn for_programs() {
        insta::assert_snapshot!(printed(Look::Json, false), @r#"
        {"topic":"orders","partition":3,"offset":0,"timestamp":"2023-11-14T22:13:20.000Z","key":"o-1","value":"{\"total\": 3}\n","headers":[{"name":"source","value":"shop"},{"name":"seen","value":null}]}
        {"topic":"orders","partition":3,"offset":1,"timestamp":null,"key":null,"value":null,"headers":[]}
        {"topic":"orders","partition":3,"offset":2,"timestamp":"2023-11-14T22:13:20.000Z","key":{"base64":"/wA="},"value":"走马灯","headers":[]}
        "#);
        insta::assert_snapshot!(printed(Look::Value, false), @r#"
        {"total": 3}


        走马灯
        "#);
    }
}
