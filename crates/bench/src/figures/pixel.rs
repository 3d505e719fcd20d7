//! An event of the orders demo until it is on the screen of a real browser.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::{Lantern, Program};
use serde_json::Value;

use super::furnished;
use crate::Smoke;
use crate::page::Row;
use crate::spread::short;

const WARMUP_SECONDS: u64 = 10;
const LIMIT_MS: f64 = 40.0;

pub(super) fn measure(smoke: &Smoke) -> Result<Vec<Row>> {
    let place = furnished()?;
    let lantern = Lantern::start(&place, &[])?;
    let args = [
        "demo",
        "orders",
        "--rate",
        "2246",
        "--kafka",
        &lantern.kafka,
    ];
    let demo = Program::start(e2e::binary(), &args)?;
    let seconds = smoke.minutes * 60;
    let base = lantern.url("");
    let [watched, warmup] = [seconds, WARMUP_SECONDS].map(|number| number.to_string());
    let args = [
        "board/latency.mjs",
        &base,
        "--board",
        "orders",
        "--seconds",
        &watched,
        "--warmup",
        &warmup,
        "--baseline",
        &watched,
    ];
    let limit = Duration::from_secs(2 * seconds + WARMUP_SECONDS + 60);
    let printed = Program::start(e2e::node()?, &args)?.finish(limit)?;
    drop(demo);
    let json = printed.lines().rev().find(|line| line.starts_with('{'));
    let told: Value = serde_json::from_str(json.context("latency.mjs printed no figures")?)?;
    let number = |path: &str| {
        let number = told.pointer(path).and_then(Value::as_f64);
        number.with_context(|| format!("latency.mjs told no number at {path}"))
    };
    let ms = |name: &str| number(&format!("/event_to_pixel_ms/{name}"));
    let (p50, p99, p999) = (ms("p50")?, ms("p99")?, ms("p999")?);
    let refused = number("/refusals/crc")?
        + number("/refusals/gap")?
        + number("/refusals/generation")?
        + number("/refusals/malformed")?;
    // An empty page was watched for as long, under the same load.
    let idle = number("/baseline/dropped")?;
    let dropped = number("/dropped")?;
    let paced = |kind: &str| -> Result<String> {
        let at = |name: &str| number(&format!("/{kind}_ms/{name}"));
        Ok(format!("{} / {} ms", short(at("p50")?), short(at("p99")?)))
    };
    Ok(vec![
        Row::new(
            format!(
                "event → pixel at 2,246/s over {} min (p50 / p99 / p99.9)",
                smoke.minutes
            ),
            format!("{} / {} / {} ms", short(p50), short(p99), short(p999)),
        )
        .target("p99 < 40 ms", p99 < LIMIT_MS),
        Row::new("the same for charts (p50 / p99)", paced("chart")?),
        Row::new(
            "for the ticker, which turns twice a second",
            paced("ticker")?,
        ),
        Row::new("for trends, which change once a second", paced("trend")?),
        Row::new(
            "frames dropped (by an empty page in as long, under the same load)",
            format!("{dropped} ({idle}) of {}", number("/frames")?),
        )
        .target("none above", dropped <= idle),
        Row::new(
            "of them in seconds in which the host took more than 2 % of the processors (the same of the empty page)",
            format!(
                "{} in {} such seconds of {seconds} ({} in {})",
                number("/stolen/dropped")?,
                number("/stolen/seconds")?,
                number("/baseline/stolen/dropped")?,
                number("/baseline/stolen/seconds")?
            ),
        ),
        Row::new("frames per second", short(number("/fps")?)),
        Row::new(
            "frames refused or inconsistent",
            (refused + number("/inconsistencies")?).to_string(),
        ),
    ])
}
