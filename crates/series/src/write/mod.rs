//! Remote write: the bytes that carry samples over HTTP and in the records of `lantern.metrics`.
//!
//! - [`decode_v1`] and [`decode_v2`] take a whole request apart for the HTTP edge: what is good comes
//!   out, what is not is told by series;
//! - [`RequestV2`] walks a 2.0 request without copying, and [`Applier`] puts one into a store while it
//!   remembers symbol tables it has seen: the path every sample of a record takes;
//! - [`encode_v2`] writes a 2.0 request; [`decompress`] and [`compress`] are HTTP's snappy.
//!
//! The protobuf is read by hand (`wire`): five small messages do not need generated code, and reading
//! in place is what makes the record path cheap. Sources: Prometheus remote-write 1.0 and 2.0.

mod apply;
mod decode;
mod encode;
mod snappy;
mod v2;
mod wire;

pub use apply::{Applied, Applier};
pub use decode::{DECODED_BYTES_MAX, Decoded, Refused, SERIES_BYTES, decode_v1, decode_v2};
pub use encode::encode_v2;
pub use snappy::{BODY_BYTES_MAX, compress, decompress, inflated_len};
pub use v2::{RequestV2, SeriesV2};
pub use wire::{Fields, Value, WireError};
