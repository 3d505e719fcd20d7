//! Cuts a byte stream into frames: a 32-bit big-endian length, then that many bytes.
//!
//! Invariants: a frame is handed out whole or not at all; nothing is reserved for a length that was
//! only announced ([`Splitter::missing`] tells the caller, who owns the buffer and the budget).
//! What is not Kafka at all (HTTP, TLS) is recognised by its first bytes, to be told apart in the log.

use bytes::{Buf, Bytes, BytesMut};

use crate::FrameError;

/// Largest request taken unless configured otherwise: Kafka's `socket.request.max.bytes`.
pub const REQUEST_BYTES_MAX_DEFAULT: usize = 100 << 20;

/// Bytes of the length before each frame.
const LENGTH_BYTES: usize = 4;

/// The smallest request: API key, version, correlation id, and no client id at all.
const REQUEST_BYTES_MIN: usize = 8;

/// The smallest answer: the correlation id.
const ANSWER_BYTES_MIN: usize = 4;

/// Starts of HTTP requests, read as a length by mistake.
const HTTP_METHODS: [&[u8; 4]; 9] = [
    b"GET ", b"POST", b"PUT ", b"HEAD", b"OPTI", b"DELE", b"PATC", b"CONN", b"PRI ",
];

/// Cuts frames off the front of a buffer.
#[derive(Debug, Clone, Copy)]
pub struct Splitter {
    least: usize,
    limit: usize,
}

impl Splitter {
    /// Takes requests of at most `limit` bytes, length not counted.
    pub const fn requests(limit: usize) -> Self {
        Self {
            least: REQUEST_BYTES_MIN,
            limit,
        }
    }

    /// Takes answers of at most `limit` bytes, length not counted.
    pub const fn answers(limit: usize) -> Self {
        Self {
            least: ANSWER_BYTES_MIN,
            limit,
        }
    }

    /// The next whole frame without its length, `None` until there is one.
    ///
    /// # Errors
    /// [`FrameError`] as soon as the first four bytes cannot be a length; the stream is then lost.
    pub fn next(self, buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        let Some(length) = self.announced(buffer)? else {
            return Ok(None);
        };
        if buffer.len() - LENGTH_BYTES < length {
            return Ok(None);
        }
        buffer.advance(LENGTH_BYTES);
        Ok(Some(buffer.split_to(length).freeze()))
    }

    /// The frame that [`Splitter::next`] would hand out, left where it is; `None` also where that would fail.
    pub fn peek(self, buffer: &[u8]) -> Option<&[u8]> {
        let length = self.announced(buffer).ok()??;
        buffer.get(LENGTH_BYTES..LENGTH_BYTES + length)
    }

    /// Bytes of the frame at the front, its length included; `None` before that is known.
    ///
    /// # Errors
    /// As [`Splitter::next`].
    pub fn missing(self, buffer: &[u8]) -> Result<Option<usize>, FrameError> {
        let announced = self.announced(buffer)?;
        Ok(announced.map(|length| (LENGTH_BYTES + length).saturating_sub(buffer.len())))
    }

    fn announced(self, buffer: &[u8]) -> Result<Option<usize>, FrameError> {
        let Some(first) = buffer.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = i32::from_be_bytes(*first);
        match usize::try_from(length) {
            Ok(size) if (self.least..=self.limit).contains(&size) => Ok(Some(size)),
            _ if HTTP_METHODS.contains(&first) => Err(FrameError::Http),
            // A TLS handshake record: type 22, major version 3.
            _ if first.starts_with(&[0x16, 0x03]) => Err(FrameError::Tls),
            Ok(size) if size > self.limit => Err(FrameError::TooLong {
                length,
                limit: self.limit,
            }),
            _ => Err(FrameError::TooShort { length }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(bytes: &[u8]) -> BytesMut {
        BytesMut::from(bytes)
    }

    #[test]
    fn frames_come_whole_and_in_order() {
        let splitter = Splitter::requests(100);
        let mut buffer = stream(b"\0\0\0\x08firstone\0\0\0\x09secondone\0\0");
        assert_eq!(splitter.next(&mut buffer).unwrap().unwrap(), "firstone");
        assert_eq!(splitter.next(&mut buffer).unwrap().unwrap(), "secondone");
        assert_eq!(splitter.next(&mut buffer).unwrap(), None);
        assert_eq!(buffer.len(), 2, "the beginning of a length stays");
    }

    #[test]
    fn what_is_missing_is_known_once_the_length_is() {
        let splitter = Splitter::requests(100);
        assert_eq!(splitter.missing(b"\0\0\0").unwrap(), None);
        assert_eq!(splitter.missing(b"\0\0\0\x09").unwrap(), Some(9));
        assert_eq!(splitter.missing(b"\0\0\0\x09abcd").unwrap(), Some(5));
    }

    #[test]
    fn what_cannot_be_a_frame_is_named() {
        let check = |bytes: &[u8]| {
            Splitter::requests(1_000)
                .next(&mut stream(bytes))
                .unwrap_err()
        };
        assert_eq!(check(b"GET / HTTP/1.1\r\n"), FrameError::Http);
        assert_eq!(check(b"POST"), FrameError::Http);
        assert_eq!(check(&[0x16, 3, 1, 2, 0, 1]), FrameError::Tls);
        assert_eq!(check(&[0xff; 4]), FrameError::TooShort { length: -1 });
        assert_eq!(check(&[0; 4]), FrameError::TooShort { length: 0 });
        assert_eq!(check(&[0, 0, 0, 7]), FrameError::TooShort { length: 7 });
        let (length, limit) = (1_001, 1_000);
        assert_eq!(
            check(&[0, 0, 3, 0xe9]),
            FrameError::TooLong { length, limit }
        );
    }

    #[test]
    fn answers_may_be_shorter_than_requests() {
        let mut buffer = stream(b"\0\0\0\x06answer");
        assert!(Splitter::requests(100).next(&mut buffer).is_err());
        let frame = Splitter::answers(100).next(&mut buffer).unwrap().unwrap();
        assert_eq!(frame, "answer");
    }

    #[test]
    fn a_limit_above_the_letters_of_http_still_takes_frames() {
        // With a limit of 2 GiB, "GET " is a length like any other.
        let splitter = Splitter::requests(0x7fff_ffff);
        assert_eq!(splitter.missing(b"GET ").unwrap(), Some(0x4745_5420));
    }
}
