//! Writes remote-write 2.0 requests.

use std::collections::HashMap;

use model::Timestamp;

use super::wire::{put_bytes, put_varint, varint_len};
use crate::labels::Labels;

/// The remote-write 2.0 request of `series`, uncompressed. Equal label sets in equal order give equal
/// symbol tables, which is what lets a reader reuse what it knows of them.
pub fn encode_v2<S: AsRef<[(Timestamp, f64)]>>(series: &[(Labels, S)]) -> Vec<u8> {
    let mut symbols: Vec<&str> = vec![""];
    let mut numbers: HashMap<&str, u32, ahash::RandomState> =
        HashMap::with_hasher(ahash::RandomState::with_seeds(1, 2, 3, 4));
    let mut messages = Vec::with_capacity(series.len() * 64);
    let mut message = Vec::with_capacity(64);
    let mut refs = Vec::with_capacity(32);
    for (labels, samples) in series {
        refs.clear();
        for (name, value) in labels {
            for text in [name, value] {
                let number = *numbers.entry(text).or_insert_with(|| {
                    symbols.push(text);
                    u32::try_from(symbols.len() - 1).unwrap_or(u32::MAX)
                });
                put_varint(&mut refs, u64::from(number));
            }
        }
        message.clear();
        put_bytes(&mut message, 1, &refs);
        for (timestamp, value) in samples.as_ref() {
            put_sample(&mut message, *timestamp, *value);
        }
        put_bytes(&mut messages, 5, &message);
    }
    let symbol_bytes: usize = symbols.iter().map(|s| s.len() + 6).sum();
    let mut out = Vec::with_capacity(symbol_bytes + messages.len());
    for symbol in symbols {
        put_bytes(&mut out, 4, symbol.as_bytes());
    }
    out.extend_from_slice(&messages);
    out
}

fn put_sample(out: &mut Vec<u8>, timestamp: Timestamp, value: f64) {
    let millis = timestamp.millis().cast_unsigned();
    put_varint(out, 2 << 3 | 2);
    put_varint(out, (9 + 1 + varint_len(millis)) as u64);
    out.push(1 << 3 | 1);
    out.extend_from_slice(&value.to_bits().to_le_bytes());
    out.push(2 << 3);
    put_varint(out, millis);
}
