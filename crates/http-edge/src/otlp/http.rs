//! The HTTP form: protobuf or JSON, plain or gzip; errors are a `google.rpc.Status` in the form of the request.

use std::io::Read;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use broker::Recovery;
use flate2::read::MultiGzDecoder;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message;
use serde::Serialize;
use tonic::Code;

use super::{DECODED_HERE, Incoming, Refusal, take};
use crate::{Parts, pressure};

/// Largest body, inflated or not: as much as of remote write.
const BODY_BYTES_MAX: usize = crate::write::BODY_BYTES_MAX;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// How a request is written, and its answer too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Protobuf,
    Json,
}

/// Takes one request.
pub(crate) async fn metrics(
    State(parts): State<Arc<Parts>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let form = match form(&headers) {
        Ok(form) => form,
        Err(text) => return (StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response(),
    };
    let is_gzip = match is_gzip(&headers) {
        Ok(is_gzip) => is_gzip,
        Err(text) => return (StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response(),
    };
    let request = Incoming {
        bytes: body.len(),
        // Nobody knows what it inflates to.
        is_small: !is_gzip && body.len() <= DECODED_HERE,
    };
    let decode = move || {
        if is_gzip {
            read(form, &inflate(&body)?)
        } else {
            read(form, &body)
        }
    };
    match take(&parts, pressure::client(&headers), request, decode).await {
        Ok(answer) => form.answer(StatusCode::OK, &answer),
        Err(refusal) => refused(form, refusal),
    }
}

impl Form {
    fn answer<M: Message + Serialize>(self, status: StatusCode, message: &M) -> Response {
        match self {
            Self::Protobuf => {
                let kind = HeaderValue::from_static(PROTOBUF);
                (
                    status,
                    [(header::CONTENT_TYPE, kind)],
                    message.encode_to_vec(),
                )
                    .into_response()
            }
            Self::Json => (status, Json(message)).into_response(),
        }
    }
}

fn form(headers: &HeaderMap) -> Result<Form, String> {
    let kind = text(headers, header::CONTENT_TYPE);
    match kind.split(';').next().unwrap_or_default().trim() {
        PROTOBUF => Ok(Form::Protobuf),
        JSON => Ok(Form::Json),
        _ => Err(format!(
            "content type '{kind}' is not supported: send {PROTOBUF} or {JSON}"
        )),
    }
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, String> {
    match text(headers, header::CONTENT_ENCODING) {
        "" | "identity" => Ok(false),
        "gzip" => Ok(true),
        other => Err(format!(
            "content encoding '{other}' is not supported: send gzip, or none"
        )),
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

fn read(form: Form, bytes: &[u8]) -> Result<ExportMetricsServiceRequest, Refusal> {
    Ok(match form {
        Form::Protobuf => otlp::from_protobuf(bytes)?,
        Form::Json => otlp::from_json(bytes)?,
    })
}

fn inflate(body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut plain = Vec::new();
    // One byte more tells what ends at the limit from what goes on.
    let most = u64::try_from(BODY_BYTES_MAX + 1).unwrap_or(u64::MAX);
    MultiGzDecoder::new(body)
        .take(most)
        .read_to_end(&mut plain)
        .map_err(|error| Refusal::Malformed(format!("the body is no gzip: {error}")))?;
    if plain.len() > BODY_BYTES_MAX {
        let limit = BODY_BYTES_MAX >> 20;
        return Err(Refusal::TooLarge(format!(
            "the body inflates to more than {limit} MiB: send it in parts"
        )));
    }
    Ok(plain)
}

fn refused(form: Form, refusal: Refusal) -> Response {
    let (status, code, text) = match refusal {
        Refusal::Malformed(text) => (StatusCode::BAD_REQUEST, Code::InvalidArgument, text),
        Refusal::TooLarge(text) => (StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted, text),
        Refusal::Busy(refused) => return pressure::answer(refused),
        Refusal::Log(error) => {
            let (status, code) = match error.recovery() {
                Recovery::Retry => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
                Recovery::Reject => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
                Recovery::StopPartition => (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal),
            };
            (status, code, error.to_string())
        }
    };
    form.answer(
        status,
        &Status {
            code: code as i32,
            message: text,
        },
    )
}

/// `google.rpc.Status` without details.
#[derive(Clone, PartialEq, Message, Serialize)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}
