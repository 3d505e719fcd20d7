//! The four compressions of Kafka, with a cap on what comes out.
//!
//! A claim about the output's size is never believed beyond what the input could give: memory grows
//! with what was really decompressed.

use std::fmt;
use std::io::{self, Read, Write};

use bytes::Bytes;

use crate::{Error, xerial};

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// Snappy; written in the framing of Java's snappy library, read in that or raw.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard (RFC 8878).
    Zstd,
}

/// Largest window a Zstandard frame may ask for, as a power of two: the cap on inflated batches.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Bytes the output buffer starts with.
const OUTPUT_START: usize = 64 << 10;

impl Compression {
    pub(crate) fn from_number(codec: i16) -> Result<Self, Error> {
        match codec {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            _ => Err(Error::Codec { codec }),
        }
    }

    pub(crate) const fn number(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The name in Kafka's configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Decompresses a batch's body to at most `limit` bytes.
    pub(crate) fn decompress(self, body: Bytes, limit: usize) -> Result<Bytes, Error> {
        let inflated = match self {
            Self::None if body.len() > limit => return Err(Error::Inflated { limit }),
            Self::None => return Ok(body),
            Self::Gzip => read_capped(flate2::bufread::MultiGzDecoder::new(&*body), &body, limit),
            Self::Lz4 => read_capped(lz4_flex::frame::FrameDecoder::new(&*body), &body, limit),
            Self::Zstd => {
                zstd::stream::read::Decoder::with_buffer(&*body).and_then(|mut decoder| {
                    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                    read_capped(decoder, &body, limit)
                })
            }
            Self::Snappy => xerial::decompress(&body, limit),
        };
        match inflated {
            Ok(Some(bytes)) => Ok(Bytes::from(bytes)),
            Ok(None) => Err(Error::Inflated { limit }),
            Err(source) => Err(Error::Decompress {
                compression: self,
                source,
            }),
        }
    }

    /// Appends `records`, compressed, to `to`. Writing into memory does not fail.
    pub(crate) fn compress(self, records: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::None => to.extend_from_slice(records),
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(to, flate2::Compression::default());
                encoder.write_all(records)?;
                encoder.finish()?;
            }
            Self::Snappy => xerial::compress(records, to)?,
            Self::Lz4 => {
                let frame = lz4_flex::frame::FrameInfo::new()
                    .block_mode(lz4_flex::frame::BlockMode::Independent)
                    .block_size(lz4_flex::frame::BlockSize::Max64KB);
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, to);
                encoder.write_all(records)?;
                encoder.finish().map_err(io::Error::other)?;
            }
            Self::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(to, 3)?;
                encoder.write_all(records)?;
                encoder.finish()?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads to the end; `None` if more than `limit` bytes come.
fn read_capped(reader: impl Read, input: &[u8], limit: usize) -> io::Result<Option<Vec<u8>>> {
    let start = input.len().saturating_mul(4).clamp(512, OUTPUT_START);
    let mut output = Vec::with_capacity(start.min(limit));
    let more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(more).read_to_end(&mut output)?;
    Ok((output.len() <= limit).then_some(output))
}
