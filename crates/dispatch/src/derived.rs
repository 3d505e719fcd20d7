//! Outputs as the records that they become: key, trace, logical time, and whether their topic takes them.
//!
//! Made beside the listener's loop, when a call ends. Invariant: what would be refused by the log for ever is refused here, as the
//! fault of its input: in a transaction it would come back again and again.

use bytes::Bytes;
use delivery::{Hlc, Outcome};
use model::{PartitionId, Timestamp, TopicName};
use record::BatchBuilder;

use crate::answer::{Answer, Key, Output};
use crate::context::Context;
use crate::delivery::Delivery;
use crate::meaning::hlc;

/// Most bytes of a batch besides its records' keys, values and headers: its header.
const BATCH_HEAD_BYTES: usize = 61;
/// Most bytes of a record, and of a header, besides its text: lengths, and what a record has more.
pub(crate) const HEAD_BYTES: usize = 32;
pub(crate) const HEADER_HEAD_BYTES: usize = 10;

/// Headers that carry a trace.
const TRACE: [&str; 2] = ["traceparent", "tracestate"];

/// A record for the output topic.
#[derive(Debug)]
pub(crate) struct Derived {
    /// The delivery of the call that it is made of; `None`: all of them.
    pub(crate) of: Option<usize>,
    /// The partition of that.
    from: PartitionId,
    at: Timestamp,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<(String, Bytes)>,
}

impl Derived {
    /// Bytes of it in a batch, at most.
    pub(crate) fn size(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| name.len() + value.len() + HEADER_HEAD_BYTES);
        HEAD_BYTES + length(&self.key) + length(&self.value) + headers.sum::<usize>()
    }

    /// Where it goes among so many partitions: where Kafka's own producer would put its key; without one, to the partition
    /// numbered as its input's.
    pub(crate) fn partition(&self, partitions: u32) -> PartitionId {
        match &self.key {
            Some(key) => model::partition_of(key, partitions),
            None => PartitionId::new(self.from.get() % partitions.max(1)),
        }
    }

    pub(crate) fn push(&self, builder: &mut BatchBuilder) {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_str(), Some(&**value)));
        let headers: Vec<(&str, Option<&[u8]>)> = headers.collect();
        builder.push(
            self.at,
            self.key.as_deref(),
            self.value.as_deref(),
            &headers,
        );
    }
}

/// The records that an answer makes, and its outcomes: an input whose output cannot be taken is refused.
pub(crate) fn derive(
    answer: Answer,
    deliveries: &[Delivery],
    context: &Context,
    to: Option<&TopicName>,
) -> (Vec<Outcome>, Vec<Derived>) {
    let Answer {
        mut outcomes,
        outputs,
    } = answer;
    let mut all = Vec::with_capacity(outputs.len());
    let mut latest = None;
    for output in outputs {
        let Some(derived) = make(output, deliveries, context.clock.now(), &mut latest) else {
            continue;
        };
        let Some(error) = refusal(&derived, context, to) else {
            all.push(derived);
            continue;
        };
        let causes = match derived.of {
            Some(number) => outcomes.get_mut(number..=number).unwrap_or_default(),
            None => &mut outcomes[..],
        };
        for outcome in causes {
            if *outcome == Outcome::Done {
                let error = error.clone();
                *outcome = Outcome::Refused { error };
            }
        }
    }
    (outcomes, all)
}

/// `None` if nothing was delivered.
fn make(
    output: Output,
    deliveries: &[Delivery],
    now: Timestamp,
    latest: &mut Option<Hlc>,
) -> Option<Derived> {
    let Output {
        of,
        key,
        value,
        mut headers,
    } = output;
    let of = of.filter(|number| *number < deliveries.len());
    let of = of.or_else(|| (deliveries.len() == 1).then_some(0));
    let causes = match of {
        Some(number) => deliveries.get(number..=number)?,
        None => deliveries,
    };
    let first = causes.first()?;
    let key = match (key, of) {
        (Key::Own(key), _) => key,
        (Key::Inputs, Some(_)) => first.record().key.map(Bytes::copy_from_slice),
        (Key::Inputs, None) => None,
    };
    if !headers.iter().any(|(name, _)| name == TRACE[0]) {
        headers.retain(|(name, _)| name != TRACE[1]);
        headers.extend(trace(first));
    }
    let cause = causes.iter().map(|cause| hlc(&cause.record())).max();
    let time = cause.max(*latest).unwrap_or_default().after(now);
    *latest = Some(time);
    headers.retain(|(name, _)| name != Hlc::HEADER);
    headers.push((Hlc::HEADER.to_owned(), time.to_string().into()));
    Some(Derived {
        of,
        from: first.partition.partition,
        at: now,
        key,
        value,
        headers,
    })
}

/// The trace that goes on: that of the call's span, or as the record brought it.
fn trace(delivery: &Delivery) -> Vec<(String, Bytes)> {
    if let Some(trace) = &delivery.trace {
        let headers = trace.headers().into_iter();
        return headers.map(|(name, value)| (name, value.into())).collect();
    }
    let record = delivery.record();
    let brought = TRACE.iter().filter_map(|name| {
        let value = record.headers.get(name).flatten()?;
        Some(((*name).to_owned(), Bytes::copy_from_slice(value)))
    });
    brought.collect()
}

/// Why the topic would never take it.
fn refusal(derived: &Derived, context: &Context, to: Option<&TopicName>) -> Option<String> {
    let Some(to) = to else {
        return Some(
            "it answers a record, and its resource names no output topic for it".to_owned(),
        );
    };
    // A missing one is made with the usual configuration.
    let config = context.broker.topic(to).map(|topic| topic.config.clone());
    let config = config.unwrap_or_default();
    let (size, limit) = (
        derived.size() + BATCH_HEAD_BYTES,
        config.batch_bytes.as_usize(),
    );
    if size > limit {
        return Some(format!(
            "its output of {size} bytes is larger than {limit}, the limit of topic '{to}'"
        ));
    }
    (config.cleanup.policy.compacts() && derived.key.is_none()).then(|| {
        format!(
            "its output has no key, and topic '{to}' is compacted and takes only records with a key"
        )
    })
}
