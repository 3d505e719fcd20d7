//! What boards say about themselves: each event writes its log line and bumps its counter together.

use tracing::{error, info, warn};

use crate::metrics::BoardMetrics;
use crate::problem::Problem;

pub(crate) struct BoardApplied<'a> {
    pub(crate) board: &'a str,
    pub(crate) generation: u32,
}

impl BoardApplied<'_> {
    pub(crate) fn log(&self) {
        info!(
            board = self.board,
            generation = self.generation,
            "Board is in force."
        );
    }
}

pub(crate) struct BoardRemoved<'a> {
    pub(crate) board: &'a str,
}

impl BoardRemoved<'_> {
    pub(crate) fn log(&self) {
        info!(board = self.board, "Board was removed.");
    }
}

pub(crate) struct BoardRefused<'a> {
    pub(crate) problem: &'a Problem,
}

impl BoardRefused<'_> {
    pub(crate) fn log(&self) {
        warn!(problem = %self.problem, "Board file is refused; what was in force stays.");
    }
}

pub(crate) struct BoardPanicked<'a> {
    pub(crate) board: &'a str,
    pub(crate) reason: &'a str,
}

impl BoardPanicked<'_> {
    pub(crate) fn log(&self, metrics: &BoardMetrics) {
        metrics.panics.inc();
        error!(
            board = self.board,
            reason = self.reason,
            "Board panicked; starting it again."
        );
    }
}

pub(crate) struct LanesNotKept<'a> {
    pub(crate) error: &'a broker::Error,
}

impl LanesNotKept<'_> {
    pub(crate) fn log(&self) {
        warn!(error = %self.error, "Lane positions are not kept; lanes start over after a restart.");
    }
}
