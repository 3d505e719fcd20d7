//! Attributes as labels.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use series::{Labels, METRIC_NAME, StoreOptions, format_value};

use crate::name;

const SERVICE_NAME: &str = "service.name";
const SERVICE_NAMESPACE: &str = "service.namespace";
const SERVICE_INSTANCE: &str = "service.instance.id";

/// Labels a series may have beside these: its name, and `le` or `quantile`.
const KEPT_FREE: usize = 2;

/// Name and value by name.
pub(crate) type Pairs = BTreeMap<String, String>;

/// A label or a series is over a limit of the store; in words.
pub(crate) type OverLimit = String;

/// What is said of the sender once, and goes onto each of its series.
#[derive(Debug)]
pub(crate) struct Resource {
    /// `job` and `instance`, as far as they are known.
    identity: Result<Pairs, OverLimit>,
    /// Everything else that is within the limits.
    rest: Pairs,
}

impl Resource {
    pub(crate) fn new(attributes: &[KeyValue]) -> Self {
        let identifying = [SERVICE_NAME, SERVICE_NAMESPACE, SERVICE_INSTANCE];
        let (who, rest): (Vec<_>, Vec<_>) = by_key(attributes)
            .into_iter()
            .partition(|pair| identifying.contains(&pair.key.as_str()));
        let mut pairs = Pairs::new();
        // One that is too long is left out: the others are still worth to be joined.
        for attribute in rest {
            if pairs.len() + KEPT_FREE + identifying.len() < limits().labels_max {
                drop(insert(&mut pairs, attribute));
            }
        }
        Self {
            identity: identity(&who),
            rest: pairs,
        }
    }

    /// The labels of a point of this sender, without a name; what says who sent it counts over
    /// attributes of the same name.
    pub(crate) fn labels(&self, attributes: &[KeyValue]) -> Result<Pairs, OverLimit> {
        let identity = self.identity.as_ref().map_err(Clone::clone)?;
        let most = limits().labels_max;
        if attributes.len() + identity.len() + KEPT_FREE > most {
            return Err(format!("more than {most} labels"));
        }
        let mut pairs = Pairs::new();
        for attribute in by_key(attributes) {
            insert(&mut pairs, attribute)?;
        }
        pairs.extend(identity.clone());
        Ok(pairs)
    }

    /// The series that holds what is said of a sender; `None` when nothing is, or nobody is named.
    pub(crate) fn target_info(&self) -> Option<Labels> {
        let identity = self.identity.as_ref().ok()?;
        if self.rest.is_empty() || identity.is_empty() {
            return None;
        }
        let mut labels = self.rest.clone();
        labels.extend(identity.clone());
        Some(named(&labels, "target_info", None))
    }
}

/// In the order of the keys: what is joined, and what is left out, does not depend on the order they came in.
fn by_key(attributes: &[KeyValue]) -> Vec<&KeyValue> {
    let mut attributes: Vec<_> = attributes.iter().collect();
    attributes.sort_by(|one, other| one.key.cmp(&other.key));
    attributes
}

/// The limits that the store has by default.
fn limits() -> StoreOptions {
    StoreOptions::default()
}

fn identity(who: &[&KeyValue]) -> Result<Pairs, OverLimit> {
    let value = |key: &str| {
        let found = who.iter().find(|pair| pair.key == key);
        let value = found.map(|pair| text(pair.value.as_ref())).transpose()?;
        Ok::<_, OverLimit>(value.filter(|value| !value.is_empty()))
    };
    let job = match (value(SERVICE_NAMESPACE)?, value(SERVICE_NAME)?) {
        (Some(space), Some(name)) => Some(format!("{space}/{name}")),
        (_, name) => name,
    };
    let pairs = [("job", job), ("instance", value(SERVICE_INSTANCE)?)];
    let pairs = pairs
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    pairs
        .map(|(name, value)| Ok((name, within(value)?)))
        .collect()
}

/// The labels of a series: `pairs`, its name, and one more.
pub(crate) fn named(pairs: &Pairs, name: &str, more: Option<(&str, &str)>) -> Labels {
    let pairs = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let all: Vec<_> = pairs.chain([(METRIC_NAME, name)]).chain(more).collect();
    Labels::of(&all)
}

/// Adds an attribute. Values of keys that become one name are joined by `;`.
fn insert(pairs: &mut Pairs, attribute: &KeyValue) -> Result<(), OverLimit> {
    let most = limits().label_name_bytes_max - name::LABEL_PREFIX.len();
    if attribute.key.len() > most {
        return Err(format!("an attribute's key has more than {most} bytes"));
    }
    let name = name::label(&attribute.key);
    let value = text(attribute.value.as_ref())?;
    if name.is_empty() || value.is_empty() {
        return Ok(());
    }
    let value = match pairs.get(&name) {
        Some(so_far) => within(format!("{so_far};{value}"))?,
        None => value,
    };
    pairs.insert(name, value);
    Ok(())
}

fn within(value: String) -> Result<String, OverLimit> {
    if value.len() > limits().label_value_bytes_max {
        return Err(too_long());
    }
    Ok(value)
}

fn too_long() -> OverLimit {
    let most = limits().label_value_bytes_max;
    format!("an attribute's value has more than {most} bytes")
}

/// A value as text: bytes as base64, lists as JSON, everything as OpenTelemetry's collector does it.
fn text(value: Option<&AnyValue>) -> Result<String, OverLimit> {
    // Looked at before anything is copied.
    let value = value.and_then(|value| value.value.as_ref());
    if value.is_some_and(|value| size(value) > limits().label_value_bytes_max) {
        return Err(too_long());
    }
    within(match value {
        None => String::new(),
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BytesValue(bytes)) => STANDARD.encode(bytes),
        Some(Value::DoubleValue(number)) => match float(*number) {
            Some(text) => text,
            // Odd, but it is the label that Prometheus has.
            None => format!("json: unsupported value: {}", format_value(*number)),
        },
        Some(value) => {
            let mut out = String::new();
            // A list with a number that JSON does not have is no text there.
            json(Some(value), &mut out).map_or_else(String::new, |()| out)
        }
    })
}

/// Bytes of a value as text, at least.
fn size(value: &Value) -> usize {
    let of = |value: &Option<AnyValue>| {
        let value = value.as_ref().and_then(|value| value.value.as_ref());
        1 + value.map_or(0, size)
    };
    match value {
        Value::StringValue(text) => text.len(),
        Value::BytesValue(bytes) => bytes.len(),
        Value::ArrayValue(list) => {
            let values = list.values.iter();
            values
                .map(|value| 1 + value.value.as_ref().map_or(0, size))
                .sum()
        }
        Value::KvlistValue(list) => {
            let pairs = list.values.iter();
            pairs.map(|pair| pair.key.len() + of(&pair.value)).sum()
        }
        _ => 1,
    }
}

/// Appends a value as JSON; `None` when JSON cannot say it.
fn json(value: Option<&Value>, out: &mut String) -> Option<()> {
    match value {
        // Only profiles have the table that the last is a place in.
        None | Some(Value::StringValueStrindex(_)) => out.push_str("null"),
        Some(Value::StringValue(text)) => quoted(text, out),
        Some(Value::BoolValue(is)) => out.push_str(if *is { "true" } else { "false" }),
        Some(Value::IntValue(number)) => out.push_str(&number.to_string()),
        Some(Value::DoubleValue(number)) => out.push_str(&float(*number)?),
        Some(Value::BytesValue(bytes)) => quoted(&STANDARD.encode(bytes), out),
        Some(Value::ArrayValue(list)) => {
            out.push('[');
            for (place, value) in list.values.iter().enumerate() {
                separate(place, out);
                json(value.value.as_ref(), out)?;
            }
            out.push(']');
        }
        Some(Value::KvlistValue(list)) => {
            let pairs = list.values.iter().map(|pair| {
                let value = pair.value.as_ref().and_then(|value| value.value.as_ref());
                (&*pair.key, value)
            });
            let pairs: BTreeMap<&str, Option<&Value>> = pairs.collect();
            out.push('{');
            for (place, (key, value)) in pairs.into_iter().enumerate() {
                separate(place, out);
                quoted(key, out);
                out.push(':');
                json(value, out)?;
            }
            out.push('}');
        }
    }
    Some(())
}

fn separate(place: usize, out: &mut String) {
    if place > 0 {
        out.push(',');
    }
}

fn quoted(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// A number as Go's JSON has it, which is what the query API writes, but for small exponents; `None` for those JSON does not
/// have.
fn float(value: f64) -> Option<String> {
    value
        .is_finite()
        .then(|| format_value(value).replace("e-0", "e-"))
}
