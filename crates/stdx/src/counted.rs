//! Numbers of things, as sentences have them.

use std::fmt;

/// So many of something: prints as `1 rule`, `2 rules`. For words whose plural ends in `s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted<'a>(pub usize, pub &'a str);

impl fmt::Display for Counted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, word) = self;
        let ending = if *count == 1 { "" } else { "s" };
        write!(f, "{count} {word}{ending}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_none_is_not() {
        let said = |count| Counted(count, "rule").to_string();
        assert_eq!(
            [said(0), said(1), said(2)],
            ["0 rules", "1 rule", "2 rules"]
        );
    }
}
