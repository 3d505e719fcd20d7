//! Units of values, and how a value with one is written in a status text.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// What a value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A plain number: `0.5`, `4,806`, and from a hundred thousand on `207k`.
    #[default]
    Short,
    /// Hundredths: 42.5 is `42.5 %`.
    Percent,
    /// Bytes, in powers of 1,024.
    Bytes,
    /// Bytes per second.
    BytesPerSecond,
    /// Seconds, shown as the span they are: `1.5 ms`, `2 h 5 min`.
    Seconds,
    /// Anything per second.
    PerSecond,
    /// Money, in whole euros: `€ 12.30`, `€ 151,847`, `€ 6.11M`.
    Currency,
}

impl Unit {
    /// All units by the names they have in YAML.
    pub const ALL: [(&'static str, Self); 7] = [
        ("short", Self::Short),
        ("percent", Self::Percent),
        ("bytes", Self::Bytes),
        ("bytes_per_second", Self::BytesPerSecond),
        ("seconds", Self::Seconds),
        ("per_second", Self::PerSecond),
        ("currency", Self::Currency),
    ];

    /// Appends `value` to `out`; no data is an en dash.
    pub fn write(self, out: &mut String, value: f64) {
        if !value.is_finite() {
            out.push('–');
            return;
        }
        match self {
            Self::Short => short(out, value, ""),
            Self::Percent => {
                digits(out, value);
                out.push_str(" %");
            }
            Self::Bytes => scaled(out, value, 1024.0, &BINARY, ""),
            Self::BytesPerSecond => scaled(out, value, 1024.0, &BINARY, "/s"),
            Self::PerSecond => short(out, value, "/s"),
            Self::Seconds => seconds(out, value),
            Self::Currency => {
                out.push_str("€ ");
                currency(out, value);
            }
        }
    }

    /// `value` as text.
    pub fn format(self, value: f64) -> String {
        let mut out = String::new();
        self.write(&mut out, value);
        out
    }
}

const BINARY: [&str; 5] = [" B", " KiB", " MiB", " GiB", " TiB"];

const DECIMAL: [&str; 5] = ["", "k", "M", "G", "T"];

/// As the page writes numbers: whole and grouped while that is short.
fn short(out: &mut String, value: f64, behind: &str) {
    match value.abs() {
        small if small < 999.5 => digits(out, value),
        middle if middle < 99_999.5 => grouped(out, value, 0),
        _ => return scaled(out, value, 1000.0, &DECIMAL, behind),
    }
    out.push_str(behind);
}

fn currency(out: &mut String, value: f64) {
    match value.abs() {
        small if small < 9_999.995 => grouped(out, value, 2),
        middle if middle < 999_999.5 => grouped(out, value, 0),
        _ => scaled(out, value, 1000.0, &DECIMAL, ""),
    }
}

fn scaled(out: &mut String, value: f64, step: f64, suffixes: &[&str], behind: &str) {
    let mut scaled = value;
    let mut place = 0;
    // 999.95 would be written as 1000: step up before that.
    while scaled.abs() >= step - 0.05 && place + 1 < suffixes.len() {
        scaled /= step;
        place += 1;
    }
    digits(out, scaled);
    out.push_str(suffixes.get(place).copied().unwrap_or_default());
    out.push_str(behind);
}

/// Three digits where there are three: 1.23, 12.3, 123.
fn digits(out: &mut String, value: f64) {
    let places = match value.abs() {
        small if small < 9.995 => 2,
        middle if middle < 99.95 => 1,
        _ => 0,
    };
    let start = out.len();
    let _ = write!(out, "{value:.places$}");
    if places > 0 {
        let kept = out.trim_end_matches('0').trim_end_matches('.').len();
        out.truncate(kept.max(start + 1));
    }
    if out.get(start..) == Some("-0") {
        out.replace_range(start.., "0");
    }
}

fn seconds(out: &mut String, value: f64) {
    let size = value.abs();
    let (scaled, suffix) = match size {
        0.0 => (0.0, " s"),
        _ if size < 0.000_999_5 => (value * 1e6, " µs"),
        _ if size < 0.999_5 => (value * 1e3, " ms"),
        _ if size < 119.5 => (value, " s"),
        _ => return long(out, value),
    };
    digits(out, scaled);
    out.push_str(suffix);
}

/// Two minutes and more: the two largest of days, hours and minutes.
fn long(out: &mut String, value: f64) {
    if value < 0.0 {
        out.push('-');
    }
    let minutes = (value.abs() / 60.0).round();
    let (days, hours) = (
        (minutes / 1440.0).floor(),
        (minutes % 1440.0 / 60.0).floor(),
    );
    let minutes = minutes % 60.0;
    let _ = match (days, hours) {
        (0.0, 0.0) => write!(out, "{minutes} min"),
        (0.0, hours) => write!(out, "{hours} h {minutes} min"),
        (days, hours) => write!(out, "{days} d {hours} h"),
    };
}

/// So many places behind the point, a comma in front of each three before it.
fn grouped(out: &mut String, value: f64, places: usize) {
    let text = format!("{:.places$}", value.abs());
    let whole = text.find('.').unwrap_or(text.len());
    if value < 0.0 && text.bytes().any(|byte| matches!(byte, b'1'..=b'9')) {
        out.push('-');
    }
    for (place, digit) in text.char_indices() {
        if place > 0 && place < whole && (whole - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_people_write_them() {
        let all = |unit: Unit, values: &[f64]| {
            let texts: Vec<_> = values.iter().map(|value| unit.format(*value)).collect();
            texts.join(" | ")
        };
        let check = |unit, values: &[f64], expected| assert_eq!(all(unit, values), expected);
        check(
            Unit::Short,
            &[0.0, -0.001, 0.5, 12.34, 999.6, -1234.0, 99_999.6, 5e6, 7e15],
            "0 | 0 | 0.5 | 12.3 | 1,000 | -1,234 | 100k | 5M | 7000T",
        );
        check(
            Unit::Percent,
            &[42.5, 100.0, 9.999, 0.004],
            "42.5 % | 100 % | 10 % | 0 %",
        );
        check(
            Unit::Bytes,
            &[0.0, 512.0, 1536.0, 25_769_803_776.0],
            "0 B | 512 B | 1.5 KiB | 24 GiB",
        );
        check(Unit::BytesPerSecond, &[1_048_576.0], "1 MiB/s");
        check(Unit::PerSecond, &[2246.0, 12.0], "2,246/s | 12/s");
        check(
            Unit::Seconds,
            &[0.0, 0.000_25, 0.0153, 1.5, 90.0, 119.6],
            "0 s | 250 µs | 15.3 ms | 1.5 s | 90 s | 2 min",
        );
        check(
            Unit::Seconds,
            &[7500.0, 200_000.0, -300.0, 7199.0],
            "2 h 5 min | 2 d 7 h | -5 min | 2 h 0 min",
        );
        check(
            Unit::Currency,
            &[12.3, 9_999.99, 151_847.4, 1_234_567.891, -3.0, -0.001],
            "€ 12.30 | € 9,999.99 | € 151,847 | € 1.23M | € -3.00 | € 0.00",
        );
        check(Unit::Currency, &[f64::NAN, f64::INFINITY], "– | –");
    }
}
