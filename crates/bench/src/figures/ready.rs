//! From the start of the process until everything answers.

use std::time::Duration;

use anyhow::Result;
use e2e::{Lantern, Place, Program};

use super::furnished;
use crate::Smoke;
use crate::page::Row;
use crate::spread::{Spread, short};

const ROUNDS: usize = 20;
/// The target.
const LIMIT_MS: f64 = 1_000.0;

pub(super) fn measure(_: &Smoke) -> Result<Vec<Row>> {
    let mut fresh = Spread::new();
    for _ in 0..ROUNDS {
        let place = furnished()?;
        let lantern = Lantern::start(&place, &[])?;
        fresh.add(lantern.ready_after);
        lantern.kill9()?;
    }
    let mut again = Spread::new();
    let place = furnished()?;
    fill(&place)?;
    for _ in 0..ROUNDS {
        let lantern = Lantern::start(&place, &[])?;
        again.add(lantern.ready_after);
        lantern.kill9()?;
    }
    let row = |what: &str, spread: &Spread| {
        let (median, worst) = (spread.at(50.0), spread.at(100.0));
        let text = format!(
            "median {} ms, worst of {ROUNDS} {} ms",
            short(median),
            short(worst)
        );
        Row::new(what, text).target("< 1 s", worst < LIMIT_MS)
    };
    Ok(vec![
        row("start → ready, no data", &fresh),
        row(
            "start → ready after kill -9, with what a minute of orders left",
            &again,
        ),
    ])
}

/// A minute of the demo, and then a kill.
fn fill(place: &Place) -> Result<()> {
    let lantern = Lantern::start(place, &[])?;
    let args = [
        "demo",
        "orders",
        "--rate",
        "2246",
        "--duration",
        "60s",
        "--kafka",
        &lantern.kafka,
    ];
    Program::start(e2e::binary(), &args)?.finish(Duration::from_mins(3))?;
    lantern.kill9()
}
