//! Numbers, bytes, rates and times as people read them.

use std::time::Duration;

use model::Timestamp;

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 record`, `1,234 records`.
pub(crate) fn counted(number: u64, word: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {word}{ending}", grouped(number))
}

/// Bytes with three digits and a binary unit.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if number < 1_024 {
        return format!("{number} B");
    }
    let mut value = number as f64 / 1_024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if value < 1_023.5 {
            break;
        }
        value /= 1_024.0;
        unit = next;
    }
    let digits = usize::from(value < 9.95);
    format!("{value:.digits$} {unit}")
}

/// A rate per second: `0`, `0.4`, `12`, `1,234`.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second <= 0.0 {
        return "0".to_owned();
    }
    if per_second < 9.95 {
        return format!("{per_second:.1}");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "above zero, and a saturated rate is legible enough"
    )]
    let whole = per_second.round() as u64;
    grouped(whole)
}

/// A span with its two largest units: `35ms`, `3.4s`, `12s`, `5m20s`, `3h05m`, `4d2h`.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0 => format!("{}ms", time.as_millis()),
        1..10 => format!("{:.1}s", time.as_secs_f64()),
        10..60 => format!("{seconds}s"),
        60..3_600 => format!("{minutes}m{:02}s", seconds % 60),
        3_600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{}h", hours % 24),
    }
}

/// RFC 3339 in UTC with milliseconds; the number where no calendar has it.
pub(crate) fn time(at: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(at.millis()) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => format!("@{}", at.millis()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_read_them() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(counted(1, "record"), "1 record");
        assert_eq!(counted(2_000, "record"), "2,000 records");
        assert_eq!(
            [0, 1_023, 1_024, 10_240, 1_048_575, 1 << 20, u64::MAX].map(bytes),
            [
                "0 B",
                "1023 B",
                "1.0 KiB",
                "10 KiB",
                "1.0 MiB",
                "1.0 MiB",
                "16384 PiB"
            ]
        );
        assert_eq!(
            [0.0, 0.42, 12.4, 1_234.5].map(rate),
            ["0", "0.4", "12", "1,235"]
        );
        assert_eq!(
            [35, 3_400, 12_000, 320_000, 11_100_000, 352_800_000]
                .map(|millis| span(Duration::from_millis(millis))),
            ["35ms", "3.4s", "12s", "5m20s", "3h05m", "4d2h"]
        );
    }

    #[test]
    fn times_are_rfc_3339_and_those_without_a_date_are_numbers() {
        assert_eq!(
            time(Timestamp::from_millis(1_700_000_000_120)),
            "2023-11-14T22:13:20.120Z"
        );
        assert_eq!(time(Timestamp::MAX), "@9223372036854775807");
    }
}
