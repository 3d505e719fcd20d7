//! Colours of a terminal, and text that cannot do anything to one.

use std::fmt::{self, Write};

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Less important than the rest.
    Dim,
    /// A place in the log.
    Place,
    /// A key.
    Key,
    /// A heading.
    Bold,
}

impl Style {
    const fn code(self) -> &'static str {
        match self {
            Self::Dim => "2",
            Self::Place => "36",
            Self::Key => "33",
            Self::Bold => "1",
        }
    }
}

/// `text` in its style, or as it is without `colors`.
pub(crate) struct Styled<T>(pub(crate) T, pub(crate) Style, pub(crate) bool);

impl<T: fmt::Display> fmt::Display for Styled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text, style, colors) = self;
        if *colors {
            write!(f, "\x1b[{}m{text}\x1b[0m", style.code())
        } else {
            text.fmt(f)
        }
    }
}

/// Bytes on one line: text as it is, with control characters as `\n`, `\t`, `\x1b`, and bytes that are
/// no UTF-8 as `\xff`. A backslash stays one, so that paths and JSON stay legible.
pub(crate) struct OneLine<'a> {
    /// What to show.
    pub(crate) bytes: &'a [u8],
    /// Characters shown at most; what is left out is counted.
    pub(crate) limit: Option<usize>,
}

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = 0;
        let mut taken = 0;
        let limit = self.limit.unwrap_or(usize::MAX);
        for chunk in self.bytes.utf8_chunks() {
            for letter in chunk.valid().chars() {
                if shown >= limit {
                    return self.rest(f, taken);
                }
                put(f, letter)?;
                taken += letter.len_utf8();
                shown += 1;
            }
            for byte in chunk.invalid() {
                if shown >= limit {
                    return self.rest(f, taken);
                }
                write!(f, "\\x{byte:02x}")?;
                taken += 1;
                shown += 1;
            }
        }
        Ok(())
    }
}

impl OneLine<'_> {
    fn rest(&self, f: &mut fmt::Formatter<'_>, taken: usize) -> fmt::Result {
        let left = self.bytes.len().saturating_sub(taken);
        write!(f, "… (+{left} bytes)")
    }
}

fn put(f: &mut fmt::Formatter<'_>, letter: char) -> fmt::Result {
    match letter {
        '\n' => f.write_str("\\n"),
        '\r' => f.write_str("\\r"),
        '\t' => f.write_str("\\t"),
        // Marks that turn the direction of text can make a line lie.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            write!(f, "{}", letter.escape_unicode())
        }
        other if other.is_control() => write!(f, "\\x{:02x}", u32::from(other)),
        other => f.write_char(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], limit: Option<usize>, expected: &str) {
        assert_eq!(OneLine { bytes, limit }.to_string(), expected);
    }

    #[test]
    fn nothing_printed_can_command_a_terminal() {
        check(b"plain \\ text", None, "plain \\ text");
        check("走马灯".as_bytes(), None, "走马灯");
        check(
            b"two\nlines\t\x1b[2J\x07\x7f",
            None,
            "two\\nlines\\t\\x1b[2J\\x07\\x7f",
        );
        check(
            "\u{9b}31m \u{202e}abc".as_bytes(),
            None,
            "\\x9b31m \\u{202e}abc",
        );
        check(b"\xff\xfeok", None, "\\xff\\xfeok");
    }

    #[test]
    fn what_is_left_out_is_counted() {
        check(b"0123456789", Some(10), "0123456789");
        check(b"0123456789", Some(4), "0123… (+6 bytes)");
        check("走马灯".as_bytes(), Some(1), "走… (+6 bytes)");
        check(b"a\xff\xff", Some(2), "a\\xff… (+1 bytes)");
    }

    #[test]
    fn colours_only_where_they_are_wanted() {
        assert_eq!(Styled("k", Style::Key, false).to_string(), "k");
        assert_eq!(
            Styled("k", Style::Key, true).to_string(),
            "\u{1b}[33mk\u{1b}[0m"
        );
    }
}
