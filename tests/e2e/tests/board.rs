//! The boards in Debian's Chromium: what is shown, whether it moves, and what a kill does to an open page.
//!
//! The checks stand in `tests/e2e/board`; pictures of both boards go to `tests/e2e/out`, for a look.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use e2e::{Lantern, Place, Program, binary, node};

/// The checks take a third of this on two slow cores.
const CHECKS_LIMIT: Duration = Duration::from_mins(5);

/// Until the page is open and the marquee has turned twice.
const WATCHING: Duration = Duration::from_mins(1);

/// Starts `node board/SCRIPT http://HOST:PORT …`.
fn script(name: &str, lantern: &Lantern, rest: &[(&str, &Path)]) -> Result<Program> {
    let mut args = vec![format!("board/{name}").into(), lantern.url("").into()];
    for (flag, path) in rest {
        args.push((*flag).into());
        args.push(path.as_os_str().to_owned());
    }
    Program::start(node()?, &args)
}

#[test]
fn both_boards_show_what_is_so_in_a_browser() -> Result<()> {
    let place = Place::new()?;
    let lantern = Lantern::start(&place, &[])?;
    let demo = Program::start(binary(), &["demo", "orders", "--broker", &lantern.kafka])?;
    let conf = place.path("conf.d");
    let out = Path::new("out");
    let rules = place.path("rules");
    let rest: [(&str, &Path); 4] = [
        ("--conf", &conf),
        ("--edit", &conf),
        ("--rules", &rules),
        ("--out", out),
    ];
    let printed = script("board.mjs", &lantern, &rest)?.finish(CHECKS_LIMIT)?;
    println!("{printed}");
    demo.interrupt(Duration::from_secs(10))?;
    Ok(())
}

#[test]
fn a_group_that_stands_still_is_seen_on_the_board_of_consumers() -> Result<()> {
    let place = Place::new()?;
    let lantern = Lantern::start(&place, &[])?;
    let (kafka, binary) = (lantern.kafka.clone(), binary());
    let rest: [(&str, &Path); 3] = [
        ("--kafka", Path::new(&kafka)),
        ("--lantern", &binary),
        ("--out", Path::new("out")),
    ];
    let printed = script("consumers.mjs", &lantern, &rest)?.finish(CHECKS_LIMIT)?;
    println!("{printed}");
    Ok(())
}

#[test]
fn an_open_page_survives_a_kill_and_its_marquee_goes_on() -> Result<()> {
    let place = Place::new()?;
    let lantern = Lantern::start(&place, &[])?;
    let mut page = script("survives.mjs", &lantern, &[])?;
    page.said("watching", WATCHING)?;
    let _lantern = lantern.kill9_and_start_again(&place, &[])?;
    println!("{}", page.finish(CHECKS_LIMIT)?);
    Ok(())
}
