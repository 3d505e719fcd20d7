//! The answer of an endpoint as records: CloudEvents over HTTP, read as they are sent.
//!
//! Nothing is no record. One event is in binary mode (`ce-` headers, the body is the value) or structured
//! (`application/cloudevents+json`); a list is batched (`application/cloudevents-batch+json`). The attribute `partitionkey` is the
//! key; other attributes become `ce_` headers, `traceparent` and `tracestate` headers of their own name.
//! Source: CloudEvents 1.0.2, HTTP and Kafka protocol bindings and JSON format; extensions "partitioning" and "distributed tracing".

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::answer::{Key, Output};
use crate::headers;

const CONTENT_TYPE: &str = "content-type";
/// Attributes that every event has.
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];
/// Headers of an answer that a record takes as they are: what a sender may say of a delivery, and its trace.
const TAKEN: [&str; 5] = [
    "traceparent",
    "tracestate",
    headers::PRIORITY,
    headers::DEADLINE,
    headers::DELIVER_AT,
];

/// Why an answer is no event.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// It says nothing of CloudEvents.
    #[error(
        "it has {bytes} bytes of '{kind}', and neither a ce-specversion header nor the content type of CloudEvents in JSON"
    )]
    NoEvent {
        /// Its size.
        bytes: usize,
        /// Its content type.
        kind: String,
    },
    /// An attribute that every event has is missing.
    #[error("event {number} has no attribute '{name}'")]
    Missing {
        /// Which of the answer's events, from 0.
        number: usize,
        /// The attribute.
        name: &'static str,
    },
    /// Another version.
    #[error("event {number} is of CloudEvents {found}; 1.0 is understood")]
    Version {
        /// Which event.
        number: usize,
        /// Its version.
        found: String,
    },
    /// An attribute of a type that there is not.
    #[error("attribute '{name}' of event {number} is neither text nor a number nor a boolean")]
    Attribute {
        /// Which event.
        number: usize,
        /// The attribute.
        name: String,
    },
    /// Data that cannot be decoded.
    #[error("data_base64 of event {number} is no base64")]
    Base64 {
        /// Which event.
        number: usize,
        /// What is wrong with them.
        #[source]
        source: base64::DecodeError,
    },
    /// Something else in a list.
    #[error("event {number} is no JSON object")]
    Object {
        /// Which event.
        number: usize,
    },
    /// It says that it is JSON.
    #[error("it is not JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The records of an answer that was taken, for who speaks to an endpoint in another way than a webhook does. Names of headers
/// are in small letters.
///
/// ```
/// let headers = [("ce-specversion", "1.0"), ("ce-id", "7"), ("ce-source", "/s"), ("ce-type", "paid")];
/// let outputs = dispatch::read_events(&headers, b"7 EUR").unwrap();
/// assert_eq!(outputs.len(), 1);
/// ```
///
/// # Errors
/// [`EventError`] if there is something, and it is no event.
pub fn read_events(headers: &[(&str, &str)], body: &[u8]) -> Result<Vec<Output>, EventError> {
    let text = |name: &str| headers.iter().find(|(one, _)| *one == name);
    let kind = text(CONTENT_TYPE).map_or("", |(_, kind)| *kind);
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if text("ce-specversion").is_some() {
        return Ok(vec![binary(headers, kind, body)?]);
    }
    match essence.to_ascii_lowercase().as_str() {
        "application/cloudevents-batch+json" => {
            let events: Vec<Value> = serde_json::from_slice(body)?;
            let events = events.into_iter().enumerate();
            events
                .map(|(number, event)| structured(number, event))
                .collect()
        }
        "application/cloudevents+json" => Ok(vec![structured(0, serde_json::from_slice(body)?)?]),
        _ if body.is_empty() => Ok(Vec::new()),
        _ => Err(EventError::NoEvent {
            bytes: body.len(),
            kind: kind.to_owned(),
        }),
    }
}

/// One event whose attributes are headers.
fn binary(headers: &[(&str, &str)], kind: &str, body: &[u8]) -> Result<Output, EventError> {
    let mut event = Event::new(0, Output::new(body.to_vec()));
    for (name, value) in headers {
        if let Some(attribute) = name.strip_prefix("ce-") {
            event.attribute(attribute, percent_decoded(value));
        } else if TAKEN.contains(name) {
            event.header(name, (*value).to_owned());
        }
    }
    if !kind.is_empty() {
        event.header(CONTENT_TYPE, kind.to_owned());
    }
    event.checked()
}

/// One event as a JSON object.
fn structured(number: usize, event: Value) -> Result<Output, EventError> {
    let Value::Object(mut members) = event else {
        return Err(EventError::Object { number });
    };
    let value = data(number, &mut members)?;
    let mut event = Event::new(number, value);
    for (name, value) in members {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text,
            Value::Bool(yes) => yes.to_string(),
            Value::Number(of) => of.to_string(),
            Value::Array(_) | Value::Object(_) => {
                return Err(EventError::Attribute { number, name });
            }
        };
        match name.as_str() {
            "datacontenttype" => event.header(CONTENT_TYPE, text),
            _ => event.attribute(&name, text),
        }
    }
    event.checked()
}

/// Takes the data out: bytes, text, or JSON as it stands. An event without is one of an empty value.
fn data(number: usize, members: &mut Map<String, Value>) -> Result<Output, EventError> {
    let kind = members.get("datacontenttype").and_then(Value::as_str);
    let (is_json, is_said) = (
        kind.is_none_or(|kind| kind.contains("json")),
        kind.is_some(),
    );
    let (data, coded) = (members.remove("data"), members.remove("data_base64"));
    if let Some(Value::String(coded)) = coded {
        let bytes = STANDARD.decode(coded);
        let bytes = bytes.map_err(|source| EventError::Base64 { number, source })?;
        return Ok(Output::new(bytes));
    }
    Ok(match data {
        None => Output::new(Vec::new()),
        Some(Value::String(text)) if !is_json => Output::new(text),
        Some(data) => {
            let value = Output::new(serde_json::to_vec(&data)?);
            if is_said {
                value
            } else {
                value.with_header(CONTENT_TYPE, "application/json")
            }
        }
    })
}

/// An event while its attributes are read.
struct Event {
    number: usize,
    output: Output,
    version: Option<String>,
    seen: [bool; REQUIRED.len()],
}

impl Event {
    fn new(number: usize, output: Output) -> Self {
        Self {
            number,
            output,
            version: None,
            seen: [false; REQUIRED.len()],
        }
    }

    fn header(&mut self, name: &str, value: String) {
        self.output.headers.push((name.to_owned(), value.into()));
    }

    fn attribute(&mut self, name: &str, value: String) {
        for (seen, required) in self.seen.iter_mut().zip(REQUIRED) {
            *seen |= name == required && !value.is_empty();
        }
        match name {
            "partitionkey" => self.output.key = Key::Own(Some(value.into())),
            "traceparent" | "tracestate" => self.header(name, value),
            _ => {
                if name == "specversion" {
                    self.version = Some(value.clone());
                }
                self.header(&format!("ce_{name}"), value);
            }
        }
    }

    fn checked(self) -> Result<Output, EventError> {
        let number = self.number;
        let missing = REQUIRED.into_iter().zip(self.seen).find(|(_, seen)| !seen);
        if let Some((name, _)) = missing {
            return Err(EventError::Missing { number, name });
        }
        match self.version {
            Some(found) if found != "1.0" => Err(EventError::Version { number, found }),
            _ => Ok(self.output),
        }
    }
}

/// An attribute as a header carries it: `%C3%A4` is a byte each. What is no text then stays as it was.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let coded = more.get(..2).filter(|_| *first == b'%');
        let coded = coded.and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = coded.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(byte);
            rest = more.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = more;
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(headers: &[(&str, &str)], body: &str) -> Result<Vec<Output>, String> {
        read_events(headers, body.as_bytes()).map_err(|error| error.to_string())
    }

    const EVENT: [(&str, &str); 4] = [
        ("ce-specversion", "1.0"),
        ("ce-id", "7"),
        ("ce-source", "/billing"),
        ("ce-type", "order.paid"),
    ];

    #[test]
    fn a_binary_answer_is_one_record() {
        let more = [
            ("ce-subject", "caf%C3%A9 100%"),
            ("ce-partitionkey", "o-7"),
            ("content-type", "application/json"),
            ("traceparent", "00-1-2-01"),
            ("x-priority", "1"),
            ("date", "today"),
        ];
        let headers = [&EVENT[..], &more].concat();
        let outputs = answer(&headers, "{}").unwrap();
        let mut expected = Output::new("{}").with_key("o-7");
        for (name, value) in [
            ("ce_id", "7"),
            ("ce_source", "/billing"),
            ("ce_specversion", "1.0"),
            ("ce_subject", "caf\u{e9} 100%"),
            ("ce_type", "order.paid"),
            ("content-type", "application/json"),
            ("traceparent", "00-1-2-01"),
            ("x-priority", "1"),
        ] {
            expected = expected.with_header(name, value);
        }
        let [mut found] = <[Output; 1]>::try_from(outputs).unwrap();
        found.headers.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_batch_is_a_record_for_each_event() {
        let event = |more: Value| {
            let mut event = json!({"specversion": "1.0", "id": "7", "source": "/s", "type": "t"});
            let members = event.as_object_mut().unwrap();
            members.extend(more.as_object().unwrap().clone());
            event
        };
        let batch = json!([
            event(json!({"data": {"n": 1}, "partitionkey": "a", "traceparent": "00-1-2-01"})),
            event(json!({"data": "text", "datacontenttype": "text/plain", "count": 3})),
            event(json!({"data_base64": "AAE=", "subject": null})),
            event(json!({"data": "text"})),
        ]);
        let kind = [(
            "content-type",
            "application/cloudevents-batch+json; charset=utf-8",
        )];
        let outputs = answer(&kind, &batch.to_string()).unwrap();
        let values: Vec<&[u8]> = outputs
            .iter()
            .map(|output| output.value.as_deref().unwrap())
            .collect();
        assert_eq!(values, [&b"{\"n\":1}"[..], b"text", &[0, 1], b"\"text\""]);
        let has = |number: usize, name: &str, value: &str| {
            let headers = &outputs[number].headers;
            headers.iter().any(|(one, is)| one == name && *is == value)
        };
        assert_eq!(outputs[0].key, Output::new("").with_key("a").key);
        assert_eq!(outputs[1].key, Key::Inputs);
        assert!(has(0, "traceparent", "00-1-2-01") && has(0, "content-type", "application/json"));
        assert!(has(1, "content-type", "text/plain") && has(1, "ce_count", "3"));
        assert_eq!(answer(&kind, "[]"), Ok(Vec::new()));
        let one = [("content-type", "application/cloudevents+json")];
        assert_eq!(answer(&one, &batch[1].to_string()).unwrap(), outputs[1..2]);
    }

    #[test]
    fn nothing_is_no_record_and_what_is_no_event_is_said() {
        assert_eq!(answer(&[], ""), Ok(Vec::new()));
        assert_eq!(
            answer(&[("content-type", "text/plain")], ""),
            Ok(Vec::new())
        );
        let json = [("content-type", "application/cloudevents-batch+json")];
        let old = [&[("ce-specversion", "0.3")][..], &EVENT[1..]].concat();
        for (headers, body, part) in [
            (
                &[("content-type", "text/plain")][..],
                "ok",
                "2 bytes of 'text/plain'",
            ),
            (&EVENT[..3], "", "no attribute 'type'"),
            (&old[..], "", "CloudEvents 0.3"),
            (&json[..], "{}", "not JSON"),
            (&json[..], "[1]", "event 0 is no JSON object"),
            (&json, r#"[{"id": []}]"#, "'id' of event 0"),
            (&json, r#"[{"data_base64": "?"}]"#, "no base64"),
        ] {
            let error = answer(headers, body).unwrap_err();
            assert!(error.contains(part), "'{part}' is not in: {error}");
        }
    }
}
