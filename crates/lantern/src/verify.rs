//! `lantern verify`: looks at a data directory and changes nothing.
//!
//! Exit codes: 0 sound; 1 something would be cut or kept aside, or is damaged; 2 nothing was checked.
//! Not here: the check (`broker::verify`).

mod json;
mod progress;
mod text;

use std::io::{self, IsTerminal, Write};
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use broker::{Finding, StartAction, Verified, VerifyOptions, VerifyProgress};
use env::{DynClock, RealClock, RealDisk};
use model::limits::METRICS_TOPIC;

use crate::cli::{Output, VerifyFlags};

/// Nothing was checked.
const BAD_USE: u8 = 2;

/// The file of the samples kept between two runs.
const SAMPLES: &str = "samples";

/// Segments looked at at the same time, at most: more only make a disk seek.
const THREADS_MAX: usize = 8;

/// Checks the directory and says what is in it.
pub(crate) fn run(flags: &VerifyFlags) -> Result<ExitCode> {
    crate::up::open_files_as_many_as_allowed();
    let clock: DynClock = Arc::new(RealClock::new());
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let options = VerifyOptions {
        data_dir: flags.data_dir.clone(),
        log_dirs: crate::config::absolute(&flags.log_dir)?,
        disk: RealDisk::shared(),
        clock: Arc::clone(&clock),
        threads: threads.min(THREADS_MAX),
        others: vec![SAMPLES],
    };
    let shown = VerifyProgress::default();
    let check = || broker::verify(&options, &shown);
    let checked = if io::stderr().is_terminal() {
        progress::beside(check, &shown, &*clock, &flags.data_dir)?
    } else {
        check()
    };
    let mut found = match checked {
        Ok(found) => found,
        Err(error) => {
            eprintln!("lantern: {error}");
            return Ok(ExitCode::from(BAD_USE));
        }
    };
    check_samples(&options, &mut found);
    let report = match flags.output {
        Output::Text => text::report(&flags.data_dir, &found),
        Output::Json => json::report(&flags.data_dir, &found)?,
    };
    match io::stdout().write_all(report.as_bytes()) {
        // Whoever reads it has read enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    Ok(if found.is_sound() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Looks at the samples kept between two runs. They are a cache: without them the log is replayed.
fn check_samples(options: &VerifyOptions, found: &mut Verified) {
    let path = options.data_dir.join(SAMPLES);
    let log = found.partitions.iter().find(|log| {
        log.opens && log.id.topic.as_str() == METRICS_TOPIC && log.id.partition.get() == 0
    });
    let what = match log {
        Some(log) => {
            let file = ingest::SnapshotFile::new(Arc::clone(&options.disk), &path);
            match file.check(log.topic, log.log_end.into()) {
                Ok(_) => return,
                Err(reason) => reason.to_string(),
            }
        }
        None if options.disk.exists(&path).unwrap_or(false) => {
            format!("there is no log of {METRICS_TOPIC} that it belongs to")
        }
        None => return,
    };
    found.note(Finding {
        partition: None,
        path,
        position: None,
        bytes: None,
        what: format!("the kept samples are passed over, the log is replayed: {what}"),
        start: StartAction::Rebuild,
    });
}
