//! `lantern topic`, `produce`, `consume` and `group`: their runtime, Ctrl-C and exit codes.

use std::process::ExitCode;

use anyhow::Result;
use kafka_cli::{Command, Error, Stage};
use tokio_util::sync::CancellationToken;

/// Exit code of a command that was used wrongly; the flags themselves are clap's, which has the same.
const BAD_USE: u8 = 2;

/// Does it. Errors are told here, as some have a hint on a line of its own.
pub(crate) fn run(command: Command) -> Result<ExitCode> {
    // Fetching goes on while a terminal takes its time to print.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        let stop = CancellationToken::new();
        let told = stop.clone();
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                told.cancel();
            }
        });
        let mut stage = Stage::of_process(stop);
        let result = kafka_cli::run(command, &mut stage).await;
        // What stands there when a command fails belongs to it, too.
        let flushed = stage.out.flush().map_err(Error::from);
        result.and(flushed)
    });
    // A thread may still read a terminal: nobody waits for it.
    runtime.shutdown_background();
    let Err(error) = result else {
        return Ok(ExitCode::SUCCESS);
    };
    if error.is_broken_pipe() {
        return Ok(ExitCode::SUCCESS);
    }
    let is_bad_use = error.is_bad_use();
    let hint = error.hint().map(str::to_owned);
    // The words of a failed request are in its text already; its cause would repeat them.
    let text = match error {
        Error::Failed { .. } => error.to_string(),
        other => format!("{:#}", anyhow::Error::from(other)),
    };
    eprintln!("lantern: {text}");
    if let Some(hint) = hint {
        eprintln!("{hint}");
    }
    Ok(if is_bad_use {
        ExitCode::from(BAD_USE)
    } else {
        ExitCode::FAILURE
    })
}
