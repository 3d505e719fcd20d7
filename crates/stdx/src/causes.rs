//! An error with everything that caused it, in one line.

use std::error::Error;
use std::fmt::Write;

/// `error: its cause: the cause of that`.
///
/// ```
/// let error = "x".parse::<u8>().unwrap_err();
/// assert_eq!(stdx::causes(&error), "invalid digit found in string");
/// ```
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        // Writing into a String does not fail.
        let _ = write!(text, ": {inner}");
        cause = inner.source();
    }
    text
}
