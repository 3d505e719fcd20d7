//! UTC dates of Unix seconds in the proleptic Gregorian calendar.
//!
//! Source: Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.

#[derive(Debug, Clone, Copy)]
pub(crate) struct Calendar {
    days: i64,
    second_of_day: i64,
    year: i64,
    month: i64,
    day: i64,
}

impl Calendar {
    /// The moment `seconds` after the epoch; fractions are cut off.
    pub(crate) fn of(seconds: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "what is beyond saturates, as no calendar goes there"
        )]
        let seconds = (seconds as i64).clamp(-1 << 50, 1 << 50);
        let days = seconds.div_euclid(86_400);
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        Self {
            days,
            second_of_day: seconds.rem_euclid(86_400),
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted_month + 2) / 5 + 1,
        }
    }

    pub(crate) fn minute(&self) -> f64 {
        (self.second_of_day / 60 % 60) as f64
    }

    pub(crate) fn hour(&self) -> f64 {
        (self.second_of_day / 3_600) as f64
    }

    /// 0 is Sunday.
    pub(crate) fn day_of_week(&self) -> f64 {
        (self.days + 4).rem_euclid(7) as f64
    }

    pub(crate) fn day_of_month(&self) -> f64 {
        self.day as f64
    }

    pub(crate) fn day_of_year(&self) -> f64 {
        let before = (1..self.month).map(|month| self.length(month)).sum::<i64>();
        (before + self.day) as f64
    }

    pub(crate) fn days_in_month(&self) -> f64 {
        self.length(self.month) as f64
    }

    pub(crate) fn month(&self) -> f64 {
        self.month as f64
    }

    pub(crate) fn year(&self) -> f64 {
        self.year as f64
    }

    fn length(&self, month: i64) -> i64 {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        match month {
            2 => 28 + i64::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        let check = |seconds: f64, expected: [f64; 5]| {
            let at = Calendar::of(seconds);
            let found = [
                at.year(),
                at.month(),
                at.day_of_month(),
                at.day_of_week(),
                at.day_of_year(),
            ];
            assert_eq!(found, expected, "{seconds}");
        };
        check(0.0, [1970.0, 1.0, 1.0, 4.0, 1.0]);
        check(-1.0, [1969.0, 12.0, 31.0, 3.0, 365.0]);
        check(951_782_400.0, [2000.0, 2.0, 29.0, 2.0, 60.0]);
        check(1_136_239_445.0, [2006.0, 1.0, 2.0, 1.0, 2.0]);
        let leap_end = Calendar::of(1_735_603_199.0);
        assert_eq!(
            [leap_end.day_of_year(), leap_end.hour(), leap_end.minute()],
            [365.0, 23.0, 59.0]
        );
        assert_eq!(Calendar::of(1_709_251_200.0).days_in_month(), 31.0);
        assert_eq!(Calendar::of(1_709_164_800.0).days_in_month(), 29.0);
    }
}
