//! Resource files by kind: what `conf.d/` holds becomes boards, meters and listeners here.
//!
//! A file of its own, with nothing of folders in it, so that `fuzz/targets/resources.rs` goes the way the binary goes.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

/// One file as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// What a resource file says it is.
#[derive(Debug, Deserialize)]
struct Head {
    #[serde(rename = "apiVersion")]
    api_version: Option<String>,
    kind: Option<String>,
}

/// Why a file is not in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The file, or the folder that cannot be read.
    pub(crate) file: String,
    /// The whole sentence, with the file and where in it.
    pub(crate) text: String,
}

impl Refusal {
    pub(crate) fn new(file: impl fmt::Display, text: impl fmt::Display) -> Self {
        Self {
            file: file.to_string(),
            text: text.to_string(),
        }
    }
}

/// Resource files by kind.
#[derive(Debug, Default)]
pub(crate) struct ByKind {
    pub(crate) boards: Vec<File>,
    pub(crate) meters: Vec<File>,
    pub(crate) listeners: Vec<File>,
    /// Files that are no resource we know, with the reason.
    pub(crate) problems: Vec<Refusal>,
}

/// Sorts resource files by their kind.
pub(crate) fn by_kind(files: Vec<File>) -> ByKind {
    let mut sorted = ByKind::default();
    for file in files {
        let shown = file.path.display();
        let refusal = |reason: &str| Refusal::new(&shown, format!("{shown}: {reason}"));
        let head: Head = match serde_saphyr::from_str(&file.text) {
            Ok(head) => head,
            Err(error) => {
                sorted.problems.push(refusal(&error.to_string()));
                continue;
            }
        };
        if head.api_version.as_deref() != Some("lantern/v1") {
            sorted
                .problems
                .push(refusal("apiVersion must be lantern/v1"));
            continue;
        }
        match head.kind.as_deref() {
            Some("Board") => sorted.boards.push(file),
            Some("Meter") => sorted.meters.push(file),
            Some("Listener") => sorted.listeners.push(file),
            other => {
                let kind = other.unwrap_or("nothing");
                let reason = format!("kind is {kind}, must be Board, Meter or Listener");
                sorted.problems.push(refusal(&reason));
            }
        }
    }
    sorted
}
