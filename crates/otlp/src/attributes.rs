//! Attributes as labels.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use series::{Labels, METRIC_NAME};

use crate::{SERIES_BYTES_MAX, name};

const SERVICE_NAME: &str = "service.name";
const SERVICE_NAMESPACE: &str = "service.namespace";
const SERVICE_INSTANCE: &str = "service.instance.id";

/// Name and value by name.
pub(crate) type Pairs = BTreeMap<String, String>;

/// What is said of the sender once, and goes onto each of its series.
#[derive(Debug)]
pub(crate) struct Resource {
    /// `job` and `instance`, as far as they are known.
    identity: Pairs,
    /// Everything else.
    rest: Pairs,
}

impl Resource {
    pub(crate) fn new(attributes: &[KeyValue]) -> Self {
        let value = |key: &str| {
            let found = attributes.iter().find(|pair| pair.key == key);
            found.map(|pair| text(pair.value.as_ref()))
        };
        let mut identity = Pairs::new();
        if let Some(name) = value(SERVICE_NAME) {
            let job = match value(SERVICE_NAMESPACE) {
                Some(space) if !space.is_empty() => format!("{space}/{name}"),
                _ => name,
            };
            identity.insert("job".to_owned(), job);
        }
        if let Some(instance) = value(SERVICE_INSTANCE) {
            identity.insert("instance".to_owned(), instance);
        }
        let identifying = [SERVICE_NAME, SERVICE_NAMESPACE, SERVICE_INSTANCE];
        let rest = attributes.iter();
        let rest = rest.filter(|pair| !identifying.contains(&pair.key.as_str()));
        Self {
            identity,
            rest: pairs(rest),
        }
    }

    /// The labels of a point of this sender, without a name; what says who sent it counts over
    /// attributes of the same name. `None` when they are too long.
    pub(crate) fn labels(&self, attributes: &[KeyValue]) -> Option<Pairs> {
        let mut labels = pairs(attributes.iter());
        labels.extend(self.identity.clone());
        fits(&labels).then_some(labels)
    }

    /// The series that holds what is said of a sender; `None` when nothing is, or nobody is named.
    pub(crate) fn target_info(&self) -> Option<Labels> {
        if self.rest.is_empty() || self.identity.is_empty() {
            return None;
        }
        let mut labels = self.rest.clone();
        labels.extend(self.identity.clone());
        fits(&labels).then(|| named(&labels, "target_info", None))
    }
}

fn fits(labels: &Pairs) -> bool {
    let bytes = labels
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum::<usize>();
    bytes <= SERIES_BYTES_MAX
}

/// The labels of a series: `pairs`, its name, and one more.
pub(crate) fn named(pairs: &Pairs, name: &str, more: Option<(&str, &str)>) -> Labels {
    let pairs = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let all: Vec<_> = pairs.chain([(METRIC_NAME, name)]).chain(more).collect();
    Labels::of(&all)
}

/// Values of keys that become one name are joined by `;`, in the order of the keys.
fn pairs<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> Pairs {
    let mut attributes: Vec<_> = attributes.collect();
    attributes.sort_by(|one, other| one.key.cmp(&other.key));
    let mut pairs = Pairs::new();
    for attribute in attributes {
        let value = text(attribute.value.as_ref());
        let name = name::label(&attribute.key);
        if name.is_empty() || value.is_empty() {
            continue;
        }
        pairs
            .entry(name)
            .and_modify(|so_far| {
                so_far.push(';');
                so_far.push_str(&value);
            })
            .or_insert(value);
    }
    pairs
}

/// A value as text: what is no text is written as JSON, bytes as base64.
fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        None => String::new(),
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BytesValue(bytes)) => STANDARD.encode(bytes),
        Some(value) => json(value).to_string(),
    }
}

fn json(value: &Value) -> serde_json::Value {
    let of = |value: &Option<AnyValue>| {
        let value = value.as_ref().and_then(|value| value.value.as_ref());
        value.map_or(serde_json::Value::Null, json)
    };
    match value {
        Value::StringValue(text) => text.as_str().into(),
        Value::BoolValue(is) => (*is).into(),
        Value::IntValue(number) => (*number).into(),
        Value::DoubleValue(number) => (*number).into(),
        Value::BytesValue(bytes) => STANDARD.encode(bytes).into(),
        Value::ArrayValue(list) => {
            let values = list.values.iter();
            values.map(|value| of(&Some(value.clone()))).collect()
        }
        Value::KvlistValue(list) => {
            let pairs = list.values.iter();
            let pairs = pairs.map(|pair| (pair.key.clone(), of(&pair.value)));
            serde_json::Value::Object(pairs.collect())
        }
        // Only profiles have the table this is a place in.
        Value::StringValueStrindex(_) => serde_json::Value::Null,
    }
}
