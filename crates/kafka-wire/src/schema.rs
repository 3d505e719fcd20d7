//! The shape of every request that is served. Source: Kafka 4.1's message definitions.

use crate::Api;
use crate::shape::{Field, Kind, Shape};

use Kind::{Blob, Fixed, Maybe, Structs, Text, Values};

const BOOL: Kind = Fixed(1);
const I8: Kind = Fixed(1);
const I16: Kind = Fixed(2);
const I32: Kind = Fixed(4);
const I64: Kind = Fixed(8);
const UUID: Kind = Fixed(16);

/// In every version.
const fn f(kind: Kind) -> Field {
    between(i16::MIN, i16::MAX, kind)
}

const fn since(version: i16, kind: Kind) -> Field {
    between(version, i16::MAX, kind)
}

const fn until(version: i16, kind: Kind) -> Field {
    between(i16::MIN, version, kind)
}

const fn between(since: i16, until: i16, kind: Kind) -> Field {
    Field { kind, since, until }
}

const PRODUCE: &[Field] = &[
    f(Text),
    f(I16),
    f(I32),
    f(Structs(&[f(Text), f(Structs(&[f(I32), f(Blob)]))])),
];

const FETCH: &[Field] = &[
    f(I32),
    f(I32),
    f(I32),
    f(I32),
    f(I8),
    since(7, I32),
    since(7, I32),
    f(Structs(&[
        f(Text),
        f(Structs(&[
            f(I32),
            since(9, I32),
            f(I64),
            since(12, I32),
            since(5, I64),
            f(I32),
        ])),
    ])),
    since(7, Structs(&[f(Text), f(Values(&I32))])),
    since(11, Text),
];

const LIST_OFFSETS: &[Field] = &[
    f(I32),
    since(2, I8),
    f(Structs(&[
        f(Text),
        f(Structs(&[f(I32), since(4, I32), f(I64)])),
    ])),
    since(10, I32),
];

const METADATA: &[Field] = &[
    f(Structs(&[since(10, UUID), f(Text)])),
    since(4, BOOL),
    between(8, 10, BOOL),
    since(8, BOOL),
];

const OFFSET_COMMIT: &[Field] = &[
    f(Text),
    f(I32),
    f(Text),
    since(7, Text),
    until(4, I64),
    f(Structs(&[
        f(Text),
        f(Structs(&[f(I32), f(I64), since(6, I32), f(Text)])),
    ])),
];

const OFFSET_FETCH: &[Field] = &[
    until(7, Text),
    until(7, Structs(&[f(Text), f(Values(&I32))])),
    since(
        8,
        Structs(&[
            f(Text),
            since(9, Text),
            since(9, I32),
            f(Structs(&[f(Text), f(Values(&I32))])),
        ]),
    ),
    since(7, BOOL),
];

const FIND_COORDINATOR: &[Field] = &[until(3, Text), since(1, I8), since(4, Values(&Text))];

const JOIN_GROUP: &[Field] = &[
    f(Text),
    f(I32),
    since(1, I32),
    f(Text),
    since(5, Text),
    f(Text),
    f(Structs(&[f(Text), f(Blob)])),
    since(8, Text),
];

const HEARTBEAT: &[Field] = &[f(Text), f(I32), f(Text), since(3, Text)];

const LEAVE_GROUP: &[Field] = &[
    f(Text),
    until(2, Text),
    since(3, Structs(&[f(Text), f(Text), since(5, Text)])),
];

const SYNC_GROUP: &[Field] = &[
    f(Text),
    f(I32),
    f(Text),
    since(3, Text),
    since(5, Text),
    since(5, Text),
    f(Structs(&[f(Text), f(Blob)])),
];

const DESCRIBE_GROUPS: &[Field] = &[f(Values(&Text)), since(3, BOOL)];

const LIST_GROUPS: &[Field] = &[since(4, Values(&Text)), since(5, Values(&Text))];

const API_VERSIONS: &[Field] = &[since(3, Text), since(3, Text)];

const CREATE_TOPICS: &[Field] = &[
    f(Structs(&[
        f(Text),
        f(I32),
        f(I16),
        f(Structs(&[f(I32), f(Values(&I32))])),
        f(Structs(&[f(Text), f(Text)])),
    ])),
    f(I32),
    f(BOOL),
];

const DELETE_TOPICS: &[Field] = &[
    since(6, Structs(&[f(Text), f(UUID)])),
    until(5, Values(&Text)),
    f(I32),
];

const DELETE_RECORDS: &[Field] = &[
    f(Structs(&[f(Text), f(Structs(&[f(I32), f(I64)]))])),
    f(I32),
];

const INIT_PRODUCER_ID: &[Field] = &[f(Text), f(I32), since(3, I64), since(3, I16)];

const OFFSET_FOR_LEADER_EPOCH: &[Field] = &[
    since(3, I32),
    f(Structs(&[f(Text), f(Structs(&[f(I32), f(I32), f(I32)]))])),
];

const ADD_PARTITIONS_TO_TXN: &[Field] = &[
    f(Text),
    f(I64),
    f(I16),
    f(Structs(&[f(Text), f(Values(&I32))])),
];

const ADD_OFFSETS_TO_TXN: &[Field] = &[f(Text), f(I64), f(I16), f(Text)];

const END_TXN: &[Field] = &[f(Text), f(I64), f(I16), f(BOOL)];

const TXN_OFFSET_COMMIT: &[Field] = &[
    f(Text),
    f(Text),
    f(I64),
    f(I16),
    since(3, I32),
    since(3, Text),
    since(3, Text),
    f(Structs(&[
        f(Text),
        f(Structs(&[f(I32), f(I64), since(2, I32), f(Text)])),
    ])),
];

const DESCRIBE_PRODUCERS: &[Field] = &[f(Structs(&[f(Text), f(Values(&I32))]))];

const DESCRIBE_TRANSACTIONS: &[Field] = &[f(Values(&Text))];

const LIST_TRANSACTIONS: &[Field] = &[f(Values(&Text)), f(Values(&I64)), since(1, I64)];

const DESCRIBE_CONFIGS: &[Field] = &[
    f(Structs(&[f(I8), f(Text), f(Values(&Text))])),
    f(BOOL),
    since(3, BOOL),
];

const ALTER_CONFIGS: &[Field] = &[
    f(Structs(&[f(I8), f(Text), f(Structs(&[f(Text), f(Text)]))])),
    f(BOOL),
];

const DESCRIBE_LOG_DIRS: &[Field] = &[f(Structs(&[f(Text), f(Values(&I32))]))];

const CREATE_PARTITIONS: &[Field] = &[
    f(Structs(&[f(Text), f(I32), f(Structs(&[f(Values(&I32))]))])),
    f(I32),
    f(BOOL),
];

const DELETE_GROUPS: &[Field] = &[f(Values(&Text))];

const INCREMENTAL_ALTER_CONFIGS: &[Field] = &[
    f(Structs(&[
        f(I8),
        f(Text),
        f(Structs(&[f(Text), f(I8), f(Text)])),
    ])),
    f(BOOL),
];

const LIST_PARTITION_REASSIGNMENTS: &[Field] = &[f(I32), f(Structs(&[f(Text), f(Values(&I32))]))];

const OFFSET_DELETE: &[Field] = &[f(Text), f(Structs(&[f(Text), f(Structs(&[f(I32)]))]))];

const DESCRIBE_CLUSTER: &[Field] = &[f(BOOL), since(1, I8), since(2, BOOL)];

const CONSUMER_GROUP_HEARTBEAT: &[Field] = &[
    f(Text),
    f(Text),
    f(I32),
    f(Text),
    f(Text),
    f(I32),
    f(Values(&Text)),
    since(1, Text),
    f(Text),
    f(Structs(&[f(UUID), f(Values(&I32))])),
];

const CONSUMER_GROUP_DESCRIBE: &[Field] = &[f(Values(&Text)), f(BOOL)];

const DESCRIBE_TOPIC_PARTITIONS: &[Field] =
    &[f(Structs(&[f(Text)])), f(I32), f(Maybe(&[f(Text), f(I32)]))];

/// The shape of `api`'s requests.
pub(crate) const fn shape(api: Api) -> Shape {
    let fields = match api {
        Api::Produce => PRODUCE,
        Api::Fetch => FETCH,
        Api::ListOffsets => LIST_OFFSETS,
        Api::Metadata => METADATA,
        Api::OffsetCommit => OFFSET_COMMIT,
        Api::OffsetFetch => OFFSET_FETCH,
        Api::FindCoordinator => FIND_COORDINATOR,
        Api::JoinGroup => JOIN_GROUP,
        Api::Heartbeat => HEARTBEAT,
        Api::LeaveGroup => LEAVE_GROUP,
        Api::SyncGroup => SYNC_GROUP,
        Api::DescribeGroups => DESCRIBE_GROUPS,
        Api::ListGroups => LIST_GROUPS,
        Api::ApiVersions => API_VERSIONS,
        Api::CreateTopics => CREATE_TOPICS,
        Api::DeleteTopics => DELETE_TOPICS,
        Api::DeleteRecords => DELETE_RECORDS,
        Api::InitProducerId => INIT_PRODUCER_ID,
        Api::OffsetForLeaderEpoch => OFFSET_FOR_LEADER_EPOCH,
        Api::AddPartitionsToTxn => ADD_PARTITIONS_TO_TXN,
        Api::AddOffsetsToTxn => ADD_OFFSETS_TO_TXN,
        Api::EndTxn => END_TXN,
        Api::TxnOffsetCommit => TXN_OFFSET_COMMIT,
        Api::DescribeConfigs => DESCRIBE_CONFIGS,
        Api::AlterConfigs => ALTER_CONFIGS,
        Api::DescribeLogDirs => DESCRIBE_LOG_DIRS,
        Api::CreatePartitions => CREATE_PARTITIONS,
        Api::DeleteGroups => DELETE_GROUPS,
        Api::IncrementalAlterConfigs => INCREMENTAL_ALTER_CONFIGS,
        Api::ListPartitionReassignments => LIST_PARTITION_REASSIGNMENTS,
        Api::OffsetDelete => OFFSET_DELETE,
        Api::DescribeCluster => DESCRIBE_CLUSTER,
        Api::DescribeProducers => DESCRIBE_PRODUCERS,
        Api::DescribeTransactions => DESCRIBE_TRANSACTIONS,
        Api::ListTransactions => LIST_TRANSACTIONS,
        Api::ConsumerGroupHeartbeat => CONSUMER_GROUP_HEARTBEAT,
        Api::ConsumerGroupDescribe => CONSUMER_GROUP_DESCRIBE,
        Api::DescribeTopicPartitions => DESCRIBE_TOPIC_PARTITIONS,
    };
    // Fetch names the cluster in tagged field 0 (KIP-595).
    let tag_0 = if matches!(api, Api::Fetch) {
        Some(Text)
    } else {
        None
    };
    Shape { fields, tag_0 }
}
