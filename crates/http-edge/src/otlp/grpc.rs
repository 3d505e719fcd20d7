//! The gRPC form: `MetricsService/Export`, one message in, one message out.
//!
//! The five bytes before a message are read here rather than by a framework, so that a message is held, inflated and refused as every
//! other body is.
//!
//! Source: gRPC over HTTP/2 (`PROTOCOL-HTTP2.md`), gRPC compression.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use broker::Recovery;
use bytes::Buf;
use http_body_util::{BodyExt, Full};
use prost::Message;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt, pb};

use super::{REQUEST_BYTES_MAX, Refusal, take};
use crate::missing::is_grpc;
use crate::{Parts, pressure};

/// Where clients call.
pub(crate) const EXPORT: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// Whether it is compressed, and how long it is.
const PREFIX_BYTES: usize = 5;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// What exporters that do not look at the status' details know the delay by.
const RETRY_INFO: &str = "google.rpc.retryinfo-bin";

/// Takes one call.
pub(crate) async fn export(State(parts): State<Arc<Parts>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    // Pages of other sites can send other types without being asked.
    if !is_grpc(&head.headers) {
        let text = "a call has the content type application/grpc\n";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response();
    }
    let answer = match call(&parts, &head.headers, body).await {
        Ok(message) => answer(&message),
        Err(status) => status.into_http(),
    };
    // Clients that compress in another way learn which one is known.
    ([(ACCEPT_ENCODING, "identity,gzip")], answer).into_response()
}

async fn call(parts: &Arc<Parts>, headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Status> {
    let client = pressure::client(headers);
    let most = REQUEST_BYTES_MAX + PREFIX_BYTES;
    let held = parts.bodies.read(body, most, &parts.admission, client);
    let held = held.await.map_err(|unread| status(unread.into()))?;
    let (message, is_compressed) = message(held.bytes.clone())?;
    let is_gzip = match headers.get(ENCODING).map(HeaderValue::as_bytes) {
        _ if !is_compressed => false,
        Some(b"gzip") => true,
        None => {
            let text = "a compressed message without the header grpc-encoding";
            return Err(Status::internal(text));
        }
        Some(other) => {
            let other = String::from_utf8_lossy(other);
            return Err(Status::unimplemented(format!(
                "grpc-encoding '{other}' is not supported: send gzip, or none"
            )));
        }
    };
    let taken = take(parts, client, message, is_gzip).await;
    Ok(taken.map_err(status)?.encode_to_vec())
}

/// The one message of a body, and whether it is compressed.
fn message(mut body: Bytes) -> Result<(Bytes, bool), Status> {
    let malformed = |text: &str| Status::invalid_argument(format!("the call has {text}"));
    if body.len() < PREFIX_BYTES {
        return Err(malformed("no message"));
    }
    let flag = body.get_u8();
    let length = usize::try_from(body.get_u32()).unwrap_or(usize::MAX);
    if flag > 1 {
        return Err(malformed("a message that is neither plain nor compressed"));
    }
    if length != body.len() {
        return Err(malformed("more or less than one message"));
    }
    Ok((body, flag == 1))
}

fn answer(message: &[u8]) -> Response<Body> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = Vec::with_capacity(PREFIX_BYTES + message.len());
    framed.push(0);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    let ok = HeaderValue::from(Code::Ok as i32);
    let trailers = async move { Some(Ok(HeaderMap::from_iter([(STATUS, ok)]))) };
    let body = Full::new(Bytes::from(framed)).with_trailers(trailers);
    ([(header::CONTENT_TYPE, GRPC)], Body::new(body)).into_response()
}

fn status(refusal: Refusal) -> Status {
    match refusal {
        Refusal::Malformed(text) => Status::invalid_argument(text),
        Refusal::TooLarge(text) => Status::resource_exhausted(text),
        Refusal::Stalled(text) => Status::unavailable(text),
        Refusal::Busy(refused) => {
            let delay = Some(refused.retry_after);
            let info = pb::RetryInfo {
                retry_delay: delay.and_then(|delay| delay.try_into().ok()),
            };
            let mut metadata = MetadataMap::new();
            let info = MetadataValue::from_bytes(&info.encode_to_vec());
            metadata.insert_bin(RETRY_INFO, info);
            Status::with_error_details_and_metadata(
                Code::ResourceExhausted,
                refused.to_string(),
                ErrorDetails::with_retry_info(delay),
                metadata,
            )
        }
        Refusal::Log(error) => match error.recovery() {
            Recovery::Reject => Status::invalid_argument(error.to_string()),
            // A log that stopped goes on after a restart; senders drop what is answered INTERNAL.
            Recovery::Retry | Recovery::StopPartition => Status::unavailable(error.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bodies::Unread;

    #[test]
    fn a_call_without_room_for_its_body_is_told_when_to_come_again() {
        let retry_after = Duration::from_secs(1);
        let reason = admission::Reason::Bodies;
        let crowded = Unread::Crowded(admission::Refused {
            reason,
            retry_after,
        });
        let told = status(crowded.into());
        assert_eq!(told.code(), Code::ResourceExhausted);
        let info = told.get_details_retry_info().unwrap();
        assert_eq!(info.retry_delay, Some(retry_after));
        assert!(told.metadata().get_bin(RETRY_INFO).is_some());
        // The code alone is final: the same body would be too large again.
        let told = status(Unread::TooLarge(1 << 20).into());
        assert_eq!(told.code(), Code::ResourceExhausted);
        assert!(told.get_details_retry_info().is_none());
        assert!(told.metadata().get_bin(RETRY_INFO).is_none());
    }

    #[test]
    fn a_call_has_one_whole_message() {
        let of = |bytes: &'static [u8]| message(Bytes::from_static(bytes));
        assert_eq!(of(b"\0\0\0\0\x02ab").unwrap(), ("ab".into(), false));
        assert_eq!(of(b"\x01\0\0\0\x01a").unwrap(), ("a".into(), true));
        assert_eq!(of(b"\0\0\0\0\0").unwrap(), (Bytes::new(), false));
        let wrong: [&[u8]; 5] = [
            b"",
            b"\0\0\0\0",
            b"\x02\0\0\0\0",
            b"\0\0\0\0\x02a",
            b"\0\0\0\0\0\0\0\0\0\0",
        ];
        for bytes in wrong {
            assert_eq!(of(bytes).unwrap_err().code(), Code::InvalidArgument);
        }
    }
}
