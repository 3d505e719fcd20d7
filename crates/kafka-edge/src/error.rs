//! Why the endpoint cannot start or go on.

use std::net::SocketAddr;

/// Why the endpoint cannot start or go on. The operator is to blame.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Options that cannot be.
    #[error("the Kafka endpoint cannot run like this: {}", problems.join("; "))]
    Options {
        /// All of them.
        problems: Vec<String>,
    },
    /// The broker's positions are not offsets, which is all the Kafka protocol knows.
    #[error("this broker cannot be served over the Kafka protocol: its positions are no offsets")]
    NoOffsets,
    /// Something else listens there.
    #[error("{address} is in use by another program")]
    AddressTaken {
        /// Where it should have listened.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address} for Kafka clients")]
    Listen {
        /// Where it should have listened.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// `run` was called before `bind`.
    #[error("the Kafka endpoint was not bound to an address before it was run")]
    NotBound,
}
