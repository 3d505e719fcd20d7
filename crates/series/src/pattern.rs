//! RE2's dialect on the `regex` crate: the places where the two read the same text differently are
//! rewritten before it is compiled.
//!
//! RE2 (Go) takes `\d \w \s \b` as ASCII, `\Q…\E` as a quotation, `[` `&&` `--` `~~` inside a class as
//! plain characters, and `{` that starts no repetition as itself. `.` also matches a line feed, as
//! Prometheus asks for. Not rewritten: `\C`, which `regex` refuses.

use regex::{Regex, RegexBuilder};

use crate::Error;

/// Most bytes of one compiled pattern: bounds what one hostile query can take.
const COMPILED_BYTES_MAX: usize = 4 << 20;

/// Whether `c` means more than itself in a pattern, `|` aside.
pub(crate) fn is_special(c: char) -> bool {
    matches!(
        c,
        '\\' | '.' | '+' | '*' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$'
    )
}

/// Compiles `pattern` so that it must match a whole text.
///
/// # Errors
/// [`Error::Pattern`] when it is none, or too big.
pub(crate) fn compile(pattern: &str) -> Result<Regex, Error> {
    RegexBuilder::new(&format!("^(?s:{})$", translate(pattern)))
        .size_limit(COMPILED_BYTES_MAX)
        .build()
        .map_err(|source| Error::Pattern {
            pattern: pattern.to_owned(),
            source: Box::new(source),
        })
}

/// Compiles `pattern` of RE2's dialect, fully anchored, for `label_replace` and its like.
///
/// # Errors
/// [`Error::Pattern`] when it is none, or too big.
pub fn anchored(pattern: &str) -> Result<Regex, Error> {
    compile(pattern)
}

fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match c {
            '\\' => taken = translate_escape(rest, in_class, &mut out),
            '[' if !in_class => {
                in_class = true;
                taken = open_class(rest, &mut out);
            }
            '[' if rest[1..].starts_with(':') => match rest.find(":]") {
                Some(end) => {
                    out.push_str(&rest[..end + 2]);
                    taken = end + 2;
                }
                None => out.push_str("\\["),
            },
            '[' | '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
            }
            ']' if in_class => {
                in_class = false;
                out.push(c);
            }
            '{' if !in_class && !starts_repetition(rest) => out.push_str("\\{"),
            _ => out.push(c),
        }
        rest = &rest[taken..];
    }
    out
}

/// Writes the start of a class, whose first `]` is a plain character. Returns the bytes taken.
fn open_class(rest: &str, out: &mut String) -> usize {
    out.push('[');
    let mut taken = 1;
    if rest[taken..].starts_with('^') {
        out.push('^');
        taken += 1;
    }
    if rest[taken..].starts_with(']') {
        out.push_str("\\]");
        taken += 1;
    }
    taken
}

/// Writes the escape at the start of `rest`. Returns the bytes taken.
fn translate_escape(rest: &str, in_class: bool, out: &mut String) -> usize {
    let Some(escaped) = rest[1..].chars().next() else {
        out.push('\\');
        return 1;
    };
    let ascii = match (escaped, in_class) {
        ('d', false) => "[0-9]",
        ('d', true) => "0-9",
        ('w', false) => "[0-9A-Za-z_]",
        ('w', true) => "0-9A-Za-z_",
        ('s', false) => r"[\t\n\f\r ]",
        ('s', true) => r"\t\n\f\r ",
        ('D', _) => "[^0-9]",
        ('W', _) => "[^0-9A-Za-z_]",
        ('S', _) => r"[^\t\n\f\r ]",
        ('b', false) => r"(?-u:\b)",
        ('B', false) => r"(?-u:\B)",
        ('Q', false) => {
            let quoted = &rest[2..];
            let end = quoted.find(r"\E");
            out.push_str(&regex::escape(&quoted[..end.unwrap_or(quoted.len())]));
            return end.map_or(rest.len(), |end| end + 4);
        }
        _ => {
            out.push('\\');
            out.push(escaped);
            return 1 + escaped.len_utf8();
        }
    };
    out.push_str(ascii);
    2
}

/// Whether `rest`, which starts with `{`, is `{n}`, `{n,}` or `{n,m}`.
fn starts_repetition(rest: &str) -> bool {
    let Some((inside, _)) = rest[1..].split_once('}') else {
        return false;
    };
    let (low, high) = inside.split_once(',').unwrap_or((inside, ""));
    !low.is_empty() && low.bytes().chain(high.bytes()).all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, good: &[&str], bad: &[&str]) {
        let regex = compile(pattern).unwrap();
        for text in good {
            assert!(regex.is_match(text), "{pattern} should match {text:?}");
        }
        for text in bad {
            assert!(!regex.is_match(text), "{pattern} should not match {text:?}");
        }
    }

    #[test]
    fn classes_of_letters_are_ascii() {
        check(r"\d+", &["12"], &["٣", ""]);
        check(r"[\d_]+", &["1_2"], &["٣"]);
        check(r"\w", &["a"], &["é"]);
        check(r"\D", &["é", "a"], &["1"]);
        check(r"[^\d]", &["a"], &["1"]);
    }

    #[test]
    fn brackets_inside_a_class_are_plain() {
        check("[[a]+", &["[a"], &["b"]);
        check("[]a]+", &["]a"], &["b"]);
        check("[a&&b]+", &["a&b"], &["c"]);
        check("[[:digit:]x]+", &["1x"], &["y"]);
    }

    #[test]
    fn a_brace_that_repeats_nothing_is_plain() {
        check("a{b}c", &["a{b}c"], &["abc"]);
        check("a{2,3}", &["aa", "aaa"], &["a", "aaaa"]);
        check(r"\Qa.b\E.", &["a.bx"], &["axbx"]);
        check("é{2}ü?", &["éé", "ééü"], &["é"]);
    }

    #[test]
    fn a_dot_matches_a_line_feed() {
        check("a.b", &["a\nb"], &["a\nbx"]);
    }

    #[test]
    fn case_folding_and_alternatives_stay() {
        check("(?i)abc|def", &["ABC", "def"], &["abcdef"]);
    }
}
