//! Why bytes are not a frame, a request or an answer.

use crate::Api;

/// The start of a stream is not a Kafka frame. The connection cannot go on.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
pub enum FrameError {
    /// The length is negative, zero, or too short for a header.
    #[error("a frame of {length} bytes cannot hold a request header")]
    TooShort {
        /// The length announced.
        length: i32,
    },
    /// The length is above the limit.
    #[error("a frame of {length} bytes is larger than the limit of {limit}")]
    TooLong {
        /// The length announced.
        length: i32,
        /// Bytes allowed.
        limit: usize,
    },
    /// The peer speaks HTTP.
    #[error("the client speaks HTTP, this port speaks Kafka")]
    Http,
    /// The peer speaks TLS.
    #[error("the client speaks TLS, this port speaks plain Kafka")]
    Tls,
}

/// A frame is not a request that can be served.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The frame ends before its header does, or the client id is not text.
    #[error("the request header is malformed")]
    Header,
    /// An API that is not in the table.
    #[error("API key {key} version {version} is not served")]
    UnknownApi {
        /// The key.
        key: i16,
        /// The version asked for.
        version: i16,
    },
    /// A version of a served API that is not served. ApiVersions gets an answer, others a close.
    #[error("{api} version {version} is not served")]
    UnsupportedVersion {
        /// The API.
        api: Api,
        /// The version asked for.
        version: i16,
        /// To answer with.
        correlation_id: i32,
    },
    /// The body ends too early, or a count or a length in it is more than there are bytes.
    #[error("{api} version {version}: the body is malformed at byte {position}")]
    Malformed {
        /// The API.
        api: Api,
        /// The version.
        version: i16,
        /// Where in the body.
        position: usize,
    },
    /// More array elements and tagged fields than [`crate::ELEMENTS_MAX`].
    #[error("{api} version {version}: more than {limit} elements in one request")]
    TooManyElements {
        /// The API.
        api: Api,
        /// The version.
        version: i16,
        /// Elements allowed.
        limit: usize,
    },
    /// The generated decoder refused the body.
    #[error("{api} version {version}: the body is malformed")]
    Body {
        /// The API.
        api: Api,
        /// The version.
        version: i16,
        /// What the decoder says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The generated decoder panicked; nothing of the request was kept.
    #[error("{api} version {version}: the decoder failed on this body")]
    Panicked {
        /// The API.
        api: Api,
        /// The version.
        version: i16,
    },
}

/// An answer cannot be written in the version asked for: a mistake of ours.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The generated encoder refused the body.
    #[error("{api} version {version}: the body cannot be encoded")]
    Body {
        /// The API.
        api: Api,
        /// The version.
        version: i16,
        /// What the encoder says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The frame would be longer than its 31-bit length can say.
    #[error("{api} version {version}: a frame of {length} bytes is too long")]
    TooLong {
        /// The API.
        api: Api,
        /// The version.
        version: i16,
        /// Bytes of the frame.
        length: usize,
    },
    /// An answer that is not the expected one.
    #[error("{api} version {version}: the answer is malformed")]
    Answer {
        /// The API.
        api: Api,
        /// The version.
        version: i16,
        /// What the decoder says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
