//! Answers to ApiVersions: what is served, and what to say to a version nobody knows.
//!
//! No tagged fields are ever sent: librdkafka before 2.2 skips them wrongly and could not connect.

use bytes::Bytes;
use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::messages::api_versions_response::ApiVersion;

use crate::{Api, EncodeError, ErrorCode, encode_response};

/// The table of [`Api`], as a body.
pub fn versions_answer() -> ApiVersionsResponse {
    let api = |api: &Api| {
        let versions = api.advertised();
        ApiVersion::default()
            .with_api_key(api.key())
            .with_min_version(*versions.start())
            .with_max_version(*versions.end())
    };
    // An epoch of -1 is "none" and is not written; so is every other tagged field by default.
    ApiVersionsResponse::default()
        .with_api_keys(Api::ALL.iter().map(api).collect())
        .with_finalized_features_epoch(-1)
}

/// The answer to ApiVersions of an unknown version, as a frame: error 35 in a version 0 body, which
/// every client can read, with the table, so that it can ask again.
///
/// # Errors
/// [`EncodeError`], never in practice: the body is the same each time.
pub fn unsupported_version_answer(correlation_id: i32) -> Result<Bytes, EncodeError> {
    let body = versions_answer().with_error_code(ErrorCode::UnsupportedVersion.code());
    encode_response(Api::ApiVersions, 0, correlation_id, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_version_is_answered_in_version_0() {
        let frame = unsupported_version_answer(9).unwrap();
        let length = i32::try_from(frame.len() - 4).unwrap();
        assert_eq!(frame[..4], length.to_be_bytes());
        assert_eq!(frame[4..8], 9_i32.to_be_bytes());
        assert_eq!(frame[8..10], 35_i16.to_be_bytes());
        let count = i32::try_from(Api::ALL.len()).unwrap();
        assert_eq!(frame[10..14], count.to_be_bytes());
        assert_eq!(frame[14..20], [0, 0, 0, 0, 0, 11], "Produce 0 to 11");
        assert_eq!(frame.len(), 14 + 6 * Api::ALL.len());
    }

    #[test]
    fn no_answer_carries_tagged_fields() {
        let frame = encode_response(Api::ApiVersions, 3, 1, &versions_answer()).unwrap();
        // Header version 0, error, compact array of 7 bytes each, throttle time, no tags.
        assert_eq!(frame.len(), 4 + 4 + 2 + 1 + 7 * Api::ALL.len() + 4 + 1);
        assert_eq!(frame.last(), Some(&0));
    }
}
