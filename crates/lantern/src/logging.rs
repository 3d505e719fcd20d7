//! Log output: text for a terminal, JSON otherwise; `LANTERN_LOG` chooses levels (default `info`).

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::prelude::*;

use crate::cli::LogFormat;

/// Starts logging to standard error.
pub(crate) fn start(format: Option<LogFormat>) {
    let terminal = std::io::stderr().is_terminal();
    let format = format.unwrap_or(if terminal {
        LogFormat::Text
    } else {
        LogFormat::Json
    });
    let filter = EnvFilter::try_from_env("LANTERN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    // Fails only when logging was started before: then it already goes somewhere.
    let _ = match format {
        LogFormat::Text => registry
            .with(
                layer()
                    .with_writer(std::io::stderr)
                    .with_ansi(terminal)
                    .with_target(false),
            )
            .try_init(),
        LogFormat::Json => registry
            .with(
                layer()
                    .json()
                    .flatten_event(true)
                    .with_writer(std::io::stderr),
            )
            .try_init(),
    };
}
