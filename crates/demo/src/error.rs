//! Why a demo could not go on.

use std::time::Duration;

use model::TopicName;

/// Why a demo could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Options that cannot be; all problems at once.
    #[error("{}", .problems.join("; "))]
    Options {
        /// Each problem in words.
        problems: Vec<String>,
    },
    /// Nobody listens where the server should be.
    #[error(
        "no Kafka server answers at {address}: start Lantern with `lantern up`, or name another \
         server with --broker HOST:PORT"
    )]
    NoServer {
        /// Where it should be.
        address: String,
        /// What happened.
        #[source]
        source: kafka_client::Error,
    },
    /// The topic is missing and cannot be created.
    #[error("topic '{topic}' cannot be used")]
    Topic {
        /// Its name.
        topic: TopicName,
        /// What happened.
        #[source]
        source: kafka_client::Error,
    },
    /// The server was lost and did not come back in time.
    #[error("the Kafka server at {address} was lost and did not come back within {after:?}")]
    Lost {
        /// Where it was.
        address: String,
        /// How long was waited.
        after: Duration,
        /// What happened last.
        #[source]
        source: kafka_client::Error,
    },
    /// The server did not take the events.
    #[error("the Kafka server did not take the events")]
    Refused(#[source] kafka_client::Error),
}
