//! PromQL over the series store: [`parse`] an expression, then ask for its value at one moment
//! ([`instant`]) or over a time ([`range`]). [`Prepared`] is for who asks again and again.
//!
//! The meaning is Prometheus 3's: ranges and lookback are open at their older end, a staleness marker
//! ends a series, `rate` extrapolates, names go where values change. What is not covered (native
//! histograms, `info`, `fill`, duration expressions, …) is refused by [`parse`], by name; the list is in
//! `docs/operate/promql.md`.
//!
//! Evaluation walks the steps of a query over samples that were unpacked once for all of them; no lock
//! of the store is held meanwhile. Not here: syntax (promql-parser), storage (`series`).
//!
//! ```
//! use model::Timestamp;
//! use promql::{Options, Value, instant, parse};
//! use series::{Labels, Store, StoreOptions};
//!
//! let store = Store::new(StoreOptions::default());
//! let requests = Labels::of(&[("__name__", "requests_total"), ("code", "200")]);
//! for second in 0..=60 {
//!     store.append(&requests, Timestamp::from_millis(second * 1_000), second as f64 * 5.0)?;
//! }
//! let expr = parse("sum by (code) (rate(requests_total[30s])) > 1")?;
//! let value = instant(&expr, &store, Timestamp::from_millis(60_000), &Options::default())?;
//! let Value::Vector(samples) = value else { unreachable!() };
//! assert_eq!(samples[0].labels, Labels::of(&[("code", "200")]));
//! assert!((samples[0].value - 5.0).abs() < 1e-9);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![expect(
    clippy::float_cmp,
    reason = "PromQL compares numbers as they are, and so do its functions"
)]

mod compile;
mod error;
mod eval;
mod functions;
mod query;
mod scan;
mod tree;

pub use error::{Error, ErrorKind};
pub use query::{
    Expr, Options, Prepared, RangeSeries, STEPS_MAX, Sample, Value, ValueKind, instant, parse,
    range,
};
