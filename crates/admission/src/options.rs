//! What may be configured: the keys `quotas` and `append_limit` of `lantern.yaml`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stdx::{ByteSize, HumanDuration};

/// How much may come. Field names are the keys of the configuration file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Options {
    /// By client and topic.
    pub quotas: Quotas,
    /// All together.
    pub limit: Limit,
}

/// Quotas by client and topic. Default none.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quotas {
    /// For each client that `clients` says nothing else of; each client has its own.
    pub default: ClientQuota,
    /// By client id. What an entry leaves out is as in `default`.
    pub clients: BTreeMap<String, ClientQuota>,
    /// By topic, for all clients of it together.
    pub topics: BTreeMap<String, TopicQuota>,
}

/// What one client may send and read. Names are those of Kafka's quotas; what is left out is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientQuota {
    /// Bytes of batches it may produce a second; those of one second may be saved up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub producer_byte_rate: Option<ByteSize>,
    /// Bytes of batches it may fetch a second; those of one second may be saved up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer_byte_rate: Option<ByteSize>,
    /// Processor time that serving its Kafka requests may take, in percent of one processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_percentage: Option<f64>,
}

/// What may be sent to and read from one topic.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TopicQuota {
    /// Bytes of batches a second into the topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub producer_byte_rate: Option<ByteSize>,
    /// Bytes of batches a second out of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer_byte_rate: Option<ByteSize>,
}

/// How much may be on its way into the log at once: moves by itself within these bounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limit {
    /// Whether there is a limit. Default yes.
    pub enabled: bool,
    /// Bytes that are always admitted. Default 1 MiB.
    pub min: ByteSize,
    /// Bytes that are never exceeded. Default 64 MiB, as much as the log's own queue holds.
    pub max: ByteSize,
    /// An append that takes no longer is not slow, however quick it once was. Default 50 ms.
    pub latency: HumanDuration,
}

impl Default for Limit {
    fn default() -> Self {
        Self {
            enabled: true,
            min: ByteSize::from_mib(1),
            max: ByteSize::from_mib(64),
            latency: HumanDuration::new(Duration::from_millis(50)),
        }
    }
}

impl Quotas {
    /// The quota of a client, its own where it has one.
    pub(crate) fn client(&self, client: &str) -> ClientQuota {
        let Some(own) = self.clients.get(client) else {
            return self.default;
        };
        let default = self.default;
        ClientQuota {
            producer_byte_rate: own.producer_byte_rate.or(default.producer_byte_rate),
            consumer_byte_rate: own.consumer_byte_rate.or(default.consumer_byte_rate),
            request_percentage: own.request_percentage.or(default.request_percentage),
        }
    }

    /// Whether there is any.
    pub(crate) fn any(&self) -> bool {
        self != &Self::default()
    }

    /// Whether any is of processor time.
    pub(crate) fn any_of_time(&self) -> bool {
        let mut all = self.clients.values().chain([&self.default]);
        all.any(|quota| quota.request_percentage.is_some())
    }
}

impl Options {
    /// All problems with these options, in words; empty when there are none.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut rate = |of: String, key: &str, rate: Option<ByteSize>| {
            if rate.is_some_and(|rate| rate.bytes() == 0) {
                problems.push(format!(
                    "{of}.{key} is 0: leave it out for no quota, or give at least 1B"
                ));
            }
        };
        let quotas = &self.quotas;
        let default = ("quotas.default".to_owned(), &quotas.default);
        let clients = quotas.clients.iter();
        let clients = clients.map(|(name, quota)| (format!("quotas.clients.{name}"), quota));
        let clients: Vec<_> = clients.chain([default]).collect();
        for (of, quota) in &clients {
            rate(of.clone(), "producer_byte_rate", quota.producer_byte_rate);
            rate(of.clone(), "consumer_byte_rate", quota.consumer_byte_rate);
        }
        for (name, quota) in &quotas.topics {
            let of = format!("quotas.topics.{name}");
            rate(of.clone(), "producer_byte_rate", quota.producer_byte_rate);
            rate(of, "consumer_byte_rate", quota.consumer_byte_rate);
        }
        for (of, quota) in &clients {
            if let Some(percentage) = quota.request_percentage
                && !(0.1..=100_000.0).contains(&percentage)
            {
                problems.push(format!(
                    "{of}.request_percentage is {percentage}: it must be from 0.1 to 100000, in percent of one processor"
                ));
            }
        }
        let limit = &self.limit;
        if limit.min.bytes() == 0 || limit.min > limit.max {
            problems.push(format!(
                "append_limit.min is {} and append_limit.max {}: min must be at least 1B and not above max",
                limit.min, limit.max
            ));
        }
        if limit.latency.get().is_zero() {
            problems.push("append_limit.latency cannot be 0".to_owned());
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_own_quota_and_for_the_rest_the_default() {
        let own = ClientQuota {
            producer_byte_rate: Some(ByteSize::from_mib(1)),
            ..ClientQuota::default()
        };
        let quotas = Quotas {
            default: ClientQuota {
                producer_byte_rate: Some(ByteSize::from_mib(9)),
                request_percentage: Some(50.0),
                ..ClientQuota::default()
            },
            clients: BTreeMap::from([("loader".to_owned(), own)]),
            ..Quotas::default()
        };
        let loader = quotas.client("loader");
        assert_eq!(loader.producer_byte_rate, Some(ByteSize::from_mib(1)));
        assert_eq!(loader.request_percentage, Some(50.0));
        assert_eq!(quotas.client("other"), quotas.default);
        assert!(quotas.any() && quotas.any_of_time() && !Quotas::default().any());
    }

    #[test]
    fn every_problem_is_reported_at_once_by_its_key() {
        let zero = Some(ByteSize::from_bytes(0));
        let options = Options {
            quotas: Quotas {
                default: ClientQuota {
                    request_percentage: Some(0.0),
                    ..ClientQuota::default()
                },
                topics: BTreeMap::from([(
                    "orders".to_owned(),
                    TopicQuota {
                        producer_byte_rate: zero,
                        consumer_byte_rate: zero,
                    },
                )]),
                ..Quotas::default()
            },
            limit: Limit {
                min: ByteSize::from_gib(1),
                ..Limit::default()
            },
        };
        let problems = options.validate();
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(problems[0].contains("quotas.topics.orders.producer_byte_rate"));
        assert!(Options::default().validate().is_empty());
    }
}
