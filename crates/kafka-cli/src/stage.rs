//! What a command stands on: where it prints, what it reads, the clock, and when it is told to stop.
//!
//! Commands know no terminal and no process: a test gives them a stage of its own.

use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::sync::Arc;

use env::{DynClock, RealClock};
use tokio_util::sync::CancellationToken;

/// Bytes of output that are collected before they are written.
const OUTPUT_BYTES: usize = 64 << 10;

/// What a command stands on.
#[expect(
    clippy::struct_excessive_bools,
    reason = "three ends that each are a terminal or not, and colours: no states"
)]
pub struct Stage {
    /// Where data goes.
    pub out: Box<dyn Write + Send + Sync>,
    /// Where words about it go.
    pub err: Box<dyn Write + Send + Sync>,
    /// Where records and answers to questions come from.
    pub input: Option<Box<dyn Read + Send + Sync>>,
    /// Whether `out` is a terminal.
    pub out_is_terminal: bool,
    /// Whether `err` is a terminal.
    pub err_is_terminal: bool,
    /// Whether `input` is a terminal.
    pub input_is_terminal: bool,
    /// Whether to print in colours.
    pub colors: bool,
    /// What time it is.
    pub clock: DynClock,
    /// Ends what goes on and on, in good order.
    pub stop: CancellationToken,
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage").finish_non_exhaustive()
    }
}

impl Stage {
    /// The process' own input, output and clock; `stop` is told by Ctrl-C.
    pub fn of_process(stop: CancellationToken) -> Self {
        let out_is_terminal = io::stdout().is_terminal();
        // https://no-color.org: set and not empty means none.
        let plain = std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            out: Box::new(BufWriter::with_capacity(OUTPUT_BYTES, io::stdout())),
            err: Box::new(io::stderr()),
            input: Some(Box::new(io::stdin())),
            out_is_terminal,
            err_is_terminal: io::stderr().is_terminal(),
            input_is_terminal: io::stdin().is_terminal(),
            colors: out_is_terminal && !plain && !dumb,
            clock: Arc::new(RealClock::new()),
            stop,
        }
    }

    /// Says something about what is done, beside the data. Nobody listening is no error.
    pub(crate) fn note(&mut self, text: impl std::fmt::Display) {
        drop(writeln!(self.err, "{text}"));
        drop(self.err.flush());
    }

    /// Columns and rows of the terminal, if the output is one that says so.
    pub(crate) fn size(&self) -> Option<(usize, usize)> {
        if !self.out_is_terminal {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        let (columns, rows) = (size.ws_col.into(), size.ws_row.into());
        (columns > 0 && rows > 0).then_some((columns, rows))
    }
}
