//! Snappy blocks, as remote write uses them, with a bound on what comes out.

use super::WireError;

/// Most bytes a remote-write body may inflate to: Prometheus' own bound, past which it treats the
/// length as an attack.
pub const BODY_BYTES_MAX: usize = 32 << 20;

/// Inflates a snappy block of at most [`BODY_BYTES_MAX`] bytes; the claim in its header is checked
/// before anything is allocated.
///
/// # Errors
/// [`WireError::TooLarge`] or [`WireError::Snappy`].
pub fn decompress(block: &[u8]) -> Result<Vec<u8>, WireError> {
    let reason = |error: snap::Error| WireError::Snappy {
        reason: error.to_string(),
    };
    let length = snap::raw::decompress_len(block).map_err(reason)?;
    if length > BODY_BYTES_MAX {
        return Err(WireError::TooLarge {
            length,
            limit: BODY_BYTES_MAX,
        });
    }
    snap::raw::Decoder::new()
        .decompress_vec(block)
        .map_err(reason)
}

/// What a block claims to inflate to; 0 if that is illegible.
pub fn inflated_len(block: &[u8]) -> usize {
    snap::raw::decompress_len(block).unwrap_or(0)
}

/// Compresses `body` into a snappy block.
///
/// # Errors
/// [`WireError::Snappy`] when `body` has 4 GiB or more.
pub fn compress(body: &[u8]) -> Result<Vec<u8>, WireError> {
    let block = snap::raw::Encoder::new().compress_vec(body);
    block.map_err(|error| WireError::Snappy {
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_round_trip() {
        let body = vec![7; 100_000];
        assert_eq!(decompress(&compress(&body).unwrap()).unwrap(), body);
    }

    #[test]
    fn a_claim_beyond_the_bound_is_refused_unread() {
        // 2^32 - 1 as a varint, and nothing behind it.
        let error = decompress(&[0xff, 0xff, 0xff, 0xff, 0x0f]).unwrap_err();
        assert!(matches!(error, WireError::TooLarge { .. }), "{error}");
        assert!(matches!(
            decompress(b""),
            Err(WireError::Snappy { .. }) | Ok(_)
        ));
        assert!(matches!(
            decompress(&[5, 0, 1]),
            Err(WireError::Snappy { .. })
        ));
    }
}
