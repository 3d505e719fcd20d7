//! The figures, in the order of the page.

mod build;
mod idle;
mod journal;
mod overload;
mod pixel;
mod produce;
mod ready;
mod restart;
mod webhook;

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};
use e2e::Place;

use crate::page::{Row, put, table};
use crate::{Smoke, machine};

pub(crate) use idle::resident_mib;

type Measure = fn(&Smoke) -> Result<Vec<Row>>;

const FIGURES: [(&str, Measure); 11] = [
    ("ready", ready::measure),
    ("restart", restart::measure),
    ("idle", idle::measure),
    ("produce", produce::measure),
    ("journal", journal::measure),
    ("overload", overload::measure),
    ("consume", produce::measure_consumer),
    ("webhook", webhook::measure),
    ("pixel", pixel::measure),
    ("binary", build::measure_binary),
    ("build", build::measure),
];

/// Measures and writes the page after each figure; whether all could be measured.
pub(crate) fn run(smoke: &Smoke) -> Result<bool> {
    let known = |name: &String| FIGURES.iter().any(|(figure, _)| figure == name);
    if let Some(unknown) = smoke.only.iter().find(|name| !known(name)) {
        let names: Vec<&str> = FIGURES.iter().map(|(name, _)| *name).collect();
        bail!(
            "there is no figure '{unknown}': there are {}",
            names.join(", ")
        );
    }
    let path = e2e::root().join("docs/figures.md");
    let machine = machine::line();
    let mut all = true;
    for (name, measure) in FIGURES {
        let wanted = smoke.only.is_empty() || smoke.only.iter().any(|only| only == name);
        if !wanted || (name == "build" && smoke.no_build_time) {
            continue;
        }
        println!("==> {name}");
        let rows = measure(smoke).unwrap_or_else(|error| {
            all = false;
            vec![Row::new(
                name,
                format!("could not be measured: {error:#}").replace('\n', " "),
            )]
        });
        for row in &rows {
            println!("{}: {}", row.what, row.measured);
        }
        let page = fs::read_to_string(&path)?;
        fs::write(&path, put(&page, name, &table(&rows, &machine))?)?;
    }
    Ok(all)
}

/// A place with the project's own boards, meters and rules.
fn furnished() -> Result<Place> {
    let place = Place::new()?;
    let rules = e2e::root().join("rules");
    for entry in fs::read_dir(rules)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        fs::copy(&path, place.path(&format!("rules/{name}")))?;
    }
    Ok(place)
}

/// A runtime for figures that speak to Lantern.
fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

fn size(path: &Path) -> Result<f64> {
    Ok(fs::metadata(path)?.len() as f64 / 1_048_576.0)
}
