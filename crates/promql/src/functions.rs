//! The functions by name, sorted by how they are evaluated.

/// Functions of one value; the metric name goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Math {
    Abs,
    Ceil,
    Floor,
    Exp,
    Ln,
    Log2,
    Log10,
    Sqrt,
    Sgn,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Asinh,
    Acosh,
    Atanh,
    Deg,
    Rad,
    Minute,
    Hour,
    DayOfWeek,
    DayOfMonth,
    DayOfYear,
    DaysInMonth,
    Month,
    Year,
}

/// Functions of a range of samples; the metric name goes, except where one sample is handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Rate,
    Increase,
    Delta,
    Irate,
    Idelta,
    Deriv,
    PredictLinear,
    Changes,
    Resets,
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Stddev,
    Stdvar,
    Quantile,
    Mad,
    Last,
    First,
    Present,
    DoubleExponentialSmoothing,
    TimeOfFirst,
    TimeOfLast,
    TimeOfMin,
    TimeOfMax,
}

impl Over {
    /// Whether the result is one of the samples as it was, name and all.
    pub(crate) const fn keeps_name(self) -> bool {
        matches!(self, Self::Last | Self::First)
    }
}

/// Functions with an evaluation of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instant {
    Time,
    Pi,
    Start,
    End,
    Step,
    Range,
    MinOf,
    MaxOf,
    Vector,
    Scalar,
    Timestamp,
    Round,
    Clamp,
    ClampMin,
    ClampMax,
    Sort,
    SortDesc,
    SortByLabel,
    SortByLabelDesc,
    HistogramQuantile,
    HistogramQuantiles,
    HistogramFraction,
}

impl Instant {
    /// Whether it gives one number without labels.
    pub(crate) const fn is_scalar(self) -> bool {
        matches!(
            self,
            Self::Time
                | Self::Pi
                | Self::Start
                | Self::End
                | Self::Step
                | Self::Range
                | Self::MinOf
                | Self::MaxOf
                | Self::Scalar
        )
    }
}

/// What a function's name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    Math(Math),
    Over(Over),
    Instant(Instant),
    Absent,
    LabelReplace,
    LabelJoin,
}

/// The function called `name`; `None` when Lantern does not have it.
pub(crate) fn by_name(name: &str) -> Option<Named> {
    math(name)
        .map(Named::Math)
        .or_else(|| over(name).map(Named::Over))
        .or_else(|| instant(name).map(Named::Instant))
        .or(match name {
            "absent" | "absent_over_time" => Some(Named::Absent),
            "label_replace" => Some(Named::LabelReplace),
            "label_join" => Some(Named::LabelJoin),
            _ => None,
        })
}

fn math(name: &str) -> Option<Math> {
    Some(match name {
        "abs" => Math::Abs,
        "ceil" => Math::Ceil,
        "floor" => Math::Floor,
        "exp" => Math::Exp,
        "ln" => Math::Ln,
        "log2" => Math::Log2,
        "log10" => Math::Log10,
        "sqrt" => Math::Sqrt,
        "sgn" => Math::Sgn,
        "sin" => Math::Sin,
        "cos" => Math::Cos,
        "tan" => Math::Tan,
        "asin" => Math::Asin,
        "acos" => Math::Acos,
        "atan" => Math::Atan,
        "sinh" => Math::Sinh,
        "cosh" => Math::Cosh,
        "tanh" => Math::Tanh,
        "asinh" => Math::Asinh,
        "acosh" => Math::Acosh,
        "atanh" => Math::Atanh,
        "deg" => Math::Deg,
        "rad" => Math::Rad,
        "minute" => Math::Minute,
        "hour" => Math::Hour,
        "day_of_week" => Math::DayOfWeek,
        "day_of_month" => Math::DayOfMonth,
        "day_of_year" => Math::DayOfYear,
        "days_in_month" => Math::DaysInMonth,
        "month" => Math::Month,
        "year" => Math::Year,
        _ => return None,
    })
}

fn over(name: &str) -> Option<Over> {
    Some(match name {
        "rate" => Over::Rate,
        "increase" => Over::Increase,
        "delta" => Over::Delta,
        "irate" => Over::Irate,
        "idelta" => Over::Idelta,
        "deriv" => Over::Deriv,
        "predict_linear" => Over::PredictLinear,
        "changes" => Over::Changes,
        "resets" => Over::Resets,
        "sum_over_time" => Over::Sum,
        "avg_over_time" => Over::Avg,
        "min_over_time" => Over::Min,
        "max_over_time" => Over::Max,
        "count_over_time" => Over::Count,
        "stddev_over_time" => Over::Stddev,
        "stdvar_over_time" => Over::Stdvar,
        "quantile_over_time" => Over::Quantile,
        "mad_over_time" => Over::Mad,
        "last_over_time" => Over::Last,
        "first_over_time" => Over::First,
        "present_over_time" => Over::Present,
        "double_exponential_smoothing" => Over::DoubleExponentialSmoothing,
        "ts_of_first_over_time" => Over::TimeOfFirst,
        "ts_of_last_over_time" => Over::TimeOfLast,
        "ts_of_min_over_time" => Over::TimeOfMin,
        "ts_of_max_over_time" => Over::TimeOfMax,
        _ => return None,
    })
}

fn instant(name: &str) -> Option<Instant> {
    Some(match name {
        "time" => Instant::Time,
        "pi" => Instant::Pi,
        "start" => Instant::Start,
        "end" => Instant::End,
        "step" => Instant::Step,
        "range" => Instant::Range,
        "min_of" => Instant::MinOf,
        "max_of" => Instant::MaxOf,
        "vector" => Instant::Vector,
        "scalar" => Instant::Scalar,
        "timestamp" => Instant::Timestamp,
        "round" => Instant::Round,
        "clamp" => Instant::Clamp,
        "clamp_min" => Instant::ClampMin,
        "clamp_max" => Instant::ClampMax,
        "sort" => Instant::Sort,
        "sort_desc" => Instant::SortDesc,
        "sort_by_label" => Instant::SortByLabel,
        "sort_by_label_desc" => Instant::SortByLabelDesc,
        "histogram_quantile" => Instant::HistogramQuantile,
        "histogram_quantiles" => Instant::HistogramQuantiles,
        "histogram_fraction" => Instant::HistogramFraction,
        _ => return None,
    })
}
