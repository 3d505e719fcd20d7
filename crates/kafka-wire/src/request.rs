//! From a frame to a request: header, walk, then the generated decoder behind a fence.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use kafka_protocol::messages;
use kafka_protocol::protocol::Decodable;

use crate::header::{RequestHeader, decode_header};
use crate::schema::shape;
use crate::shape::{WalkError, Walked, walk};
use crate::{Api, DecodeError, ELEMENT_BYTES, ELEMENTS_MAX};

/// A request with its header.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// What stood before it.
    pub header: RequestHeader,
    /// What is asked.
    pub request: Request,
}

macro_rules! requests {
    ($($name:ident($body:ident),)*) => {
        /// A request of any API that is served. Bytes and text in it share the frame's memory.
        #[derive(Debug, Clone, PartialEq)]
        #[expect(missing_docs, reason = "the variants are Kafka's APIs by name")]
        pub enum Request {
            $($name(messages::$body),)*
        }

        fn decode_body(api: Api, version: i16, body: &mut Bytes) -> Result<Request, BodyError> {
            match api {
                $(Api::$name => Ok(Request::$name(Decodable::decode(body, version)?)),)*
            }
        }
    };
}

requests! {
    Produce(ProduceRequest),
    Fetch(FetchRequest),
    ListOffsets(ListOffsetsRequest),
    Metadata(MetadataRequest),
    OffsetCommit(OffsetCommitRequest),
    OffsetFetch(OffsetFetchRequest),
    FindCoordinator(FindCoordinatorRequest),
    JoinGroup(JoinGroupRequest),
    Heartbeat(HeartbeatRequest),
    LeaveGroup(LeaveGroupRequest),
    SyncGroup(SyncGroupRequest),
    DescribeGroups(DescribeGroupsRequest),
    ListGroups(ListGroupsRequest),
    ApiVersions(ApiVersionsRequest),
    CreateTopics(CreateTopicsRequest),
    DeleteTopics(DeleteTopicsRequest),
    DeleteRecords(DeleteRecordsRequest),
    InitProducerId(InitProducerIdRequest),
    OffsetForLeaderEpoch(OffsetForLeaderEpochRequest),
    AddPartitionsToTxn(AddPartitionsToTxnRequest),
    AddOffsetsToTxn(AddOffsetsToTxnRequest),
    EndTxn(EndTxnRequest),
    TxnOffsetCommit(TxnOffsetCommitRequest),
    DescribeConfigs(DescribeConfigsRequest),
    AlterConfigs(AlterConfigsRequest),
    DescribeLogDirs(DescribeLogDirsRequest),
    CreatePartitions(CreatePartitionsRequest),
    DeleteGroups(DeleteGroupsRequest),
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest),
    ListPartitionReassignments(ListPartitionReassignmentsRequest),
    OffsetDelete(OffsetDeleteRequest),
    DescribeCluster(DescribeClusterRequest),
    DescribeProducers(DescribeProducersRequest),
    DescribeTransactions(DescribeTransactionsRequest),
    ListTransactions(ListTransactionsRequest),
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatRequest),
    ConsumerGroupDescribe(ConsumerGroupDescribeRequest),
    DescribeTopicPartitions(DescribeTopicPartitionsRequest),
}

/// What the generated decoder says, kept as a cause.
type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A request whose header is read and whose counts are true, but which takes no memory yet.
#[derive(Debug, Clone)]
pub struct CheckedRequest {
    header: RequestHeader,
    body: Bytes,
    elements: usize,
}

impl CheckedRequest {
    /// Reads the header of a frame (without its length) and walks the body. Allocates nothing.
    ///
    /// # Errors
    /// [`DecodeError`]; only [`DecodeError::UnsupportedVersion`] of ApiVersions has an answer
    /// ([`crate::unsupported_version_answer`]), after all others the connection is closed.
    pub fn parse(mut frame: Bytes) -> Result<Self, DecodeError> {
        let header = decode_header(&mut frame)?;
        let (api, version) = (header.api, header.version);
        match walk(&shape(api), version, api.is_flexible(version), &frame) {
            Ok(Walked { elements, .. }) => Ok(Self {
                header,
                body: frame,
                elements,
            }),
            Err(WalkError::Malformed { position }) => Err(DecodeError::Malformed {
                api,
                version,
                position,
            }),
            Err(WalkError::TooManyElements) => Err(DecodeError::TooManyElements {
                api,
                version,
                limit: ELEMENTS_MAX,
            }),
        }
    }

    /// What stood before it.
    pub fn header(&self) -> &RequestHeader {
        &self.header
    }

    /// Bytes that [`CheckedRequest::decode`] allocates at most; text and bytes share the frame.
    pub fn decoded_bytes(&self) -> usize {
        self.elements.saturating_mul(ELEMENT_BYTES)
    }

    /// Decodes the body. Bytes after it are ignored, as Kafka does.
    ///
    /// # Errors
    /// [`DecodeError::Body`].
    pub fn decode(self) -> Result<Decoded, DecodeError> {
        let Self {
            header, mut body, ..
        } = self;
        let (api, version) = (header.api, header.version);
        // The walk leaves nothing for the decoder to trip over; should it all the same, one
        // connection ends and not the process.
        let request = catch_unwind(AssertUnwindSafe(|| decode_body(api, version, &mut body)));
        match request {
            Ok(Ok(request)) => Ok(Decoded { header, request }),
            Ok(Err(source)) => Err(DecodeError::Body {
                api,
                version,
                source,
            }),
            Err(_panic) => Err(DecodeError::Panicked { api, version }),
        }
    }
}

/// Checks and decodes one frame (without its length).
///
/// Never panics. Allocates at most [`ELEMENT_BYTES`] for each of at most [`ELEMENTS_MAX`] elements;
/// bytes and text share the frame.
///
/// # Errors
/// As [`CheckedRequest::parse`] and [`CheckedRequest::decode`].
pub fn decode_request(frame: Bytes) -> Result<Decoded, DecodeError> {
    CheckedRequest::parse(frame)?.decode()
}

#[cfg(test)]
mod tests;
