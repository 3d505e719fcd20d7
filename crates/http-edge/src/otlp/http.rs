//! The HTTP form: protobuf, plain or gzip; errors are a `google.rpc.Status`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use broker::Recovery;
use prost::Message;
use tonic::Code;
use tonic_types::pb;

use super::{REQUEST_BYTES_MAX, Refusal, take};
use crate::{Parts, pressure};

const PROTOBUF: &str = "application/x-protobuf";

/// Takes one request.
pub(crate) async fn metrics(State(parts): State<Arc<Parts>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let is_gzip = match form(&head.headers) {
        Ok(is_gzip) => is_gzip,
        Err(text) => {
            let unsupported = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return told(unsupported, Code::InvalidArgument, text);
        }
    };
    let client = pressure::client(&head.headers);
    let held = parts
        .bodies
        .read(body, REQUEST_BYTES_MAX, &parts.admission, client);
    let taken = match held.await {
        Ok(held) => take(&parts, client, held.bytes.clone(), is_gzip).await,
        Err(unread) => Err(unread.into()),
    };
    match taken {
        Ok(message) => answer(StatusCode::OK, &message),
        Err(refusal) => refused(refusal),
    }
}

/// Whether a request is compressed, if it is one of those taken.
fn form(headers: &HeaderMap) -> Result<bool, String> {
    let kind = text(headers, header::CONTENT_TYPE);
    let media = kind.split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case(PROTOBUF) {
        return Err(format!(
            "content type '{kind}' is not supported: send {PROTOBUF} \
             (OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf)"
        ));
    }
    let encoding = text(headers, header::CONTENT_ENCODING);
    let is = |known: &str| encoding.eq_ignore_ascii_case(known);
    if is("") || is("identity") || is("gzip") {
        Ok(is("gzip"))
    } else {
        Err(format!(
            "content encoding '{encoding}' is not supported: send gzip, or none"
        ))
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

fn answer(status: StatusCode, message: &impl Message) -> Response {
    let kind = [(header::CONTENT_TYPE, PROTOBUF)];
    (status, kind, message.encode_to_vec()).into_response()
}

fn told(status: StatusCode, code: Code, text: String) -> Response {
    let told = pb::Status {
        code: code as i32,
        message: text,
        details: Vec::new(),
    };
    answer(status, &told)
}

fn refused(refusal: Refusal) -> Response {
    let (status, code, text) = match refusal {
        Refusal::Malformed(text) => (StatusCode::BAD_REQUEST, Code::InvalidArgument, text),
        Refusal::TooLarge(text) => (StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted, text),
        Refusal::Stalled(text) => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, text),
        Refusal::Busy(refused) => {
            let status = StatusCode::TOO_MANY_REQUESTS;
            let told = told(status, Code::ResourceExhausted, refused.to_string());
            return (pressure::retry_after(refused), told).into_response();
        }
        Refusal::Log(error) => {
            let (status, code) = match error.recovery() {
                Recovery::Reject => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
                // A log that stopped goes on after a restart; senders drop what is answered 500.
                Recovery::Retry | Recovery::StopPartition => {
                    (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable)
                }
            };
            (status, code, error.to_string())
        }
    };
    told(status, code, text)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_protobuf_is_taken_plain_or_gzip_in_any_case() {
        let of = |kind, encoding| {
            let pairs = [
                (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
                (header::CONTENT_ENCODING, HeaderValue::from_static(encoding)),
            ];
            form(&pairs.into_iter().collect())
        };
        assert_eq!(of("application/x-protobuf", ""), Ok(false));
        assert_eq!(of("Application/X-Protobuf; a=b", "GZIP"), Ok(true));
        assert!(
            of("application/json", "")
                .unwrap_err()
                .contains("http/protobuf")
        );
        assert!(of("", "").is_err());
        assert!(of(PROTOBUF, "br").unwrap_err().contains("gzip"));
    }
}
