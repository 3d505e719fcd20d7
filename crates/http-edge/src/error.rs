//! Answers of the Prometheus API: the envelope, and which failure has which status.
//!
//! Source: Prometheus' HTTP API, "Format overview".

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use promql::ErrorKind;
use serde::Serialize;

/// A failed call: `errorType`, text, and the HTTP status that goes with the type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    text: String,
}

impl ApiError {
    /// The request is wrong and stays wrong (400).
    pub(crate) fn bad_data(text: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "bad_data",
            text: text.into(),
        }
    }

    /// The expression does not parse (400).
    pub(crate) fn parse(error: &promql::Error) -> Self {
        Self::bad_data(format!("invalid parameter \"query\": {error}"))
    }

    /// The expression cannot be evaluated (422), took too long (503), or was wrong after all (400).
    pub(crate) fn evaluation(error: &promql::Error) -> Self {
        let text = error.to_string();
        match error.kind() {
            ErrorKind::Timeout => Self {
                status: StatusCode::SERVICE_UNAVAILABLE,
                kind: "timeout",
                text,
            },
            ErrorKind::BadData => Self::bad_data(text),
            ErrorKind::Execution => Self {
                status: StatusCode::UNPROCESSABLE_ENTITY,
                kind: "execution",
                text,
            },
        }
    }

    /// Too much is being asked at once (503); try again.
    pub(crate) fn busy(text: impl Into<String>) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            kind: "unavailable",
            text: text.into(),
        }
    }

    /// No such thing (404).
    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            kind: "not_found",
            text: text.into(),
        }
    }

    /// Lantern's own fault (500).
    pub(crate) fn internal(text: impl Into<String>) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            kind: "internal",
            text: text.into(),
        }
    }
}

#[derive(Serialize)]
struct Failure<'a> {
    status: &'static str,
    #[serde(rename = "errorType")]
    kind: &'a str,
    error: &'a str,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Failure {
            status: "error",
            kind: self.kind,
            error: &self.text,
        };
        (self.status, Json(body)).into_response()
    }
}

/// A successful answer around its data.
#[derive(Debug, Serialize)]
pub(crate) struct Success<T> {
    status: &'static str,
    data: T,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

impl<T> Success<T> {
    pub(crate) fn new(data: T) -> Self {
        Self {
            status: "success",
            data,
            warnings: Vec::new(),
        }
    }

    /// The answer with a note to its reader.
    #[must_use]
    pub(crate) fn warn(mut self, warning: Option<String>) -> Self {
        self.warnings.extend(warning);
        self
    }
}

impl<T: Serialize> IntoResponse for Success<T> {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

/// What a handler answers.
pub(crate) type ApiResult<T> = Result<Success<T>, ApiError>;
