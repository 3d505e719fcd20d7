//! How far the check is, on one line of a terminal.

use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result};
use broker::{VerifyProgress, VerifyStage};
use env::Clock;

use super::text::{bytes, rate};

/// Time between two looks.
const EVERY: Duration = Duration::from_millis(200);

/// Columns of the line; longer paths lose their front.
const COLUMNS: usize = 100;

/// Runs `check` on a thread of its own and shows how far it is until it ends.
pub(super) fn beside<T: Send>(
    check: impl FnOnce() -> T + Send,
    progress: &VerifyProgress,
    clock: &dyn Clock,
    data_dir: &Path,
) -> Result<T> {
    let (done, wait) = sync_channel(1);
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("lantern-check".to_owned())
            .spawn_scoped(scope, move || drop(done.send(check())))?;
        let mut reading_since = None;
        loop {
            match wait.recv_timeout(EVERY) {
                Ok(answer) => {
                    show("");
                    return Ok(answer);
                }
                Err(RecvTimeoutError::Disconnected) => {
                    show("");
                    return Err(io::Error::other("the check ended by a panic"))
                        .context("this is a bug in Lantern");
                }
                Err(RecvTimeoutError::Timeout) => {
                    let stage = progress.stage();
                    if let VerifyStage::Reading { .. } = stage {
                        reading_since.get_or_insert_with(|| clock.monotonic());
                    }
                    let took = reading_since.map(|since| clock.monotonic().saturating_sub(since));
                    show(&line(&stage, took.unwrap_or_default(), data_dir));
                }
            }
        }
    })
}

/// Replaces the line.
fn show(line: &str) {
    let mut terminal = io::stderr().lock();
    // A terminal that went away is no reason to stop.
    drop(write!(terminal, "\r\x1b[2K{line}").and_then(|()| terminal.flush()));
}

fn line(stage: &VerifyStage, took: Duration, data_dir: &Path) -> String {
    match stage {
        VerifyStage::Trying { read } => {
            format!("trying a start in memory: {} read", bytes(*read))
        }
        VerifyStage::Reading { done, total, file } => {
            let percent = done.saturating_mul(100).checked_div(*total).unwrap_or(100);
            let rate = rate(*done, took);
            let left = match total.saturating_sub(*done).checked_div(rate) {
                Some(seconds) => format!("{seconds} s left"),
                None => String::new(),
            };
            let head = format!(
                "{percent} %  {} of {}  {}/s  {left}  ",
                bytes(*done),
                bytes(*total),
                bytes(rate),
            );
            let file = file.strip_prefix(data_dir).unwrap_or(file);
            let file = file.display().to_string();
            let room = COLUMNS.saturating_sub(head.chars().count());
            let skip = file.chars().count().saturating_sub(room);
            head + &file.chars().skip(skip).collect::<String>()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_how_fast_and_where() {
        let stage = VerifyStage::Reading {
            done: 3 << 30,
            total: 10 << 30,
            file: "/data/topics/orders/x/0/00000000000000000000.log".into(),
        };
        let shown = line(&stage, Duration::from_secs(6), Path::new("/data"));
        assert_eq!(
            shown,
            "30 %  3.0 GiB of 10.0 GiB  512.0 MiB/s  14 s left  topics/orders/x/0/00000000000000000000.log"
        );
        let stage = VerifyStage::Reading {
            done: 0,
            total: 0,
            file: "/data/".into(),
        };
        assert!(line(&stage, Duration::ZERO, Path::new("/data")).starts_with("100 %"));
        let long = VerifyStage::Reading {
            done: 1,
            total: 2,
            file: format!("/data/{}/end.log", "x".repeat(300)).into(),
        };
        let shown = line(&long, Duration::from_secs(1), Path::new("/data"));
        assert_eq!(
            (shown.chars().count(), shown.ends_with("end.log")),
            (COLUMNS, true)
        );
    }
}
