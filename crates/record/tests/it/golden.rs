//! Bytes that must never change.

use std::fmt::Write as _;

use record::{CheckedBatch, Compression};

use crate::plain::Plain;
use crate::round_trip::build;

fn sample() -> Vec<Plain> {
    vec![
        Plain {
            timestamp: 1_700_000_000_000,
            key: Some(b"order-1".to_vec()),
            value: Some(b"created".to_vec()),
            headers: vec![("ce_type".to_owned(), Some(b"order".to_vec()))],
        },
        Plain {
            timestamp: 1_700_000_000_500,
            key: None,
            value: None,
            headers: Vec::new(),
        },
    ]
}

fn table(bytes: &[u8]) -> String {
    const FIELDS: [(&str, usize); 13] = [
        ("base offset", 8),
        ("length", 4),
        ("leader epoch", 4),
        ("magic", 1),
        ("crc", 4),
        ("attributes", 2),
        ("last offset delta", 4),
        ("base timestamp", 8),
        ("max timestamp", 8),
        ("producer id", 8),
        ("producer epoch", 2),
        ("base sequence", 4),
        ("record count", 4),
    ];
    let mut text = String::new();
    let mut rest = bytes;
    for (name, size) in FIELDS {
        let (field, after) = rest.split_at(size);
        let hex: Vec<_> = field.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{name:<18} {}", hex.concat()).unwrap();
        rest = after;
    }
    for line in rest.chunks(16) {
        let hex: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{}", hex.join(" ")).unwrap();
    }
    text
}

#[test]
fn an_uncompressed_batch() {
    let batch = build(Compression::None, &sample(), (4_000, 1, 7));
    insta::assert_snapshot!(table(batch.as_bytes()), @r"
    base offset        0000000000000000
    length             0000005c
    leader epoch       ffffffff
    magic              02
    crc                8b082470
    attributes         0000
    last offset delta  00000001
    base timestamp     0000018bcfe56800
    max timestamp      0000018bcfe569f4
    producer id        0000000000000fa0
    producer epoch     0001
    base sequence      00000007
    record count       00000002
    44 00 00 00 0e 6f 72 64 65 72 2d 31 0e 63 72 65
    61 74 65 64 02 0e 63 65 5f 74 79 70 65 0a 6f 72
    64 65 72 0e 00 e8 07 02 01 01 00
    ");
}

#[test]
fn java_snappy_framing() {
    let batch = build(Compression::Snappy, &sample(), (-1, -1, -1));
    let framed: Vec<_> = batch.as_bytes()[61..77]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        framed.join(" "),
        "82 53 4e 41 50 50 59 00 00 00 00 01 00 00 00 01"
    );
}

/// As the Java client of Kafka 3.9 sends one record `k` = `v` at time 1000 without idempotence;
/// written down by hand from the protocol guide, with the checksum by the plain encoder.
#[test]
fn a_batch_as_a_client_sends_it() {
    let mut bytes = Vec::new();
    bytes.extend([0; 8]); // base offset
    bytes.extend([0, 0, 0, 58]); // length
    bytes.extend([0xff; 4]); // leader epoch
    bytes.push(2);
    bytes.extend([0; 4]); // crc, below
    bytes.extend([0, 0]); // attributes
    bytes.extend([0; 4]); // last offset delta
    bytes.extend([0, 0, 0, 0, 0, 0, 3, 0xe8]); // base timestamp
    bytes.extend([0, 0, 0, 0, 0, 0, 3, 0xe8]); // max timestamp
    bytes.extend([0xff; 8]); // producer id
    bytes.extend([0xff; 2]); // producer epoch
    bytes.extend([0xff; 4]); // base sequence
    bytes.extend([0, 0, 0, 1]); // record count
    bytes.extend([0x10, 0, 0, 0, 2, b'k', 2, b'v', 0]); // the record: 8 bytes after its length
    let crc = crate::plain::crc(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(bytes.len(), 70);
    let (batch, _) = CheckedBatch::parse(bytes.into()).unwrap();
    let records = batch.records().unwrap();
    let record = records.iter().next().unwrap().unwrap();
    assert_eq!(
        (record.key, record.value),
        (Some(&b"k"[..]), Some(&b"v"[..]))
    );
    assert_eq!(record.timestamp.millis(), 1_000);
}
