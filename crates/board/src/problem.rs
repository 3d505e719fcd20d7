//! What is wrong with a board file, and where.

use std::fmt;

use serde::Serialize;

/// One thing that is wrong with a board file. Printed as `file:line:column: path: reason`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct Problem {
    /// The file, as its reader named it.
    pub file: String,
    /// From 1; 0 when it concerns the whole file.
    pub line: u64,
    /// From 1; 0 when it concerns the whole file.
    pub column: u64,
    /// Where in the document: `spec.lanes[0].marquee.items[2].query`. Empty at its top.
    pub path: String,
    /// What does not hold.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// The path of the YAML key at `line` (from 1), read off the indentation above it.
///
/// For errors of the parser, which know a line but no path. Block style only; a guess for people to
/// find the place, never used to decide.
pub(crate) fn path_at(text: &str, line: u64) -> String {
    let Some(last) = usize::try_from(line)
        .ok()
        .and_then(|line| line.checked_sub(1))
    else {
        return String::new();
    };
    let lines: Vec<&str> = text.lines().collect();
    let mut parts: Vec<String> = Vec::new();
    let mut limit = usize::MAX;
    for at in (0..=last.min(lines.len().saturating_sub(1))).rev() {
        let Some((indent, key, item)) = lines.get(at).and_then(|line| key_of(line)) else {
            continue;
        };
        if let Some(key) = key.filter(|_| indent < limit) {
            parts.push(key.to_owned());
            limit = indent;
        }
        if let Some(dash) = item.filter(|dash| *dash < limit) {
            let before = lines.get(..at).unwrap_or_default();
            let place = before
                .iter()
                .rev()
                .filter_map(|line| key_of(line))
                .take_while(|(indent, _, item)| item.unwrap_or(*indent) >= dash)
                .filter(|(_, _, item)| *item == Some(dash))
                .count();
            parts.push(format!("[{place}]"));
            limit = dash;
        }
    }
    parts.reverse();
    parts.join(".").replace(".[", "[")
}

/// Indentation of a line's key, the key, and the column of its list dash. `None` for blank lines, comments
/// and document markers.
fn key_of(line: &str) -> Option<(usize, Option<&str>, Option<usize>)> {
    let mut rest = line.trim_start();
    if rest.is_empty() || rest.starts_with('#') || rest.starts_with("---") {
        return None;
    }
    let mut dash = None;
    while let Some(behind) = rest.strip_prefix("- ") {
        dash.get_or_insert(line.len() - rest.len());
        rest = behind.trim_start();
    }
    let indent = line.len() - rest.len();
    let key = rest.split_once(':').map(|(key, _)| key.trim());
    let key = key.filter(|key| {
        key.chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
    });
    Some((indent, key, dash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_path() {
        let text = "apiVersion: lantern/v1\nspec:\n  # a comment\n  lanes:\n    - marquee:\n        items:\n          - label: a\n            query: b\n          - label: c\n            query: d\n    - charts:\n        title: e\n";
        let check = |line, path: &str| assert_eq!(path_at(text, line), path, "line {line}");
        check(1, "apiVersion");
        check(4, "spec.lanes");
        check(5, "spec.lanes[0].marquee");
        check(8, "spec.lanes[0].marquee.items[0].query");
        check(10, "spec.lanes[0].marquee.items[1].query");
        check(12, "spec.lanes[1].charts.title");
        check(0, "");
        check(99, "spec.lanes[1].charts.title");
    }
}
