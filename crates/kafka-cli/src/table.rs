//! Tables of text: columns as wide as their widest cell, numbers to the right.

use std::io::{self, Write};

use crate::style::{Style, Styled};

/// Between columns.
const GAP: &str = "  ";

/// Rows under headings.
#[derive(Debug)]
pub(crate) struct Table {
    headings: Vec<&'static str>,
    /// Columns of numbers.
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table; a heading that begins with `>` is over numbers.
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Self {
            headings: headings
                .iter()
                .map(|name| name.trim_start_matches('>'))
                .collect(),
            right: headings.iter().map(|name| name.starts_with('>')).collect(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, the headings first.
    pub(crate) fn lines(&self, colors: bool) -> Vec<String> {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|cell| cell.chars().count()).max();
            let heading = self.headings.get(column).map_or(0, |name| name.len());
            widest.unwrap_or_default().max(heading)
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let cells = cells.zip(widths.iter().zip(&self.right));
            let cells = cells.map(|(cell, (width, right))| match right {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            });
            let line = cells.collect::<Vec<_>>().join(GAP);
            line.trim_end().to_owned()
        };
        let heading = line(&mut self.headings.iter().copied());
        let heading = Styled(heading, Style::Bold, colors).to_string();
        let rows = self.rows.iter();
        let rows = rows.map(|row| line(&mut row.iter().map(String::as_str)));
        std::iter::once(heading).chain(rows).collect()
    }

    pub(crate) fn print(&self, out: &mut dyn Write, colors: bool) -> io::Result<()> {
        for line in self.lines(colors) {
            writeln!(out, "{line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["TOPIC", ">RECORDS", "NOTE"]);
        table.row(["orders".into(), "12,345".into(), String::new()]);
        table.row(["audit".into(), "7".into(), "old".into()]);
        insta::assert_snapshot!(table.lines(false).join("\n"), @r"
        TOPIC   RECORDS  NOTE
        orders   12,345
        audit         7  old
        ");
    }
}
