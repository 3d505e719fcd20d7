//! What each client and topic has used of its quota.

use std::time::Duration;

use flow::{Buckets, Rate};
use stdx::ByteSize;

use crate::Quotas;

/// Clients, and topics, that are kept by name at once; see [`flow::Buckets`].
pub const NAMES_MAX: usize = 10_000;

/// Who owes more than this is refused until it is paid; until then it is admitted and paused.
pub const DEBT_MAX: Duration = Duration::from_mins(1);

/// Names of clients are their own word, up to 32 KiB; what is beyond this does not tell them apart.
const NAME_BYTES_MAX: usize = 256;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Into the log.
    In,
    /// Out of it.
    Out,
}

/// The buckets of all quotas.
#[derive(Debug)]
pub(crate) struct Used {
    clients: [Buckets; 2],
    topics: [Buckets; 2],
    time: Buckets,
}

impl Used {
    pub(crate) fn new() -> Self {
        let buckets = || Buckets::new(NAMES_MAX);
        Self {
            clients: [buckets(), buckets()],
            topics: [buckets(), buckets()],
            time: buckets(),
        }
    }

    /// How long until neither the client nor one of the topics owes anything.
    pub(crate) fn delay<'a>(
        &mut self,
        quotas: &Quotas,
        flow: Flow,
        client: &str,
        topics: impl IntoIterator<Item = &'a str>,
        now: Duration,
    ) -> Duration {
        let at = index(flow);
        let mut delay = Duration::ZERO;
        if client_rate(quotas, flow, client).is_some() {
            delay = self.clients[at].delay(shortened(client), now);
        }
        for topic in topics {
            if topic_rate(quotas, flow, topic).is_some() {
                delay = delay.max(self.topics[at].delay(topic, now));
            }
        }
        delay
    }

    /// Takes bytes of each topic for the client; answers how long it should pause.
    pub(crate) fn charge<'a>(
        &mut self,
        quotas: &Quotas,
        flow: Flow,
        client: &str,
        topics: impl IntoIterator<Item = (&'a str, u64)>,
        now: Duration,
    ) -> Duration {
        let at = index(flow);
        let (mut delay, mut bytes) = (Duration::ZERO, 0_u64);
        for (topic, part) in topics {
            bytes = bytes.saturating_add(part);
            if let Some(rate) = topic_rate(quotas, flow, topic) {
                let bucket = self.topics[at].get(topic, rate, now);
                delay = delay.max(bucket.charge(part, now));
            }
        }
        if let Some(rate) = client_rate(quotas, flow, client) {
            let bucket = self.clients[at].get(shortened(client), rate, now);
            delay = delay.max(bucket.charge(bytes, now));
        }
        delay
    }

    /// Bytes that the client may still have without owing any, of these topics; `None` is no limit.
    pub(crate) fn available<'a>(
        &mut self,
        quotas: &Quotas,
        flow: Flow,
        client: &str,
        topics: impl IntoIterator<Item = &'a str>,
        now: Duration,
    ) -> Option<u64> {
        let at = index(flow);
        let client_rate = client_rate(quotas, flow, client);
        let mut least = client_rate.map(|rate| {
            self.clients[at]
                .get(shortened(client), rate, now)
                .available(now)
        });
        for topic in topics {
            if let Some(rate) = topic_rate(quotas, flow, topic) {
                let more = self.topics[at].get(topic, rate, now).available(now);
                least = Some(least.map_or(more, |least| least.min(more)));
            }
        }
        least
    }

    /// Takes processor time of the client; answers how long it should pause.
    pub(crate) fn charge_time(
        &mut self,
        quotas: &Quotas,
        client: &str,
        took: Duration,
        now: Duration,
    ) -> Duration {
        let Some(percentage) = quotas.client(client).request_percentage else {
            return Duration::ZERO;
        };
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = self.time.get(shortened(client), time_rate(percentage), now);
        bucket.charge(took, now)
    }

    /// How long until the client has paid for its processor time.
    pub(crate) fn delay_time(&mut self, client: &str, now: Duration) -> Duration {
        self.time.delay(shortened(client), now)
    }

    /// Names kept now.
    pub(crate) fn names(&self) -> usize {
        let all = self.clients.iter().chain(&self.topics).chain([&self.time]);
        all.map(Buckets::len).sum()
    }
}

const fn index(flow: Flow) -> usize {
    match flow {
        Flow::In => 0,
        Flow::Out => 1,
    }
}

fn client_rate(quotas: &Quotas, flow: Flow, client: &str) -> Option<Rate> {
    let quota = quotas.client(client);
    let rate = match flow {
        Flow::In => quota.producer_byte_rate,
        Flow::Out => quota.consumer_byte_rate,
    };
    rate.map(ByteSize::bytes).map(Rate::per_second)
}

fn topic_rate(quotas: &Quotas, flow: Flow, topic: &str) -> Option<Rate> {
    let quota = quotas.topics.get(topic)?;
    let rate = match flow {
        Flow::In => quota.producer_byte_rate,
        Flow::Out => quota.consumer_byte_rate,
    };
    rate.map(ByteSize::bytes).map(Rate::per_second)
}

/// Nanoseconds of a processor a second.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "validated to be from 0.1 to 100,000"
)]
fn time_rate(percentage: f64) -> Rate {
    Rate::per_second((percentage * 1e7) as u64)
}

fn shortened(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{ClientQuota, TopicQuota};

    const SECOND: Duration = Duration::from_secs(1);

    fn quotas() -> Quotas {
        let rate = |bytes| Some(ByteSize::from_bytes(bytes));
        Quotas {
            default: ClientQuota {
                producer_byte_rate: rate(1_000),
                request_percentage: Some(10.0),
                ..ClientQuota::default()
            },
            clients: BTreeMap::new(),
            topics: BTreeMap::from([(
                "orders".to_owned(),
                TopicQuota {
                    producer_byte_rate: rate(500),
                    consumer_byte_rate: None,
                },
            )]),
        }
    }

    #[test]
    fn the_longer_of_the_clients_and_the_topics_delays_counts() {
        let (quotas, mut used) = (quotas(), Used::new());
        let mut charge =
            |client, topic, bytes| used.charge(&quotas, Flow::In, client, [(topic, bytes)], SECOND);
        assert_eq!(charge("a", "other", 1_000), Duration::ZERO);
        assert_eq!(charge("a", "orders", 500), SECOND / 2);
        // The topic is used up for everybody, the first client's quota only for itself.
        assert_eq!(charge("b", "orders", 500), SECOND);
        assert_eq!(charge("c", "other", 1_000), Duration::ZERO);
        assert_eq!(
            used.delay(&quotas, Flow::In, "c", ["other"], SECOND),
            Duration::ZERO
        );
        assert_eq!(
            used.delay(&quotas, Flow::In, "c", ["other", "orders"], SECOND),
            SECOND
        );
        assert_eq!(
            used.available(&quotas, Flow::In, "d", ["other"], SECOND),
            Some(1_000)
        );
        assert_eq!(
            used.available(&quotas, Flow::Out, "d", ["orders"], SECOND),
            None
        );
    }

    #[test]
    fn processor_time_is_counted_in_percent_of_one() {
        let (quotas, mut used) = (quotas(), Used::new());
        let burst = SECOND / 10;
        assert_eq!(
            used.charge_time(&quotas, "a", burst, SECOND),
            Duration::ZERO
        );
        assert_eq!(used.charge_time(&quotas, "a", burst, SECOND), SECOND);
        assert_eq!(used.delay_time("a", SECOND), SECOND);
        assert_eq!(used.delay_time("b", SECOND), Duration::ZERO);
    }

    #[test]
    fn long_names_cost_no_more_memory_than_short_ones() {
        let long = "ä".repeat(10_000);
        assert_eq!(shortened(&long).len(), NAME_BYTES_MAX);
        assert_eq!(shortened("short"), "short");
    }
}
