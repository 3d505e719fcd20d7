//! What is worth a log line: one struct per event, which also bumps the counter.

use std::net::SocketAddr;

use kafka_wire::{DecodeError, EncodeError, FrameError};
use tracing::{debug, error, info, warn};

use crate::metrics::Metrics;

/// There are as many connections as there may be.
pub(crate) struct TooMany {
    pub(crate) peer: SocketAddr,
    pub(crate) limit: usize,
}

impl TooMany {
    pub(crate) fn happened(self, metrics: &Metrics) {
        metrics.refused.inc();
        warn!(peer = %self.peer, limit = self.limit, "Too many Kafka connections; this one is closed.");
    }
}

/// A connection was fenced after a panic.
pub(crate) struct Panicked {
    pub(crate) reason: String,
}

impl Panicked {
    pub(crate) fn happened(self, metrics: &Metrics) {
        metrics.panics.inc();
        error!(
            reason = self.reason,
            "A Kafka connection failed inside Lantern and was closed."
        );
    }
}

/// Why a connection ended.
pub(crate) enum End {
    /// The client closed it, and everything was answered.
    Closed,
    /// The endpoint stops.
    Stopped,
    /// What came is no Kafka frame.
    Frame(FrameError),
    /// What came is no request that can be answered.
    Request(DecodeError),
    /// The answer could not be written: ours to mend.
    Answer(EncodeError),
    /// Nothing came for long.
    Idle,
    /// A request or an answer took too long.
    Stalled { what: &'static str, bytes: usize },
    /// `acks=0` leaves no other way to tell the producer.
    FailedWithoutAcks,
    /// The socket failed.
    Io(std::io::Error),
}

impl End {
    pub(crate) fn happened(self, peer: SocketAddr, metrics: &Metrics) {
        match self {
            Self::Closed | Self::Stopped => debug!(%peer, "Kafka connection closed."),
            Self::Frame(error) => {
                metrics.malformed.inc();
                warn!(%peer, %error, "Kafka connection sent no Kafka request; closed.");
            }
            Self::Request(error) => {
                metrics.malformed.inc();
                warn!(%peer, %error, "Kafka request cannot be served; connection closed.");
            }
            Self::Answer(error) => {
                metrics.panics.inc();
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                error!(%peer, %error, cause, "Kafka answer cannot be encoded; connection closed.");
            }
            Self::Idle => {
                metrics.stalled.inc();
                debug!(%peer, "Kafka connection was idle; closed.");
            }
            Self::Stalled { what, bytes } => {
                metrics.stalled.inc();
                info!(%peer, what, bytes, "Kafka connection is too slow; closed.");
            }
            Self::FailedWithoutAcks => {
                info!(%peer, "Kafka produce without acks failed; connection closed to tell.");
            }
            Self::Io(error) => debug!(%peer, %error, "Kafka connection failed."),
        }
    }
}
