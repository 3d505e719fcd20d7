//! What can be wrong with what the store is given.

use crate::labels::DuplicateLabel;

/// Why a series, a matcher or a remote-write request is refused. All of them blame the sender.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A matcher's pattern is no regular expression, or compiles to too much.
    #[error("'{pattern}' is not a usable regular expression")]
    Pattern {
        /// The pattern as given.
        pattern: String,
        /// What the compiler says.
        #[source]
        source: Box<regex::Error>,
    },
    /// The store holds as many series as it may.
    #[error("the store holds {limit} series already, its limit; series {labels} is refused")]
    TooManySeries {
        /// The series that did not fit.
        labels: String,
        /// The limit in force.
        limit: usize,
    },
    /// A series has too many labels.
    #[error("series {labels} has {count} labels, at most {limit} are allowed")]
    TooManyLabels {
        /// The series, cut short.
        labels: String,
        /// Labels it has.
        count: usize,
        /// Labels it may have.
        limit: usize,
    },
    /// A label's name is too long.
    #[error("label name '{name}…' has {length} bytes, at most {limit} are allowed")]
    LabelNameTooLong {
        /// The start of the name.
        name: String,
        /// Bytes it has.
        length: usize,
        /// Bytes it may have.
        limit: usize,
    },
    /// A label's value is too long.
    #[error("the value of label '{name}' has {length} bytes, at most {limit} are allowed")]
    LabelValueTooLong {
        /// The label.
        name: String,
        /// Bytes its value has.
        length: usize,
        /// Bytes it may have.
        limit: usize,
    },
    /// A series has no metric name.
    #[error("series {labels} has no metric name")]
    NoMetricName {
        /// The series, cut short.
        labels: String,
    },
    /// A label comes twice.
    #[error(transparent)]
    DuplicateLabel(#[from] DuplicateLabel),
    /// A remote-write message is malformed.
    #[error(transparent)]
    Wire(#[from] crate::write::WireError),
}
