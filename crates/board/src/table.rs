//! A table: what several queries say of the same labels, side by side.
//!
//! Invariants: rows of the worst level come first and others by name, so that a row stays where it is while its
//! values move; of several samples with the same labels the worst counts, as everywhere on a board.

use std::collections::BTreeMap;

use frame::Level;
use serde_json::json;
use series::Labels;

use crate::cells::OwnedRow;
use crate::plan::TablePlan;
use crate::queries::QueryState;

/// The rows of `plan` from what its queries gave last.
pub(crate) fn rows(plan: &TablePlan, queries: &[QueryState]) -> Vec<OwnedRow> {
    let mut table: BTreeMap<Vec<&str>, Row> = BTreeMap::new();
    for (at, column) in plan.columns.iter().enumerate() {
        for sample in queries[column.query].result() {
            let key = plan.by.iter();
            let key = key.map(|label| sample.labels.get(label).unwrap_or_default());
            let row = table.entry(key.collect()).or_insert_with(|| Row {
                values: vec![None; plan.columns.len()],
                levels: vec![0; plan.columns.len()],
                worst: Level::None,
            });
            let level = column
                .levels
                .map_or(Level::None, |levels| levels.level(sample.value));
            let known = (row.levels[at], row.values[at]);
            if sample.value.is_finite() && (level.code(), Some(sample.value)) > known {
                (row.levels[at], row.values[at]) = (level.code(), Some(sample.value));
                row.worst = row.worst.max(level);
            }
        }
    }
    let mut rows: Vec<(Vec<&str>, Row)> = table.into_iter().collect();
    // Stable: equals stay in the order of their names.
    rows.sort_by_key(|(_, row)| std::cmp::Reverse(attention(row.worst)));
    rows.truncate(plan.rows);
    rows.into_iter()
        .map(|(key, row)| {
            let names = plan.by.iter().map(String::as_str);
            let id = Labels::of(&names.zip(key.iter().copied()).collect::<Vec<_>>());
            OwnedRow {
                // 53 bits of the hash, so that the number survives JavaScript.
                row_id: (id.hash_value() >> 11) as f64,
                t_ms: 0.0,
                level: row.worst,
                text: json!({ "key": key, "values": row.values, "levels": row.levels }).to_string(),
            }
        })
        .collect()
}

#[derive(Debug)]
struct Row {
    values: Vec<Option<f64>>,
    levels: Vec<u8>,
    worst: Level,
}

/// What is well need not come before what has no level.
fn attention(level: Level) -> u8 {
    match level {
        Level::None | Level::Healthy => 0,
        Level::Info => 1,
        Level::Warning => 2,
        Level::Critical => 3,
    }
}
