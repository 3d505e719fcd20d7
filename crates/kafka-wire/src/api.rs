//! The table of what is served: API keys, versions, and where each turns "flexible".
//!
//! Written by hand: the generated ranges are wider than what the generated code decodes. Sources:
//! Kafka 4.1's message definitions; KIP-482 (flexible versions); KIP-896 (oldest versions);
//! KAFKA-18659 (why Produce 0 is advertised).

use std::fmt;
use std::ops::RangeInclusive;

/// No version of this API is flexible.
const NEVER: i16 = i16::MAX;

macro_rules! apis {
    ($($name:ident = $key:literal, $versions:expr, flexible $flexible:expr;)*) => {
        /// An API that is served.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Api {
            $(#[doc = concat!("API key ", stringify!($key), ".")] $name,)*
        }

        impl Api {
            /// All of them, by key.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The API with this key, if it is served.
            pub const fn from_key(key: i16) -> Option<Self> {
                match key {
                    $($key => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Its key on the wire.
            pub const fn key(self) -> i16 {
                match self {
                    $(Self::$name => $key,)*
                }
            }

            /// Its name, as Kafka's documentation writes it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// The versions that are decoded and answered.
            pub const fn decoded(self) -> RangeInclusive<i16> {
                match self {
                    $(Self::$name => $versions,)*
                }
            }

            /// Whether this version has compact lengths and tagged fields, in header and body.
            pub const fn is_flexible(self, version: i16) -> bool {
                match self {
                    $(Self::$name => version >= $flexible,)*
                }
            }
        }
    };
}

apis! {
    Produce = 0, 3..=11, flexible 9;
    Fetch = 1, 4..=12, flexible 12;
    ListOffsets = 2, 1..=10, flexible 6;
    Metadata = 3, 0..=12, flexible 9;
    OffsetCommit = 8, 2..=9, flexible 8;
    OffsetFetch = 9, 1..=9, flexible 6;
    FindCoordinator = 10, 0..=4, flexible 3;
    JoinGroup = 11, 0..=9, flexible 6;
    Heartbeat = 12, 0..=4, flexible 4;
    LeaveGroup = 13, 0..=5, flexible 4;
    SyncGroup = 14, 0..=5, flexible 4;
    DescribeGroups = 15, 0..=5, flexible 5;
    ListGroups = 16, 0..=5, flexible 3;
    ApiVersions = 18, 0..=4, flexible 3;
    CreateTopics = 19, 2..=7, flexible 5;
    DeleteTopics = 20, 1..=6, flexible 4;
    DeleteRecords = 21, 0..=2, flexible 2;
    InitProducerId = 22, 0..=4, flexible 2;
    OffsetForLeaderEpoch = 23, 2..=4, flexible 4;
    AddPartitionsToTxn = 24, 0..=3, flexible 3;
    AddOffsetsToTxn = 25, 0..=3, flexible 3;
    EndTxn = 26, 0..=3, flexible 3;
    TxnOffsetCommit = 28, 0..=3, flexible 3;
    DescribeConfigs = 32, 1..=4, flexible 4;
    AlterConfigs = 33, 0..=2, flexible 2;
    DescribeLogDirs = 35, 1..=4, flexible 2;
    CreatePartitions = 37, 0..=3, flexible 2;
    DeleteGroups = 42, 0..=2, flexible 2;
    IncrementalAlterConfigs = 44, 0..=1, flexible 1;
    ListPartitionReassignments = 46, 0..=0, flexible 0;
    OffsetDelete = 47, 0..=0, flexible NEVER;
    DescribeCluster = 60, 0..=2, flexible 0;
    DescribeProducers = 61, 0..=0, flexible 0;
    DescribeTransactions = 65, 0..=0, flexible 0;
    ListTransactions = 66, 0..=1, flexible 0;
    ConsumerGroupHeartbeat = 68, 0..=1, flexible 0;
    ConsumerGroupDescribe = 69, 0..=1, flexible 0;
    DescribeTopicPartitions = 75, 0..=0, flexible 0;
}

impl Api {
    /// The versions that ApiVersions tells clients about.
    ///
    /// Those that are decoded, except that Produce starts at 0: librdkafka before 2.11.1 looks for
    /// Produce 0 to 2 and otherwise sends gzip, snappy and lz4 uncompressed. Kafka 4 advertises it
    /// for the same reason and serves it as little.
    pub const fn advertised(self) -> RangeInclusive<i16> {
        let decoded = self.decoded();
        if matches!(self, Self::Produce) {
            return 0..=*decoded.end();
        }
        decoded
    }

    /// Version of the header before its answers: 1 (with tagged fields) in flexible versions, but
    /// always 0 for ApiVersions, whose asker does not know yet what the server understands.
    pub const fn response_header_version(self, version: i16) -> i16 {
        let tagged = self.is_flexible(version) && !matches!(self, Self::ApiVersions);
        if tagged { 1 } else { 0 }
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::ApiKey;

    use super::*;

    #[test]
    fn the_table_agrees_with_the_definitions_on_headers() {
        for api in Api::ALL {
            let generated = ApiKey::try_from(api.key()).unwrap();
            assert_eq!(format!("{generated:?}"), api.name());
            for version in api.decoded() {
                let flexible = generated.request_header_version(version) >= 2;
                assert_eq!(api.is_flexible(version), flexible, "{api} {version}");
                let response = generated.response_header_version(version);
                let ours = api.response_header_version(version);
                assert_eq!(ours, response, "{api} {version}");
            }
        }
    }

    #[test]
    fn keys_go_both_ways_and_in_order() {
        for api in Api::ALL {
            assert_eq!(Api::from_key(api.key()), Some(*api));
        }
        assert!(Api::ALL.is_sorted_by_key(|api| api.key()));
        assert_eq!(Api::from_key(17), None, "SASL is not served");
    }

    #[test]
    fn only_produce_advertises_more_than_is_decoded() {
        for api in Api::ALL {
            let (advertised, decoded) = (api.advertised(), api.decoded());
            assert_eq!(advertised.end(), decoded.end());
            assert_eq!(advertised.start() == decoded.start(), *api != Api::Produce);
        }
    }
}
