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
