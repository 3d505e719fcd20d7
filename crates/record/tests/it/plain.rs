//! The batch format once more, as plainly as it can be said: the other side of the comparison.

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plain {
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Plain {
    pub(crate) fn value(timestamp: i64, value: &str) -> Self {
        Self {
            timestamp,
            key: None,
            value: Some(value.as_bytes().to_vec()),
            headers: Vec::new(),
        }
    }
}

/// CRC32C bit by bit.
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let low = crc & 1;
            crc >>= 1;
            if low == 1 {
                crc ^= 0x82f6_3b78;
            }
        }
    }
    !crc
}

fn varint(value: i64, to: &mut Vec<u8>) {
    // Zig-zag by definition: 0, -1, 1, -2, …
    let mut raw: u128 = if value >= 0 {
        value as u128 * 2
    } else {
        (-i128::from(value)) as u128 * 2 - 1
    };
    loop {
        let seven = (raw % 128) as u8;
        raw /= 128;
        if raw == 0 {
            to.push(seven);
            return;
        }
        to.push(seven + 128);
    }
}

fn nullable(bytes: Option<&[u8]>, to: &mut Vec<u8>) {
    match bytes {
        None => varint(-1, to),
        Some(bytes) => {
            varint(bytes.len() as i64, to);
            to.extend(bytes);
        }
    }
}

pub(crate) fn record(index: i64, base: i64, record: &Plain) -> Vec<u8> {
    let mut body = vec![0];
    varint(record.timestamp - base, &mut body);
    varint(index, &mut body);
    nullable(record.key.as_deref(), &mut body);
    nullable(record.value.as_deref(), &mut body);
    varint(record.headers.len() as i64, &mut body);
    for (name, value) in &record.headers {
        nullable(Some(name.as_bytes()), &mut body);
        nullable(value.as_deref(), &mut body);
    }
    let mut bytes = Vec::new();
    varint(body.len() as i64, &mut bytes);
    bytes.extend(body);
    bytes
}

/// A batch around any body: what a client could send.
pub(crate) fn batch_around(
    attributes: i16,
    count: i32,
    (base_time, max_time): (i64, i64),
    (id, epoch, sequence): (i64, i16, i32),
    body: &[u8],
) -> Vec<u8> {
    let mut covered = Vec::new();
    covered.extend(attributes.to_be_bytes());
    covered.extend((count.wrapping_sub(1)).to_be_bytes());
    covered.extend(base_time.to_be_bytes());
    covered.extend(max_time.to_be_bytes());
    covered.extend(id.to_be_bytes());
    covered.extend(epoch.to_be_bytes());
    covered.extend(sequence.to_be_bytes());
    covered.extend(count.to_be_bytes());
    covered.extend(body);
    let mut bytes = Vec::new();
    bytes.extend(0_i64.to_be_bytes());
    bytes.extend((covered.len() as i32 + 9).to_be_bytes());
    bytes.extend((-1_i32).to_be_bytes());
    bytes.push(2);
    bytes.extend(crc(&covered).to_be_bytes());
    bytes.extend(covered);
    bytes
}

/// An uncompressed batch.
pub(crate) fn batch(records: &[Plain], producer: (i64, i16, i32)) -> Vec<u8> {
    let base = records[0].timestamp;
    let max = records.iter().map(|record| record.timestamp).max().unwrap();
    let mut body = Vec::new();
    for (index, one) in records.iter().enumerate() {
        body.extend(record(index as i64, base, one));
    }
    batch_around(0, records.len() as i32, (base, max), producer, &body)
}
