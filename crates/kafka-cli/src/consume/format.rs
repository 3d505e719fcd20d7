//! `--format`: a record by %-escapes, as kcat's `-f` has them.

use std::io::{self, Write};
use std::str::FromStr;

use model::TopicPartition;
use record::Record;

/// A format, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Format {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Bytes(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    KeyLength,
    Value,
    ValueLength,
    /// In four bytes, most significant first.
    BinaryValueLength,
    Headers,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut bytes = Vec::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            let piece = match letter {
                '%' => escape(letters.next())?,
                '\\' => Piece::Bytes(vec![backslash(&mut letters)?]),
                other => Piece::Bytes(other.to_string().into_bytes()),
            };
            match piece {
                Piece::Bytes(more) => bytes.extend(more),
                piece => {
                    if !bytes.is_empty() {
                        pieces.push(Piece::Bytes(std::mem::take(&mut bytes)));
                    }
                    pieces.push(piece);
                }
            }
        }
        if !bytes.is_empty() {
            pieces.push(Piece::Bytes(bytes));
        }
        Ok(Self { pieces })
    }
}

fn escape(letter: Option<char>) -> Result<Piece, String> {
    Ok(match letter {
        Some('%') => Piece::Bytes(b"%".to_vec()),
        Some('t') => Piece::Topic,
        Some('p') => Piece::Partition,
        Some('o') => Piece::Offset,
        Some('T') => Piece::Timestamp,
        Some('k') => Piece::Key,
        Some('K') => Piece::KeyLength,
        Some('s') => Piece::Value,
        Some('S') => Piece::ValueLength,
        Some('R') => Piece::BinaryValueLength,
        Some('h') => Piece::Headers,
        Some(other) => {
            return Err(format!(
                "%{other} is none of %t %p %o %T %k %K %s %S %R %h %%"
            ));
        }
        None => return Err("a single % at the end: write %% for a percent sign".to_owned()),
    })
}

fn backslash(letters: &mut std::str::Chars<'_>) -> Result<u8, String> {
    Ok(match letters.next() {
        Some('n') => b'\n',
        Some('r') => b'\r',
        Some('t') => b'\t',
        Some('\\') => b'\\',
        Some('0') => 0,
        Some('x') => {
            let rest = letters.as_str();
            let digits = rest.get(..2).unwrap_or_default();
            let byte = u8::from_str_radix(digits, 16)
                .map_err(|_| "after \\x come two hexadecimal digits".to_owned())?;
            letters.nth(1);
            byte
        }
        Some(other) => return Err(format!("\\{other} is none of \\n \\r \\t \\0 \\\\ \\xHH")),
        None => return Err("a single \\ at the end: write \\\\ for a backslash".to_owned()),
    })
}

impl Format {
    /// Writes one record.
    pub(super) fn write(
        &self,
        at: &TopicPartition,
        record: &Record<'_>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        for piece in &self.pieces {
            match piece {
                Piece::Bytes(bytes) => out.write_all(bytes)?,
                Piece::Topic => write!(out, "{}", at.topic)?,
                Piece::Partition => write!(out, "{}", at.partition)?,
                Piece::Offset => write!(out, "{}", record.offset)?,
                Piece::Timestamp => write!(out, "{}", record.timestamp.millis())?,
                Piece::Key => out.write_all(record.key.unwrap_or_default())?,
                Piece::KeyLength => write!(out, "{}", length(record.key))?,
                Piece::Value => out.write_all(record.value.unwrap_or_default())?,
                Piece::ValueLength => write!(out, "{}", length(record.value))?,
                Piece::BinaryValueLength => out.write_all(&length(record.value).to_be_bytes())?,
                Piece::Headers => headers(record, out)?,
            }
        }
        Ok(())
    }
}

/// -1 for null. A record is far below 2 GiB.
fn length(bytes: Option<&[u8]>) -> i32 {
    bytes.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap_or(i32::MAX))
}

/// `a=1,b=2`; a null value is `NULL`, as kcat writes it.
fn headers(record: &Record<'_>, out: &mut dyn Write) -> io::Result<()> {
    for (index, (name, value)) in record.headers.iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        write!(out, "{name}=")?;
        out.write_all(value.unwrap_or(b"NULL"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::{PartitionId, Timestamp};
    use proptest::prelude::*;
    use record::{BatchBuilder, Compression};

    use super::*;

    fn check(format: &str, expected: &[u8]) {
        let mut builder = BatchBuilder::new(Compression::None);
        let headers: [(&str, Option<&[u8]>); 2] = [("a", Some(b"1")), ("b", None)];
        builder.push(
            Timestamp::from_millis(1_500),
            Some(b"k\xff"),
            None,
            &headers,
        );
        let batch = builder.build();
        let records = batch.records().unwrap();
        let record = records.iter().next().unwrap().unwrap();
        let at = TopicPartition::new("orders".parse().unwrap(), PartitionId::new(3));
        let mut out = Vec::new();
        let format: Format = format.parse().unwrap();
        format.write(&at, &record, &mut out).unwrap();
        assert_eq!(out, expected, "{}", String::from_utf8_lossy(&out));
    }

    #[test]
    fn escapes_as_kcat_has_them() {
        check("%t[%p]@%o %T\\n", b"orders[3]@0 1500\n");
        check("%k/%K %s/%S %h %%", b"k\xff/2 /-1 a=1,b=NULL %");
        check("\\x00\\t\\\\%R", b"\0\t\\\xff\xff\xff\xff");
        check("\u{8d70}%p", "\u{8d70}3".as_bytes());
        check("", b"");
    }

    proptest! {
        #[test]
        fn whatever_is_typed_is_a_format_or_says_why(text in "[%\\\\xtposTkKSRh0-9\\PC]{0,12}") {
            let _ = text.parse::<Format>();
        }
    }

    #[test]
    fn other_escapes_are_refused_by_name() {
        for (format, part) in [
            ("%q", "%q"),
            ("50%", "%%"),
            ("\\", "\\\\"),
            ("\\xz", "hexa"),
            ("\\q", "\\q"),
        ] {
            let error = format.parse::<Format>().unwrap_err();
            assert!(error.contains(part), "{format}: {error}");
        }
    }
}
