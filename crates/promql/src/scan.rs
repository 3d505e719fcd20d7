//! What the parser does not do: it is kept from texts that would exhaust its stack, and durations that
//! it panics on (`[1e30]`, `offset nan`) or takes for nothing (`[5000000000s]`), and [`mistake`] says what is wrong
//! where it only says that something is.
//!
//! One pass over the text, blind to the grammar: texts, comments and names are passed over, operators
//! and brackets are counted, numbers are looked at.

use crate::Error;

/// Deepest nesting of an expression: bounds the evaluator's stack.
pub(crate) const DEPTH_MAX: usize = 200;

/// Most operators and brackets of an expression, each of which may be a level to the parser.
pub(crate) const STRUCTURE_MAX: usize = 1_000;

/// Longest expression in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 64 << 10;

/// Longest duration in seconds: what Prometheus holds, nanoseconds in 63 bits.
const DURATION_SECONDS_MAX: f64 = 9_223_372_036.0;

/// Refuses what the parser must not see.
pub(crate) fn check(text: &str) -> Result<(), Error> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Error::Syntax {
            message: format!(
                "the expression has {} bytes, at most {TEXT_BYTES_MAX} are allowed",
                text.len()
            ),
        });
    }
    // Every operator and every bracket can be a level (`1 + 1 + 1` nests as brackets do).
    let mut levels = 0_usize;
    let mut braces = 0_usize;
    // Whether a number here is a duration: after `[` or `:`, or after `offset`, whatever its sign.
    let mut is_duration = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        let mut duration_next = false;
        match c {
            '"' | '\'' | '`' => taken = text_len(rest, c),
            '#' => {
                taken = comment_len(rest);
                duration_next = is_duration;
            }
            '{' => braces += 1,
            '}' => braces = braces.saturating_sub(1),
            '[' => {
                levels += 1;
                duration_next = true;
            }
            ':' => duration_next = true,
            '0'..='9' | '.' => {
                taken = number_len(rest);
                check_number(&rest[..taken], is_duration)?;
            }
            _ if c.is_ascii_alphabetic() || c == '_' => {
                taken = rest
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')
                    .unwrap_or(rest.len());
                let word = rest[..taken].to_ascii_lowercase();
                levels += usize::from(matches!(&*word, "and" | "or" | "unless" | "atan2"));
                duration_next = word == "offset";
                if is_duration {
                    check_number(&word, true)?;
                }
            }
            '(' => levels += 1,
            '+' | '-' | '*' | '/' | '%' | '^' | '=' | '!' | '<' | '>' if braces == 0 => {
                levels += 1;
                duration_next = is_duration;
            }
            _ => duration_next = is_duration && c.is_whitespace(),
        }
        is_duration = duration_next;
        rest = &rest[taken..];
        if levels > STRUCTURE_MAX || braces > 1 + DEPTH_MAX {
            return Err(too_deep());
        }
    }
    Ok(())
}

pub(crate) fn too_deep() -> Error {
    Error::Syntax {
        message: format!(
            "the expression is nested deeper than {DEPTH_MAX} levels or has more than \
             {STRUCTURE_MAX} operators and brackets"
        ),
    }
}

/// What is wrong with a text that is no PromQL, if it is one of the common slips: a bracket or a quote without its
/// partner, or an end where something must follow.
pub(crate) fn mistake(text: &str) -> Option<String> {
    let column = |rest: &str| text[..text.len() - rest.len()].chars().count() + 1;
    let mut open: Vec<(char, usize)> = Vec::new();
    let mut last = None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match c {
            '"' | '\'' | '`' => {
                taken = text_len(rest, c);
                if taken == 1 || !rest[..taken].ends_with(c) {
                    return Some(format!("the {c} at column {} is not closed", column(rest)));
                }
            }
            '#' => taken = comment_len(rest),
            '(' | '[' | '{' => open.push((c, column(rest))),
            ')' | ']' | '}' => {
                let partner = match c {
                    ')' => '(',
                    ']' => '[',
                    _ => '{',
                };
                match open.pop() {
                    Some((c, _)) if c == partner => (),
                    Some((other, at)) => {
                        let column = column(rest);
                        return Some(format!(
                            "the {c} at column {column} meets the {other} at column {at}"
                        ));
                    }
                    None => {
                        return Some(format!("the {c} at column {} closes nothing", column(rest)));
                    }
                }
            }
            _ if c.is_ascii_alphanumeric() || c == '_' => {
                taken = rest
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')
                    .unwrap_or(rest.len());
            }
            _ => (),
        }
        if !c.is_whitespace() && c != '#' {
            last = Some(&rest[..taken]);
        }
        rest = &rest[taken..];
    }
    if let Some((c, at)) = open.pop() {
        return Some(format!("the {c} at column {at} is not closed"));
    }
    let operators =
        "+ - * / % ^ = ! < > , and or unless atan2 by without on ignoring bool offset @";
    match last {
        None => Some("the expression is empty".to_owned()),
        Some(last)
            if operators
                .split(' ')
                .any(|operator| operator.eq_ignore_ascii_case(last)) =>
        {
            Some(format!("something must follow {last} at the end"))
        }
        Some(_) => None,
    }
}

/// Bytes of the comment that `rest` starts with: to the end of the line, which for the parser is `\r`, too.
fn comment_len(rest: &str) -> usize {
    rest.find(['\r', '\n']).unwrap_or(rest.len())
}

/// Bytes of the text between quotes that `rest` starts with. The parser knows escapes between backticks, too.
fn text_len(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    rest.len()
}

/// Bytes of the number or duration that `rest` starts with: `12`, `.5`, `0x1f`, `1e+3`, `1h30m`. Only the first `e` of a decimal
/// number has a sign: those of `0x1e+0x1e` and of `1e+1e+1` are operators.
fn number_len(rest: &str) -> usize {
    let mut before = ' ';
    let mut may_have_sign = !(rest.starts_with("0x") || rest.starts_with("0X"));
    let end = rest.find(|c: char| {
        let is_sign = matches!(c, '+' | '-') && matches!(before, 'e' | 'E') && may_have_sign;
        may_have_sign &= !matches!(before, 'e' | 'E');
        before = c;
        !(c.is_ascii_alphanumeric() || c == '.' || is_sign)
    });
    end.unwrap_or(rest.len())
}

/// Refuses a number that as a duration is out of range, and a duration that is.
fn check_number(text: &str, is_duration: bool) -> Result<(), Error> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let seconds = if let Some(digits) = hexadecimal {
        is_duration.then(|| u64::from_str_radix(digits, 16).map_or(f64::INFINITY, |n| n as f64))
    } else if let Ok(number) = text.parse::<f64>() {
        is_duration.then_some(number)
    } else {
        seconds_of(text)
    };
    match seconds {
        Some(seconds) if !(0.0..=DURATION_SECONDS_MAX).contains(&seconds) => Err(Error::Syntax {
            message: format!("duration out of range: {text}"),
        }),
        _ => Ok(()),
    }
}

/// Seconds of `1h30m`, infinite where a part does not fit the parser's 32 bits; `None` where it is no
/// duration, which the parser tells better.
fn seconds_of(text: &str) -> Option<f64> {
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let unit_seconds = match unit {
            "y" => 31_536_000.0,
            "w" => 604_800.0,
            "d" => 86_400.0,
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        seconds += number
            .parse::<u32>()
            .map_or(f64::INFINITY, |number| f64::from(number) * unit_seconds);
        rest = tail;
    }
    Some(seconds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::parse;

    #[test]
    fn durations_out_of_range_are_refused_by_name() {
        for (text, duration) in [
            ("x[0:55556756705555567555]", "55556756705555567555"),
            ("x[1e30]", "1e30"),
            ("x[ NaN ]", "nan"),
            ("x[+Inf]", "inf"),
            ("x[0xffffffffffffffffff]", "0xffffffffffffffffff"),
            ("x offset -\n1e300", "1e300"),
            ("x offset # far\n inf", "inf"),
            ("x[5000000000s]", "5000000000s"),
            ("x[1m5000000000ms]", "1m5000000000ms"),
            ("x[300y]", "300y"),
            ("x > 300y", "300y"),
        ] {
            let told = parse(text).expect_err(text).to_string();
            assert_eq!(told, format!("duration out of range: {duration}"), "{text}");
        }
    }

    #[test]
    fn nothing_hides_operators_from_the_scan() {
        let minuses = "-".repeat(60_000);
        let hexadecimal = "0x1e+".repeat(10_000);
        for text in [
            format!("#\r{minuses}x"),
            format!("#\n{minuses}x"),
            format!("count_values(`\\`\"`, {minuses}x)"),
            format!("{hexadecimal}1"),
        ] {
            let told = parse(&text).expect_err("too deep").to_string();
            assert_eq!(told, super::too_deep().to_string(), "{}", &text[..20]);
        }
    }

    #[test]
    fn common_slips_are_named_with_their_column() {
        for (text, told) in [
            ("sum(rate(x[5m])", "the ( at column 4 is not closed"),
            ("x{a=\"b}", "the \" at column 5 is not closed"),
            ("sum(x]) ", "the ] at column 6 meets the ( at column 4"),
            ("x)", "the ) at column 2 closes nothing"),
            ("up >", "something must follow > at the end"),
            ("x unless # y", "something must follow unless at the end"),
            ("", "the expression is empty"),
            ("a b", "this is not PromQL"),
        ] {
            assert_eq!(parse(text).expect_err(text).to_string(), told, "{text}");
        }
    }

    #[test]
    fn other_numbers_are_not_the_scans_business() {
        for text in [
            "x > 1e300",
            "x > 0x1e+5",
            "x == NaN",
            "x < Inf",
            "x[200y]",
            "x[1e3:0x10]",
            "job:x:rate5m",
            "x{a=\"[1e30]\"}",
            "label_replace(x, \"a\", \"[nan]\", \"b\", \"c\")",
            "x @ 1e3 offset 5",
            "300000000000",
            "x offset 1h30m",
        ] {
            assert!(parse(text).is_ok(), "{text}: {:?}", parse(text));
        }
    }

    proptest! {
        /// The pieces of which the durations that broke the parser are made, in any order.
        #[test]
        fn nothing_panics(text in "([\\[\\]: ]|offset|@|nan|inf|x|-|[0-9.e]{1,25}|[0-9]{1,12}(ms|[ywdhms])){0,12}") {
            let _ = parse(&text);
        }
    }
}
