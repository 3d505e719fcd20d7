//! Numbers, spans and times as Go and Prometheus print them.
//!
//! Pure functions of text and numbers. Source: Go's `strconv` and `fmt`, Prometheus' `template`.

use std::fmt::Write as _;

use super::Value;

/// A number as Go's `%v` prints it: the shortest digits that read back the same, with an exponent
/// below 1e-4 and from 1e6 on.
pub(super) fn shortest(value: f64) -> String {
    if let Some(special) = special(value) {
        return special.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = split_exponent(&scientific);
    if !(-4..6).contains(&exponent) {
        return join_exponent(mantissa, exponent);
    }
    format!("{value}")
}

/// `%.{precision}g`: that many significant digits, no trailing zeros.
pub(super) fn general(value: f64, precision: usize) -> String {
    if let Some(special) = special(value) {
        return special.to_owned();
    }
    let precision = precision.max(1);
    let scientific = format!("{value:.*e}", precision - 1);
    let (mantissa, exponent) = split_exponent(&scientific);
    let limit = i32::try_from(precision).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= limit {
        return join_exponent(trim_zeros(mantissa), exponent);
    }
    let decimals = usize::try_from(limit - 1 - exponent).unwrap_or(0);
    trim_zeros(&format!("{value:.decimals$}")).to_owned()
}

/// `%.{precision}e`.
pub(super) fn exponential(value: f64, precision: usize) -> String {
    if let Some(special) = special(value) {
        return special.to_owned();
    }
    let scientific = format!("{value:.precision$e}");
    let (mantissa, exponent) = split_exponent(&scientific);
    join_exponent(mantissa, exponent)
}

/// `%.{precision}f`.
pub(super) fn fixed(value: f64, precision: usize) -> String {
    special(value).map_or_else(|| format!("{value:.precision$}"), str::to_owned)
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value.is_infinite() {
        Some(if value > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        None
    }
}

fn split_exponent(scientific: &str) -> (&str, i32) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    (mantissa, exponent.parse().unwrap_or(0))
}

fn join_exponent(mantissa: &str, exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

fn trim_zeros(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

/// Prometheus' `humanize`: four digits and a metric prefix.
pub(super) fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return general(value, 4);
    }
    if value.abs() < 1.0 {
        return small(value, "");
    }
    scaled(value, 1_000.0, &["k", "M", "G", "T", "P", "E", "Z", "Y"])
}

/// Prometheus' `humanize1024`: four digits and a binary prefix.
pub(super) fn humanize_1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return general(value, 4);
    }
    scaled(
        value,
        1_024.0,
        &["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"],
    )
}

/// Prometheus' `humanizePercentage` of a ratio.
pub(super) fn humanize_percentage(value: f64) -> String {
    format!("{}%", general(value * 100.0, 4))
}

/// Prometheus' `humanizeDuration` of seconds: `1d 2h 3m 4s`, `4.5s`, `12ms`.
pub(super) fn humanize_duration(value: f64) -> String {
    if !value.is_finite() {
        return general(value, 4);
    }
    if value == 0.0 {
        return "0s".to_owned();
    }
    if value.abs() < 1.0 {
        return small(value, "s");
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let value = value.abs();
    let whole = whole_seconds(value);
    let (days, hours) = (whole / 86_400, whole / 3_600 % 24);
    let (minutes, seconds) = (whole / 60 % 60, whole % 60);
    if days > 0 {
        format!("{sign}{days}d {hours}h {minutes}m {seconds}s")
    } else if hours > 0 {
        format!("{sign}{hours}h {minutes}m {seconds}s")
    } else if minutes > 0 {
        format!("{sign}{minutes}m {seconds}s")
    } else {
        format!("{sign}{}s", general(value, 4))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the float cast saturates, which is what is wanted"
)]
fn whole_seconds(value: f64) -> u64 {
    value as u64
}

fn scaled(mut value: f64, step: f64, prefixes: &[&str]) -> String {
    let mut prefix = "";
    for next in prefixes {
        if value.abs() < step {
            break;
        }
        prefix = next;
        value /= step;
    }
    format!("{}{prefix}", general(value, 4))
}

fn small(mut value: f64, unit: &str) -> String {
    let mut prefix = "";
    for next in ["m", "u", "n", "p", "f", "a", "z", "y"] {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = next;
        value *= 1_000.0;
    }
    format!("{}{prefix}{unit}", general(value, 4))
}

/// A moment as Go prints a UTC time: `2015-01-01 00:00:00.5 +0000 UTC`.
pub(super) fn time(seconds: f64) -> String {
    if !seconds.is_finite() {
        return general(seconds, 4);
    }
    let nanos = (seconds * 1e9).round();
    #[expect(clippy::cast_possible_truncation, reason = "the float cast saturates")]
    let nanos = nanos as i128;
    match jiff::Timestamp::from_nanosecond(nanos) {
        Ok(moment) => {
            let text = moment.to_string();
            format!("{} +0000 UTC", text.replace('T', " ").trim_end_matches('Z'))
        }
        Err(_) => general(seconds, 4),
    }
}

/// A span as Go prints a `time.Duration`: `1h2m3s`, `1.5s`, `20ms`.
pub(super) fn go_duration(seconds: f64) -> String {
    if seconds == 0.0 || !seconds.is_finite() {
        return "0s".to_owned();
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    let seconds = seconds.abs();
    if seconds < 1.0 {
        let (value, unit) = if seconds < 1e-6 {
            (seconds * 1e9, "ns")
        } else if seconds < 1e-3 {
            (seconds * 1e6, "µs")
        } else {
            (seconds * 1e3, "ms")
        };
        return format!("{sign}{}{unit}", general(value, 9));
    }
    let whole = whole_seconds(seconds);
    let (hours, minutes) = (whole / 3_600, whole / 60 % 60);
    let rest = seconds - (hours * 3_600 + minutes * 60) as f64;
    let rest = trim_zeros(&format!("{rest:.9}")).to_owned();
    if hours > 0 {
        format!("{sign}{hours}h{minutes}m{rest}s")
    } else if minutes > 0 {
        format!("{sign}{minutes}m{rest}s")
    } else {
        format!("{sign}{rest}s")
    }
}

/// Text in double quotes with Go's escapes.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The flags, width and precision of one verb of [`printf`].
#[derive(Debug, Default, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the flags of a Go verb are just that"
)]
struct Verb {
    plus: bool,
    minus: bool,
    zero: bool,
    space: bool,
    sharp: bool,
    width: usize,
    precision: Option<usize>,
}

/// Widest field and longest fraction [`printf`] makes, so that a template cannot ask for gigabytes.
const WIDTH_MAX: usize = 1_000;

/// Go's `Sprintf`.
pub(super) fn printf(template: &str, arguments: &[Value]) -> String {
    let mut out = String::new();
    let mut chars = template.chars().peekable();
    let mut next = 0;
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut verb = Verb::default();
        while let Some(flag) = chars.peek() {
            match flag {
                '+' => verb.plus = true,
                '-' => verb.minus = true,
                '0' => verb.zero = true,
                ' ' => verb.space = true,
                '#' => verb.sharp = true,
                _ => break,
            }
            chars.next();
        }
        verb.width = digits(&mut chars).unwrap_or(0);
        if chars.next_if_eq(&'.').is_some() {
            verb.precision = Some(digits(&mut chars).unwrap_or(0));
        }
        let Some(letter) = chars.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if letter == '%' {
            out.push('%');
            continue;
        }
        if let Some(value) = arguments.get(next) {
            pad(&mut out, &verb.render(letter, value), verb);
        } else {
            let _ = write!(out, "%!{letter}(MISSING)");
        }
        next += 1;
    }
    if next < arguments.len() {
        let extra: Vec<String> = arguments[next..]
            .iter()
            .map(|value| format!("{}={}", value.kind(), value.printed()))
            .collect();
        let _ = write!(out, "%!(EXTRA {})", extra.join(", "));
    }
    out
}

fn digits(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<usize> {
    let mut number = None;
    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
        number = Some((number.unwrap_or(0) * 10 + digit as usize).min(WIDTH_MAX));
        chars.next();
    }
    number
}

fn hexadecimal(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

impl Verb {
    fn render(self, letter: char, value: &Value) -> String {
        let text = match (letter, value) {
            ('v' | 'g' | 'G', Value::Float(number)) => match self.precision {
                Some(precision) => general(*number, precision),
                None => shortest(*number),
            },
            ('v', value) => value.printed(),
            (
                's',
                Value::Str(_) | Value::List(_) | Value::Map(_) | Value::Time(_) | Value::Span(_),
            ) => {
                let text = value.printed();
                match self.precision {
                    Some(precision) => text.chars().take(precision).collect(),
                    None => text,
                }
            }
            ('q', Value::Str(text)) => quote(text),
            ('d', Value::Int(number)) => number.to_string(),
            ('x', Value::Int(number)) => format!("{number:x}"),
            ('X', Value::Int(number)) => format!("{number:X}"),
            ('o', Value::Int(number)) => format!("{number:o}"),
            ('b', Value::Int(number)) => format!("{number:b}"),
            ('c', Value::Int(number)) => u32::try_from(*number)
                .ok()
                .and_then(char::from_u32)
                .unwrap_or(char::REPLACEMENT_CHARACTER)
                .to_string(),
            ('x', Value::Str(text)) => hexadecimal(text),
            ('X', Value::Str(text)) => hexadecimal(text).to_uppercase(),
            ('f' | 'F', Value::Float(number)) => fixed(*number, self.precision.unwrap_or(6)),
            ('e', Value::Float(number)) => exponential(*number, self.precision.unwrap_or(6)),
            ('E', Value::Float(number)) => {
                exponential(*number, self.precision.unwrap_or(6)).to_uppercase()
            }
            ('t', Value::Bool(truth)) => truth.to_string(),
            ('T', value) => value.kind().to_owned(),
            (letter, value) => {
                return format!("%!{letter}({}={})", value.kind(), value.printed());
            }
        };
        let number = matches!(value, Value::Int(_) | Value::Float(_));
        if number && !text.starts_with(['-', '+']) {
            if self.plus {
                return format!("+{text}");
            }
            if self.space {
                return format!(" {text}");
            }
        }
        text
    }
}

fn pad(out: &mut String, text: &str, verb: Verb) {
    let missing = verb.width.saturating_sub(text.chars().count());
    let fill = |out: &mut String, c: char| out.extend(std::iter::repeat_n(c, missing));
    if verb.minus {
        out.push_str(text);
        fill(out, ' ');
    } else if verb.zero && text.ends_with(|c: char| c.is_ascii_digit()) {
        let (sign, rest) = match text.strip_prefix(['-', '+']) {
            Some(rest) => text.split_at(text.len() - rest.len()),
            None => ("", text),
        };
        out.push_str(sign);
        fill(out, '0');
        out.push_str(rest);
    } else {
        fill(out, ' ');
        out.push_str(text);
    }
}
