//! Answers as frames, and (for clients) requests as frames and frames as answers.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use crate::shape::skip_tags;
use crate::{Api, EncodeError};

/// Writes `body` as the answer to request `correlation_id`, as a frame with its length.
///
/// # Errors
/// [`EncodeError`] when the body has something that `version` cannot say.
pub fn encode_response<B: Encodable>(
    api: Api,
    version: i16,
    correlation_id: i32,
    body: &B,
) -> Result<Bytes, EncodeError> {
    let mut frame = BytesMut::with_capacity(256);
    encode_response_into(&mut frame, api, version, correlation_id, body)?;
    Ok(frame.freeze())
}

/// Writes `body` as the answer to request `correlation_id` behind what is in `frames`, as a frame with its length.
///
/// # Errors
/// As [`encode_response`]; `frames` is then as before.
pub fn encode_response_into<B: Encodable>(
    frames: &mut BytesMut,
    api: Api,
    version: i16,
    correlation_id: i32,
    body: &B,
) -> Result<(), EncodeError> {
    let start = frames.len();
    frames.put_i32(0);
    put_response_header(frames, api, version, correlation_id);
    let encoded = encode_body(frames, api, version, body)
        .and_then(|()| put_length(frames, start, api, version));
    if encoded.is_err() {
        frames.truncate(start);
    }
    encoded
}

pub(crate) fn put_response_header(frame: &mut BytesMut, api: Api, version: i16, id: i32) {
    frame.put_i32(id);
    if api.response_header_version(version) >= 1 {
        frame.put_u8(0);
    }
}

/// Writes `body` as a request, as a frame with its length.
///
/// # Errors
/// [`EncodeError`] when the body has something that `version` cannot say.
pub fn encode_request<B: Encodable>(
    api: Api,
    version: i16,
    correlation_id: i32,
    client_id: &str,
    body: &B,
) -> Result<Bytes, EncodeError> {
    let mut frame = BytesMut::with_capacity(256);
    frame.put_i32(0);
    let header = messages::RequestHeader::default()
        .with_request_api_key(api.key())
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_string(client_id.to_owned())));
    let header_version = if api.is_flexible(version) { 2 } else { 1 };
    encode_body_as(&mut frame, api, version, header_version, &header)?;
    encode_body(&mut frame, api, version, body)?;
    finish(frame, api, version)
}

/// Reads an answer's frame (without its length): the correlation id and the body.
///
/// For answers of a server that is trusted with our memory, as a client trusts its own.
///
/// # Errors
/// [`EncodeError::Answer`].
pub fn decode_response<B: Decodable>(
    api: Api,
    version: i16,
    mut frame: Bytes,
) -> Result<(i32, B), EncodeError> {
    let wrong = |source| EncodeError::Answer {
        api,
        version,
        source,
    };
    let id = frame.try_get_i32().map_err(|error| wrong(error.into()))?;
    if api.response_header_version(version) >= 1 {
        skip_tags(&mut frame).ok_or_else(|| wrong("the header ends early".into()))?;
    }
    let body = B::decode(&mut frame, version).map_err(|error| wrong(error.into()))?;
    Ok((id, body))
}

fn encode_body<B: Encodable>(
    frame: &mut BytesMut,
    api: Api,
    version: i16,
    body: &B,
) -> Result<(), EncodeError> {
    encode_body_as(frame, api, version, version, body)
}

fn encode_body_as<B: Encodable>(
    frame: &mut BytesMut,
    api: Api,
    version: i16,
    body_version: i16,
    body: &B,
) -> Result<(), EncodeError> {
    body.encode(frame, body_version)
        .map_err(|error| EncodeError::Body {
            api,
            version,
            source: error.into(),
        })
}

fn finish(mut frame: BytesMut, api: Api, version: i16) -> Result<Bytes, EncodeError> {
    put_length(&mut frame, 0, api, version)?;
    Ok(frame.freeze())
}

/// Writes the length of the frame that begins at `start`, now known, over the four bytes kept for it.
fn put_length(
    frames: &mut BytesMut,
    start: usize,
    api: Api,
    version: i16,
) -> Result<(), EncodeError> {
    let length = frames.len().saturating_sub(start).saturating_sub(4);
    let Ok(announced) = i32::try_from(length) else {
        return Err(EncodeError::TooLong {
            api,
            version,
            length,
        });
    };
    let frame = frames.get_mut(start..);
    if let Some(head) = frame.and_then(<[u8]>::first_chunk_mut::<4>) {
        *head = announced.to_be_bytes();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::HeartbeatResponse;

    use super::*;

    #[test]
    fn answers_stand_one_behind_another_and_one_that_cannot_be_leaves_no_trace() {
        let body = HeartbeatResponse::default().with_throttle_time_ms(5);
        let mut frames = BytesMut::new();
        for (version, id) in [(1, 7), (4, 8)] {
            encode_response_into(&mut frames, Api::Heartbeat, version, id, &body).unwrap();
        }
        let two = frames.clone();
        encode_response_into(&mut frames, Api::Heartbeat, 99, 9, &body).unwrap_err();
        assert_eq!(frames, two);
        let splitter = crate::Splitter::answers(100);
        for (version, id) in [(1, 7), (4, 8)] {
            let frame = splitter.next(&mut frames).unwrap().unwrap();
            let answer = decode_response(Api::Heartbeat, version, frame).unwrap();
            assert_eq!(answer, (id, body.clone()));
        }
        assert!(frames.is_empty());
    }
}
