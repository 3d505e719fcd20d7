//! The gRPC form: `MetricsService/Export`, unary, plain or gzip.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Response};
use broker::Recovery;
use bytes::{Buf, BufMut};
use prost::Message;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::Grpc;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::{DECODED_HERE, Incoming, Refusal, take};
use crate::{Parts, pressure};

/// Where gRPC clients call.
pub(crate) const EXPORT: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// Largest message, inflated or not: what gRPC servers take unless told otherwise, and little enough to be
/// inflated on a thread that serves others.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Takes one request.
pub(crate) async fn export(
    State(parts): State<Arc<Parts>>,
    headers: HeaderMap,
    request: Request,
) -> Response<tonic::body::Body> {
    let service = tower::service_fn(move |request: tonic::Request<Bytes>| {
        let (parts, headers) = (Arc::clone(&parts), headers.clone());
        async move {
            let bytes = request.into_inner();
            let request = Incoming {
                bytes: bytes.len(),
                is_small: bytes.len() <= DECODED_HERE,
            };
            let decode = move || Ok(otlp::from_protobuf(&bytes)?);
            let taken = take(&parts, pressure::client(&headers), request, decode).await;
            let answer = taken.map_err(status)?;
            Ok(tonic::Response::new(Bytes::from(answer.encode_to_vec())))
        }
    });
    let mut response = Grpc::new(Raw)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .unary(service, request)
        .await;
    final_if_too_large(response.headers_mut());
    response
}

/// What is too large is so the next time. Senders try again after tonic's code for it (OUT_OF_RANGE), and do not after
/// the one that OTLP has for it.
fn final_if_too_large(headers: &mut HeaderMap) {
    let of = |code: Code| HeaderValue::from(code as i32);
    if headers.get(Status::GRPC_STATUS) == Some(&of(Code::OutOfRange)) {
        headers.insert(Status::GRPC_STATUS, of(Code::ResourceExhausted));
    }
}

fn status(refusal: Refusal) -> Status {
    match refusal {
        Refusal::Malformed(text) => Status::invalid_argument(text),
        Refusal::TooLarge(text) => Status::resource_exhausted(text),
        Refusal::Busy(refused) => {
            let details = ErrorDetails::with_retry_info(Some(refused.retry_after));
            Status::with_error_details(Code::ResourceExhausted, refused.to_string(), details)
        }
        Refusal::Log(error) => match error.recovery() {
            Recovery::Retry => Status::unavailable(error.to_string()),
            Recovery::Reject => Status::invalid_argument(error.to_string()),
            Recovery::StopPartition => Status::internal(error.to_string()),
        },
    }
}

/// Messages as bytes, so that large ones are decoded elsewhere.
#[derive(Debug, Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
