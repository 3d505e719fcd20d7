//! Rule files: Prometheus' own YAML, read strictly, every problem with its place.
//!
//! Invariant: what comes out has passed every check, expressions and templates included.
//! Not here: what replaces what (`service`). Source: Prometheus' `docs/configuration`, with one key of
//! ours: `early_evaluation: false` in a group keeps it to its ticks.

mod compile;
mod schema;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::spec::GroupSpec;

/// A rule file as it was read.
#[derive(Debug, Clone)]
pub struct RuleFile {
    /// Where it is, for people.
    pub path: PathBuf,
    /// Its path inside the folder of rules: part of the identity of its rules, so that a folder that
    /// moves keeps its alerts.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// Something wrong with a rule file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// Line and column, from 1; 0 when there is no place to name.
    pub line: u64,
    /// See `line`.
    pub column: u64,
    /// What is wrong, and with what.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return write!(f, "{}: {}", self.file, self.reason);
        }
        write!(
            f,
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.reason
        )
    }
}

/// What is in a set of good files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Groups in all files.
    pub groups: usize,
    /// Rules in all groups.
    pub rules: usize,
}

/// Checks files without putting them in force.
///
/// # Errors
/// Everything that is wrong in any of them.
pub fn check(files: &[RuleFile]) -> Result<Report, Vec<Problem>> {
    let groups = compile(files, crate::Options::default().interval)?;
    Ok(report(&groups))
}

pub(crate) fn report(groups: &[Arc<GroupSpec>]) -> Report {
    Report {
        groups: groups.len(),
        rules: groups.iter().map(|group| group.rules.len()).sum(),
    }
}

/// The groups of all files, in their order.
pub(crate) fn compile(
    files: &[RuleFile],
    interval: Duration,
) -> Result<Vec<Arc<GroupSpec>>, Vec<Problem>> {
    let mut groups = Vec::new();
    let mut problems = Vec::new();
    for file in files {
        let path = file.path.display().to_string();
        let mut compiler = compile::Compiler::new(path, file.name.clone(), interval);
        groups.extend(compiler.file(&file.text).into_iter().map(Arc::new));
        problems.append(&mut compiler.problems);
    }
    if problems.is_empty() {
        Ok(groups)
    } else {
        Err(problems)
    }
}

#[cfg(test)]
mod tests;
