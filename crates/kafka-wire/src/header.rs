//! The header before every request: API key, version, correlation id, client id, tagged fields.
//!
//! Version 1 has a nullable client id; version 2 adds tagged fields, and its client id is still
//! *not* a compact string. Version 0 (no client id) belongs to an API that is not served, but a
//! frame that ends after the correlation id is read as one all the same: KIP-511 asks a server to
//! answer ApiVersions of unknown versions, whatever follows those eight bytes.

use bytes::{Buf, Bytes};
use kafka_protocol::protocol::StrBytes;

use crate::shape::skip_tags;
use crate::{Api, DecodeError};

/// A client's name for itself, as sent; shared with the request's bytes.
pub type ClientId = Option<StrBytes>;

/// What stands before a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// What is asked.
    pub api: Api,
    /// In which version, one that [`Api::decoded`] holds.
    pub version: i16,
    /// Repeated in the answer.
    pub correlation_id: i32,
    /// Who asks, by its own word.
    pub client_id: ClientId,
}

impl RequestHeader {
    /// Whether `frame` (without its length) begins with this header, but for the correlation id and tagged fields: the same
    /// client asks the same again.
    pub fn begins(&self, frame: &[u8]) -> bool {
        let mut frame = frame;
        let asks = (frame.try_get_i16(), frame.try_get_i16());
        if asks != (Ok(self.api.key()), Ok(self.version)) || frame.try_get_i32().is_err() {
            return false;
        }
        let Ok(length) = frame.try_get_i16() else {
            return false;
        };
        let name = usize::try_from(length)
            .ok()
            .map(|length| frame.get(..length));
        match (&self.client_id, name) {
            (None, None) => true,
            (Some(client), Some(name)) => name == Some(client.as_bytes()),
            _ => false,
        }
    }
}

/// Reads the header and leaves `frame` at the body.
pub(crate) fn decode_header(frame: &mut Bytes) -> Result<RequestHeader, DecodeError> {
    let key = frame.try_get_i16().map_err(|_| DecodeError::Header)?;
    let version = frame.try_get_i16().map_err(|_| DecodeError::Header)?;
    let correlation_id = frame.try_get_i32().map_err(|_| DecodeError::Header)?;
    let Some(api) = Api::from_key(key) else {
        return Err(DecodeError::UnknownApi { key, version });
    };
    if !api.decoded().contains(&version) {
        return Err(DecodeError::UnsupportedVersion {
            api,
            version,
            correlation_id,
        });
    }
    let client_id = client_id(frame)?;
    if api.is_flexible(version) {
        skip_tags(frame).ok_or(DecodeError::Header)?;
    }
    Ok(RequestHeader {
        api,
        version,
        correlation_id,
        client_id,
    })
}

fn client_id(frame: &mut Bytes) -> Result<ClientId, DecodeError> {
    let length = frame.try_get_i16().map_err(|_| DecodeError::Header)?;
    let Ok(length) = usize::try_from(length) else {
        return Ok(None);
    };
    if frame.len() < length {
        return Err(DecodeError::Header);
    }
    StrBytes::from_utf8(frame.split_to(length))
        .map(Some)
        .map_err(|_| DecodeError::Header)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Produce with a version, a correlation id and a client id.
    fn produce(version: i16, id: i32, client: Option<&str>) -> Bytes {
        let mut frame = Vec::new();
        frame.extend(Api::Produce.key().to_be_bytes());
        frame.extend(version.to_be_bytes());
        frame.extend(id.to_be_bytes());
        match client {
            None => frame.extend((-1_i16).to_be_bytes()),
            Some(name) => {
                frame.extend(i16::try_from(name.len()).unwrap().to_be_bytes());
                frame.extend(name.as_bytes());
            }
        }
        Bytes::from(frame)
    }

    #[test]
    fn a_header_knows_frames_of_the_same_client_that_ask_the_same() {
        for client in [None, Some(""), Some("shop")] {
            let header = decode_header(&mut produce(7, 1, client)).unwrap();
            for other in [None, Some(""), Some("sho"), Some("shop"), Some("shops")] {
                assert_eq!(header.begins(&produce(7, 2, other)), client == other);
            }
            assert!(!header.begins(&produce(8, 1, client)));
            let mut fetch = produce(7, 1, client).to_vec();
            fetch[1] = 1;
            assert!(!header.begins(&fetch));
            let whole = produce(7, 1, client);
            for end in 0..whole.len() {
                assert!(!header.begins(&whole[..end]), "{end} bytes");
            }
        }
    }
}
