//! Cuts a template into text and the tokens of its actions.
//!
//! Invariants: tokens keep the byte offset where they begin; white space is trimmed around `{{-` and
//! `-}}`, comments are gone; a string is already unquoted.
//! Not here: what the tokens mean (`parse`). Source: Go's `text/template/parse`.

use super::ParseError;

/// A token with the byte offset of its beginning.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spot {
    pub(super) at: usize,
    pub(super) token: Token,
}

/// What an action is made of, and the text between actions.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// Text outside of actions.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// A bare word: keyword or function.
    Word(String),
    /// `.a` directly after something or at the start of an operand.
    Field(String),
    /// A lone `.`.
    Dot,
    /// `$` or `$name`.
    Variable(String),
    /// A quoted string or character.
    Str(String),
    /// A whole number.
    Int(i64),
    /// A number with a fraction or exponent.
    Float(f64),
    /// `|`
    Pipe,
    /// `(`
    LeftParen,
    /// `)`
    RightParen,
    /// `:=`
    Declare,
    /// `=`
    Assign,
    /// `,`
    Comma,
    /// White space inside an action; it separates arguments.
    Space,
}

/// Cuts `text` into tokens.
pub(super) fn lex(text: &str) -> Result<Vec<Spot>, ParseError> {
    let mut out = Vec::new();
    let mut at = 0;
    let mut trim_next = false;
    loop {
        let open = text[at..].find("{{").map(|found| at + found);
        let end = open.unwrap_or(text.len());
        let trims = open.is_some_and(|open| is_left_trim(&text[open + 2..]));
        let mut literal = &text[at..end];
        if trim_next {
            literal = literal.trim_start();
        }
        if trims {
            literal = literal.trim_end();
        }
        if !literal.is_empty() {
            out.push(Spot {
                at,
                token: Token::Text(literal.to_owned()),
            });
        }
        let Some(open) = open else { return Ok(out) };
        let inside = open + 2 + if trims { 2 } else { 0 };
        if text[inside..].starts_with("/*") {
            (at, trim_next) = skip_comment(text, open, inside)?;
            continue;
        }
        out.push(Spot {
            at: open,
            token: Token::Open,
        });
        (at, trim_next) = action(text, open, inside, &mut out)?;
    }
}

fn is_left_trim(rest: &str) -> bool {
    let mut chars = rest.chars();
    chars.next() == Some('-') && chars.next().is_some_and(char::is_whitespace)
}

fn skip_comment(text: &str, open: usize, inside: usize) -> Result<(usize, bool), ParseError> {
    let end = text[inside..]
        .find("*/")
        .ok_or_else(|| ParseError::new(open, "comment is not closed"))?;
    let after = inside + end + 2;
    let rest = &text[after..];
    let trimmed = rest.trim_start();
    if let Some(tail) = rest.strip_prefix("}}") {
        return Ok((text.len() - tail.len(), false));
    }
    if trimmed.len() < rest.len()
        && let Some(tail) = trimmed.strip_prefix("-}}")
    {
        return Ok((text.len() - tail.len(), true));
    }
    Err(ParseError::new(
        after,
        "a comment must fill its action: '}}' expected",
    ))
}

/// Reads one action; answers where it ended and whether it trims what follows.
fn action(
    text: &str,
    open: usize,
    mut at: usize,
    out: &mut Vec<Spot>,
) -> Result<(usize, bool), ParseError> {
    loop {
        let rest = &text[at..];
        let Some(c) = rest.chars().next() else {
            return Err(ParseError::new(open, "action is not closed: '}}' expected"));
        };
        if rest.starts_with("}}") {
            out.push(Spot {
                at,
                token: Token::Close,
            });
            return Ok((at + 2, false));
        }
        if c.is_whitespace() {
            let trimmed = rest.trim_start();
            if trimmed.starts_with("-}}") {
                let at = text.len() - trimmed.len();
                out.push(Spot {
                    at,
                    token: Token::Close,
                });
                return Ok((at + 3, true));
            }
            out.push(Spot {
                at,
                token: Token::Space,
            });
            at = text.len() - trimmed.len();
            continue;
        }
        let (token, length) = token(rest, c, at)?;
        out.push(Spot { at, token });
        at += length;
    }
}

fn token(rest: &str, c: char, at: usize) -> Result<(Token, usize), ParseError> {
    let word = |from: usize| {
        from + rest[from..]
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len() - from)
    };
    let one = |token| Ok((token, 1));
    match c {
        '|' => one(Token::Pipe),
        '(' => one(Token::LeftParen),
        ')' => one(Token::RightParen),
        ',' => one(Token::Comma),
        '=' => one(Token::Assign),
        ':' if rest.starts_with(":=") => Ok((Token::Declare, 2)),
        '$' => {
            let end = word(1);
            Ok((Token::Variable(rest[..end].to_owned()), end))
        }
        '"' => quoted(rest, at),
        '\'' => character(rest, at),
        '`' => {
            let end = rest[1..]
                .find('`')
                .ok_or_else(|| ParseError::new(at, "raw string is not closed"))?;
            Ok((Token::Str(rest[1..=end].to_owned()), end + 2))
        }
        '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
            let end = word(1);
            if end == 1 {
                return one(Token::Dot);
            }
            Ok((Token::Field(rest[1..end].to_owned()), end))
        }
        c if c.is_ascii_digit() || matches!(c, '+' | '-' | '.') => number(rest, at),
        c if c.is_alphabetic() || c == '_' => {
            let end = word(0);
            Ok((Token::Word(rest[..end].to_owned()), end))
        }
        c => Err(ParseError::new(at, format!("unexpected '{c}' in action"))),
    }
}

fn number(rest: &str, at: usize) -> Result<(Token, usize), ParseError> {
    let mut end = 0;
    let mut previous = ' ';
    for c in rest.chars() {
        let sign = matches!(c, '+' | '-') && (end == 0 || matches!(previous, 'e' | 'E'));
        if !(c.is_ascii_alphanumeric() || c == '.' || c == '_' || sign) {
            break;
        }
        previous = c;
        end += c.len_utf8();
    }
    let text = rest[..end].replace('_', "");
    let unsigned = text.trim_start_matches(['+', '-']);
    let negative = text.starts_with('-');
    let hex = unsigned
        .strip_prefix("0x")
        .or_else(|| unsigned.strip_prefix("0X"));
    if let Some(value) = hex.and_then(|digits| i64::from_str_radix(digits, 16).ok()) {
        return Ok((Token::Int(if negative { -value } else { value }), end));
    }
    if let Ok(value) = text.parse() {
        return Ok((Token::Int(value), end));
    }
    // Rust reads "inf" and "nan" as numbers too; Go's templates do not.
    let plain = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    match text.parse() {
        Ok(value) if plain => Ok((Token::Float(value), end)),
        _ => Err(ParseError::new(
            at,
            format!("'{}' is not a number", &rest[..end.max(1)]),
        )),
    }
}

fn quoted(rest: &str, at: usize) -> Result<(Token, usize), ParseError> {
    let mut value = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((index, c)) = chars.next() {
        match c {
            '"' => return Ok((Token::Str(value), index + 1)),
            '\n' => break,
            '\\' => value.push(escape(&mut chars, at)?),
            c => value.push(c),
        }
    }
    Err(ParseError::new(at, "string is not closed"))
}

/// A character constant is a number in Go.
fn character(rest: &str, at: usize) -> Result<(Token, usize), ParseError> {
    let mut chars = rest.char_indices().skip(1);
    let value = match chars.next() {
        Some((_, '\\')) => escape(&mut chars, at)?,
        Some((_, c)) => c,
        None => return Err(ParseError::new(at, "character is not closed")),
    };
    match chars.next() {
        Some((end, '\'')) => Ok((Token::Int(i64::from(u32::from(value))), end + 1)),
        _ => Err(ParseError::new(at, "character is not closed")),
    }
}

fn escape(chars: &mut impl Iterator<Item = (usize, char)>, at: usize) -> Result<char, ParseError> {
    let bad = || ParseError::new(at, "unknown escape in string");
    let (_, c) = chars.next().ok_or_else(bad)?;
    let mut hex = |digits: usize| {
        let mut value = 0;
        for _ in 0..digits {
            let digit = chars
                .next()
                .and_then(|(_, c)| c.to_digit(16))
                .ok_or_else(bad)?;
            value = value * 16 + digit;
        }
        char::from_u32(value).ok_or_else(bad)
    };
    match c {
        'n' => Ok('\n'),
        't' => Ok('\t'),
        'r' => Ok('\r'),
        'a' => Ok('\x07'),
        'b' => Ok('\x08'),
        'f' => Ok('\x0c'),
        'v' => Ok('\x0b'),
        '\\' | '"' | '\'' => Ok(c),
        'x' => hex(2),
        'u' => hex(4),
        'U' => hex(8),
        _ => Err(bad()),
    }
}
