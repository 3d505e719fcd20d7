//! `lantern rules check`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use stdx::Counted;

use crate::resources::{self, File};

/// Says of every file whether it would be taken.
pub(crate) fn check(paths: &[PathBuf]) -> Result<ExitCode> {
    let mut files = Vec::new();
    for path in paths {
        let shown = path.display();
        if path.is_dir() {
            let found = resources::read(path).with_context(|| format!("cannot read {shown}"))?;
            files.extend(found.unwrap_or_default());
        } else {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
            files.push(File {
                path: path.clone(),
                text,
            });
        }
    }
    let rule_files: Vec<alerting::RuleFile> = files
        .iter()
        .map(|file| alerting::RuleFile {
            name: file.path.display().to_string(),
            path: file.path.clone(),
            text: file.text.clone(),
        })
        .collect();
    match alerting::check(&rule_files) {
        Ok(report) => {
            println!(
                "{}, {}, {}: good",
                Counted(files.len(), "file"),
                Counted(report.groups, "group"),
                Counted(report.rules, "rule")
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(problems) => {
            for problem in &problems {
                eprintln!("{problem}");
            }
            eprintln!("{}", Counted(problems.len(), "problem"));
            Ok(ExitCode::FAILURE)
        }
    }
}
