//! Why a query has no answer.

/// Why an expression is refused, or its evaluation stops.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no PromQL.
    #[error("{message}")]
    Syntax {
        /// What is wrong with it.
        message: String,
    },
    /// The text is PromQL, but uses what Lantern does not cover.
    #[error("{feature} is not supported")]
    Unsupported {
        /// The function or feature, by name.
        feature: String,
    },
    /// A matcher or a function is given a pattern that is none.
    #[error("'{pattern}' is not a usable regular expression")]
    Pattern {
        /// The pattern.
        pattern: String,
    },
    /// An argument has a value the function cannot work with.
    #[error("{message}")]
    Argument {
        /// What is wrong with it.
        message: String,
    },
    /// The series of both sides cannot be told apart where they must be.
    #[error("{message}")]
    Matching {
        /// Which series clash, in Prometheus' words.
        message: String,
    },
    /// Two elements of one vector have the same labels.
    #[error("vector cannot contain metrics with the same labelset: {labels}")]
    DuplicateLabels {
        /// The labels both have.
        labels: String,
    },
    /// A range query of an expression that is no instant vector and no scalar.
    #[error("invalid expression type '{kind}' for range query, must be scalar or instant vector")]
    NotForRange {
        /// What the expression is.
        kind: &'static str,
    },
    /// A range query whose steps cannot be walked.
    #[error("{message}")]
    Range {
        /// What is wrong with start, end or step.
        message: String,
    },
    /// The query would load or make too many samples.
    #[error("query processing would load too many samples into memory: more than {limit}")]
    TooManySamples {
        /// [`Options::samples_max`](crate::Options::samples_max).
        limit: usize,
    },
    /// The deadline passed, or the asker went away.
    #[error("query was canceled or ran into its deadline")]
    Stopped,
}

/// What an HTTP edge or a caller makes of an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The asker's fault, known before evaluation: 400, `bad_data`.
    BadData,
    /// Evaluation failed on the data there is: 422, `execution`.
    Execution,
    /// Evaluation was stopped: 503, `timeout`.
    Timeout,
}

impl Error {
    /// Who is to blame, as Prometheus' API tells it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Syntax { .. }
            | Self::Unsupported { .. }
            | Self::Pattern { .. }
            | Self::NotForRange { .. }
            | Self::Range { .. } => ErrorKind::BadData,
            Self::Argument { .. }
            | Self::Matching { .. }
            | Self::DuplicateLabels { .. }
            | Self::TooManySamples { .. } => ErrorKind::Execution,
            Self::Stopped => ErrorKind::Timeout,
        }
    }
}

impl From<series::Error> for Error {
    fn from(error: series::Error) -> Self {
        match error {
            series::Error::Pattern { pattern, .. } => Self::Pattern { pattern },
            other => Self::Argument {
                message: other.to_string(),
            },
        }
    }
}
