//! What is worth a line: one struct per event, which also bumps the counter.

use std::time::Duration;

use tracing::debug;

use crate::Refused;
use crate::metrics::Metrics;

/// A sender was told to pause.
pub(crate) struct Throttled<'a> {
    pub(crate) client: &'a str,
    pub(crate) what: &'static str,
    pub(crate) pause: Duration,
}

impl Throttled<'_> {
    pub(crate) fn happened(self, metrics: &Metrics) {
        metrics.throttled(self.what, self.pause);
        debug!(client = self.client, what = self.what, pause = ?self.pause, "A sender was told to pause.");
    }
}

/// Work was refused.
pub(crate) struct TurnedAway<'a> {
    pub(crate) client: &'a str,
    pub(crate) refused: Refused,
}

impl TurnedAway<'_> {
    pub(crate) fn happened(self, metrics: &Metrics) {
        metrics.refused(self.refused.reason);
        debug!(client = self.client, refused = %self.refused, "Work was not admitted.");
    }
}
