//! Kafka requests and responses: framing, the API table, decoding within limits.
//!
//! Sans-I/O: bytes in, requests out; answers in, bytes out. Read first: [`Splitter`] cuts a byte
//! stream into frames, [`decode_request`] makes a [`Request`] of one, [`encode_response`] and
//! [`FetchAnswer`] make frames of answers. What is served, in which versions, is the table in [`Api`].
//!
//! Invariants:
//! - Decoding never panics, and allocates at most the frame itself and
//!   [`ELEMENT_BYTES`] × [`ELEMENTS_MAX`] bytes: every count in a request is checked against the
//!   bytes that are really there *before* the generated decoder, which trusts counts, sees it.
//! - The table never advertises what [`decode_request`] cannot decode, with one exception that
//!   Kafka makes too (see [`Api::advertised`]).
//!
//! Bodies are the `kafka-protocol` crate's; record batches inside them are opaque bytes here and
//! belong to the `record` crate. Not here: sockets and what a request does (`kafka-edge`).
//!
//! ```
//! use kafka_wire::{Splitter, decode_request, Request};
//! let mut stream = bytes::BytesMut::new();
//! // ApiVersions version 0, correlation id 7, no client id.
//! stream.extend_from_slice(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff]);
//! let frame = Splitter::requests(1 << 20).next(&mut stream).unwrap().unwrap();
//! let decoded = decode_request(frame).unwrap();
//! assert_eq!(decoded.header.correlation_id, 7);
//! assert!(matches!(decoded.request, Request::ApiVersions(_)));
//! ```

#![forbid(unsafe_code)]
#![warn(
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::wildcard_enum_match_arm
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        reason = "a test that misses its slice fails"
    )
)]

mod api;
mod error;
mod fetch;
mod frame;
mod header;
mod request;
mod response;
mod schema;
mod shape;
mod versions;

pub use api::Api;
pub use error::{DecodeError, EncodeError, FrameError};
pub use fetch::{FetchAnswer, FetchedPartition, TopicRef};
pub use frame::{REQUEST_BYTES_MAX_DEFAULT, Splitter};
pub use header::{ClientId, RequestHeader};
pub use request::{CheckedRequest, Decoded, Request, decode_request};
pub use response::{decode_response, encode_request, encode_response, encode_response_into};
pub use shape::{ELEMENT_BYTES, ELEMENTS_MAX};
pub use versions::{unsupported_version_answer, versions_answer};

/// The generated request and response bodies, for callers that fill or read them.
pub use kafka_protocol::messages;

/// Kafka's error codes by name.
pub use kafka_protocol::error::ResponseError as ErrorCode;

/// Text inside the generated bodies.
pub use kafka_protocol::protocol::StrBytes;

/// What can be written as an answer or a request.
pub use kafka_protocol::protocol::{Decodable, Encodable};
