//! Why a command failed, in words for who typed it.

use std::path::PathBuf;

use kafka_client::ErrorCode;
use model::TopicName;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Flags that each are good but make no sense together, or a choice that was not made.
    #[error("{what}")]
    BadUse {
        /// What is wrong, and what to write instead.
        what: String,
    },
    /// No server is there.
    #[error(
        "no Kafka server answers at {address}: {reason} (start one with `lantern`, or name another with --broker)"
    )]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// Something is there that does not speak Kafka, or not without encryption.
    #[error(
        "what listens at {address} is no Kafka server that takes plain connections: it closed the connection"
    )]
    NotKafka {
        /// Where.
        address: String,
    },
    /// A topic that is not there.
    #[error("there is no topic '{topic}'{hint}")]
    UnknownTopic {
        /// Its name.
        topic: TopicName,
        /// What to do about it, as the end of the sentence.
        hint: String,
    },
    /// A partition that is not there.
    #[error("topic '{topic}' has no partition {partition}: it has {count}, numbered from 0")]
    UnknownPartition {
        /// The topic.
        topic: TopicName,
        /// The partition asked for.
        partition: u32,
        /// How many it has.
        count: usize,
    },
    /// A group that is not there.
    #[error("there is no group '{group}': `lantern group list` shows those that are")]
    UnknownGroup {
        /// Its name.
        group: String,
    },
    /// A group that cannot be changed while it is used.
    #[error("group '{group}' has {members} (state {state}): stop them first, then {action} it")]
    GroupInUse {
        /// Its name.
        group: String,
        /// How many, as words.
        members: String,
        /// Its state.
        state: String,
        /// What was to be done.
        action: &'static str,
    },
    /// The server said no, or the way to it broke.
    #[error("cannot {action}: {reason}")]
    Failed {
        /// What was to be done.
        action: String,
        /// Why not.
        reason: String,
        /// What to do about it, as a new sentence; may be empty.
        hint: String,
        /// What the client said.
        #[source]
        source: Box<kafka_client::Error>,
    },
    /// A line of input that cannot be made a record.
    #[error("{place}: {reason} (produced before it: {produced})")]
    Input {
        /// File and line.
        place: String,
        /// What is wrong with it.
        reason: String,
        /// How many, as words.
        produced: String,
    },
    /// Records that were read and are not known to be written.
    #[error("{lost} of {read} not acknowledged ({lines}): {reason}")]
    NotAcknowledged {
        /// How many.
        lost: u64,
        /// How many were read, as words.
        read: String,
        /// Which, as places in the input.
        lines: String,
        /// Why.
        reason: String,
    },
    /// A file that cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Standard input cannot be read.
    #[error("cannot read standard input")]
    Stdin(#[source] std::io::Error),
    /// What is printed cannot be written; a reader that went away is no error.
    #[error("cannot write the output")]
    Print(#[from] std::io::Error),
}

impl Error {
    /// Whether the command was used wrongly, which has its own exit code.
    pub fn is_bad_use(&self) -> bool {
        matches!(self, Self::BadUse { .. })
    }

    /// Whether nobody reads what is printed any more, as after `| head`.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Print(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }

    /// What to do about it, as a sentence of its own.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Failed { hint, .. } if !hint.is_empty() => Some(hint),
            _ => None,
        }
    }

    pub(crate) fn bad_use(what: impl Into<String>) -> Self {
        Self::BadUse { what: what.into() }
    }

    pub(crate) fn failed(action: impl Into<String>, source: kafka_client::Error) -> Self {
        Self::Failed {
            action: action.into(),
            reason: reason(&source),
            hint: String::new(),
            source: Box::new(source),
        }
    }

    pub(crate) fn with_hint(mut self, text: impl Into<String>) -> Self {
        if let Self::Failed { hint, .. } = &mut self {
            *hint = text.into();
        }
        self
    }
}

/// Why a request failed, in one clause: the server's own words where it has some.
pub(crate) fn reason(error: &kafka_client::Error) -> String {
    use kafka_client::Error as E;
    match error {
        E::Refused { code, message, .. } if message.contains(' ') => {
            format!("{message} ({})", name(*code))
        }
        E::Refused { code, .. } => words(*code),
        E::Advertised { source, .. } => format!("{error}: {}", reason(source)),
        E::Connect { source, .. } => format!("{error}: {source}"),
        E::Io(source) => format!("the connection failed: {source}"),
        _ => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

/// Kafka's name of a code, as its documentation writes it.
fn name(code: ErrorCode) -> String {
    let camel = format!("{code:?}");
    let mut name = String::with_capacity(camel.len() + 4);
    for (index, letter) in camel.chars().enumerate() {
        if index > 0 && letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

fn words(code: ErrorCode) -> String {
    let said = match code {
        ErrorCode::UnknownTopicOrPartition => "there is no such topic or partition",
        ErrorCode::TopicAlreadyExists => "it exists already",
        ErrorCode::MessageTooLarge => {
            "a record is larger than the topic takes (its max.message.bytes)"
        }
        ErrorCode::TopicAuthorizationFailed | ErrorCode::GroupAuthorizationFailed => {
            "this client is not allowed to"
        }
        ErrorCode::NonEmptyGroup => "it has members",
        ErrorCode::GroupIdNotFound => "there is no such group",
        ErrorCode::InconsistentGroupProtocol => {
            "its members assign partitions in a way that this client does not know"
        }
        ErrorCode::CoordinatorNotAvailable => "its coordinator is not available yet",
        ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend => {
            "too few replicas of the partition keep up"
        }
        ErrorCode::OffsetOutOfRange => "the partition does not have this offset",
        ErrorCode::InvalidReplicationFactor => "so many replicas cannot be",
        ErrorCode::InvalidPartitions => "so many partitions cannot be",
        other => return name(other),
    };
    format!("{said} ({})", name(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_named_as_in_kafkas_documentation() {
        assert_eq!(name(ErrorCode::OffsetOutOfRange), "OFFSET_OUT_OF_RANGE");
        assert_eq!(
            words(ErrorCode::TopicAlreadyExists),
            "it exists already (TOPIC_ALREADY_EXISTS)"
        );
    }
}
