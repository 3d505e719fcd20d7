//! Functions of one value.

use super::calendar::Calendar;
use crate::functions::Math;

pub(crate) fn math(function: Math, value: f64) -> f64 {
    match function {
        Math::Abs => value.abs(),
        Math::Ceil => value.ceil(),
        Math::Floor => value.floor(),
        Math::Exp => value.exp(),
        Math::Ln => value.ln(),
        Math::Log2 => value.log2(),
        Math::Log10 => value.log10(),
        Math::Sqrt => value.sqrt(),
        Math::Sgn if value > 0.0 => 1.0,
        Math::Sgn if value < 0.0 => -1.0,
        Math::Sgn => value,
        Math::Sin => value.sin(),
        Math::Cos => value.cos(),
        Math::Tan => value.tan(),
        Math::Asin => value.asin(),
        Math::Acos => value.acos(),
        Math::Atan => value.atan(),
        Math::Sinh => value.sinh(),
        Math::Cosh => value.cosh(),
        Math::Tanh => value.tanh(),
        Math::Asinh => value.asinh(),
        Math::Acosh => value.acosh(),
        Math::Atanh => value.atanh(),
        Math::Deg => value * 180.0 / std::f64::consts::PI,
        Math::Rad => value * std::f64::consts::PI / 180.0,
        Math::Minute => Calendar::of(value).minute(),
        Math::Hour => Calendar::of(value).hour(),
        Math::DayOfWeek => Calendar::of(value).day_of_week(),
        Math::DayOfMonth => Calendar::of(value).day_of_month(),
        Math::DayOfYear => Calendar::of(value).day_of_year(),
        Math::DaysInMonth => Calendar::of(value).days_in_month(),
        Math::Month => Calendar::of(value).month(),
        Math::Year => Calendar::of(value).year(),
    }
}

/// Whether `function` reads its value as a time, and takes the present without one.
pub(crate) const fn is_calendar(function: Math) -> bool {
    matches!(
        function,
        Math::Minute
            | Math::Hour
            | Math::DayOfWeek
            | Math::DayOfMonth
            | Math::DayOfYear
            | Math::DaysInMonth
            | Math::Month
            | Math::Year
    )
}

/// `value` to the nearest multiple of `unit`, half way up.
pub(crate) fn round(value: f64, unit: f64) -> f64 {
    // Going by the inverse keeps `round(x, 0.1)` at the decimals people expect.
    let inverse = 1.0 / unit;
    (value * inverse + 0.5).floor() / inverse
}
