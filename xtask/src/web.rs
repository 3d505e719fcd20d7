//! The board's web page: `web/dist` is committed, so that a user needs no Node, and proven equal to
//! a fresh build.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{run, setup};

/// Builds `web/dist` from the sources.
pub(crate) fn build() -> Result<()> {
    setup::node("web")?;
    npm(&["run", "--silent", "build"])
}

/// Checks types, runs the unit tests, and compares `web/dist` with a fresh build.
pub(crate) fn check() -> Result<()> {
    setup::node("web")?;
    npm(&["run", "--silent", "check"])?;
    npm(&["test", "--silent"])?;
    let dist = run::root().join("web/dist");
    let before = files(&dist)?;
    npm(&["run", "--silent", "build"])?;
    let after = files(&dist)?;
    let differing: Vec<_> = before
        .keys()
        .chain(after.keys())
        .filter(|name| before.get(*name) != after.get(*name))
        .collect();
    if !differing.is_empty() {
        bail!("web/dist was not what the sources build ({differing:?}): commit the new one");
    }
    Ok(())
}

fn npm(args: &[&str]) -> Result<()> {
    run::check(
        run::command("npm")
            .current_dir(run::root().join("web"))
            .args(args),
    )
}

fn files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).with_context(|| next.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder)?.to_string_lossy().into_owned();
                found.insert(name, fs::read(&path)?);
            }
        }
    }
    Ok(found)
}
