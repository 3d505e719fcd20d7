//! Pages of `docs/` that show figures: text by hand, tables between markers.

use anyhow::{Context, Result};

/// One row of a figure's table.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) measured: String,
    pub(crate) target: Option<Target>,
}

/// What was wanted, and whether it was reached.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) text: &'static str,
    pub(crate) met: bool,
}

impl Row {
    pub(crate) fn new(what: impl Into<String>, measured: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            measured: measured.into(),
            target: None,
        }
    }

    pub(crate) fn target(mut self, text: &'static str, met: bool) -> Self {
        self.target = Some(Target { text, met });
        self
    }
}

/// A table with the line that says where it was measured.
pub(crate) fn table(rows: &[Row], machine: &str) -> String {
    let mut text = String::from("| | measured | target | |\n|---|---|---|---|\n");
    for row in rows {
        let (target, met) = match &row.target {
            Some(target) => (target.text, if target.met { "met" } else { "**missed**" }),
            None => ("", ""),
        };
        text.push_str(
            &format_args!("| {} | {} | {target} | {met} |\n", row.what, row.measured).to_string(),
        );
    }
    text.push_str(&format_args!("\n{machine}\n").to_string());
    text
}

/// The page with the table of `name` in its place, which must exist.
pub(crate) fn put(page: &str, name: &str, table: &str) -> Result<String> {
    let begin = format!("<!-- generated: {name} -->\n");
    let end = "<!-- end -->";
    let missing = || format!("the page has no place for '{name}': add {begin}{end}");
    let from = page.find(&begin).with_context(missing)? + begin.len();
    let length = page[from..].find(end).with_context(missing)?;
    Ok(format!(
        "{}\n{table}\n{}",
        &page[..from],
        &page[from + length..]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_the_place_of_the_last_one() {
        let page = "a\n<!-- generated: x -->\nold\n<!-- end -->\nb\n";
        let once = put(page, "x", "new").unwrap();
        assert_eq!(once, "a\n<!-- generated: x -->\n\nnew\n<!-- end -->\nb\n");
        assert_eq!(put(&once, "x", "new").unwrap(), once);
        assert!(put(page, "y", "new").is_err());
    }
}
