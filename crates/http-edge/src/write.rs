//! `/api/v1/write`: Prometheus remote write 1.0 and 2.0.
//!
//! A request is checked whole, then becomes one record of `lantern.metrics`; it is answered when that
//! record is durable. Good series of a partly bad request are written and counted, as the 2.0
//! specification asks, and the answer is 400 with what was wrong. When the log is busy or a quota is used up the answer
//! is 429 with `Retry-After`, and nothing of the request was written.
//!
//! Source: Prometheus Remote-Write specifications 1.0 and 2.0.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use broker::Recovery;
use model::limits::METRICS_TOPIC;
use series::write;

use crate::samples::Unwritten;
use crate::{Parts, pressure, samples};

/// Largest compressed request; the inflated one has the limit of `series::write`.
const BODY_BYTES_MAX: usize = 32 << 20;

const WRITTEN: [HeaderName; 3] = [
    HeaderName::from_static("x-prometheus-remote-write-samples-written"),
    HeaderName::from_static("x-prometheus-remote-write-histograms-written"),
    HeaderName::from_static("x-prometheus-remote-write-exemplars-written"),
];

/// Requests that inflate to no more are decoded on a thread that serves others: a thousand series are a tenth of it.
const DECODED_HERE: usize = 256 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// Takes one remote-write request.
pub(crate) async fn remote_write(State(parts): State<Arc<Parts>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let version = match version(&head.headers) {
        Ok(version) => version,
        Err(text) => return answer(StatusCode::UNSUPPORTED_MEDIA_TYPE, 0, text),
    };
    let client = pressure::client(&head.headers);
    let body = parts
        .bodies
        .read(body, BODY_BYTES_MAX, &parts.admission, client);
    let held = match body.await {
        Ok(held) => held,
        Err(unread) => return unread.into_response(),
    };
    if let Err(refused) = pressure::check_debt(&parts.admission, client, METRICS_TOPIC) {
        return pressure::answer(refused);
    }
    let body = held.bytes.clone();
    let (came, inflates_to) = (body.len(), write::inflated_len(&body));
    let decode = move || {
        write::decompress(&body).and_then(|plain| match version {
            Version::One => write::decode_v1(&plain),
            Version::Two => write::decode_v2(&plain),
        })
    };
    let decoded = if inflates_to <= DECODED_HERE {
        decode()
    } else {
        match pressure::aside(&parts.admission, client, decode).await {
            Ok(decoded) => decoded,
            Err(refused) => return pressure::answer(refused),
        }
    };
    let decoded = match decoded {
        Ok(decoded) => decoded,
        Err(error) => return answer(StatusCode::BAD_REQUEST, 0, error.to_string()),
    };
    let samples = decoded.samples;
    if samples > 0 {
        let (broker, admission) = (&parts.broker, &parts.admission);
        let (bytes, series) = (decoded.bytes, decoded.series);
        match samples::write(broker, admission, client, came, bytes, series).await {
            Ok(()) => {}
            Err(Unwritten::Busy(refused)) => return pressure::answer(refused),
            Err(Unwritten::Log(error)) => {
                let status = match error.recovery() {
                    Recovery::Retry => StatusCode::SERVICE_UNAVAILABLE,
                    Recovery::Reject => StatusCode::BAD_REQUEST,
                    Recovery::StopPartition => StatusCode::INTERNAL_SERVER_ERROR,
                };
                return answer(status, 0, error.to_string());
            }
        }
    }
    match decoded.refused.first() {
        Some(first) => {
            let (count, index, reason) = (decoded.refused_count, first.index, &first.reason);
            let text =
                format!("{count} series were refused; the first is series {index}: {reason}");
            answer(StatusCode::BAD_REQUEST, samples, text)
        }
        None => answer(StatusCode::NO_CONTENT, samples, String::new()),
    }
}

/// Which version a request is, by its content type; only snappy is taken.
fn version(headers: &HeaderMap) -> Result<Version, String> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(encoding) = text(header::CONTENT_ENCODING)
        && !encoding.eq_ignore_ascii_case("snappy")
    {
        return Err(format!(
            "content encoding '{encoding}' is not supported: send snappy"
        ));
    }
    // Asked for, since a page of any other site may send requests without one, or with one of a form.
    let kind = text(header::CONTENT_TYPE).unwrap_or_default();
    let mut parts = kind.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    let proto = parts.find_map(|part| part.strip_prefix("proto="));
    match (media, proto) {
        ("application/x-protobuf", None | Some("prometheus.WriteRequest")) => Ok(Version::One),
        ("application/x-protobuf", Some("io.prometheus.write.v2.Request")) => Ok(Version::Two),
        _ => Err(format!(
            "content type '{kind}' is not supported: send application/x-protobuf with \
             proto=prometheus.WriteRequest or proto=io.prometheus.write.v2.Request"
        )),
    }
}

fn answer(status: StatusCode, samples: usize, text: String) -> Response {
    let mut response = (status, text).into_response();
    for (name, count) in WRITTEN.into_iter().zip([samples, 0, 0]) {
        response
            .headers_mut()
            .insert(name, HeaderValue::from(count));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn the_content_type_tells_the_version() {
        let kind = |value| version(&headers(&[(header::CONTENT_TYPE, value)]));
        // What a page of another site may send without being asked.
        assert!(version(&HeaderMap::new()).is_err());
        assert!(kind("text/plain").is_err());
        assert_eq!(kind("application/x-protobuf"), Ok(Version::One));
        assert_eq!(
            kind("application/x-protobuf;proto=io.prometheus.write.v2.Request"),
            Ok(Version::Two)
        );
        assert!(kind("application/x-protobuf;proto=other").is_err());
        assert!(kind("application/json").is_err());
        assert!(version(&headers(&[(header::CONTENT_ENCODING, "gzip")])).is_err());
    }
}
