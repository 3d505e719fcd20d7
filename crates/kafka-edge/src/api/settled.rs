//! Waits until what was acknowledged before a question can be read, so that its answer knows of it.
//!
//! `acks=1` is answered from the page cache, and readers see only what is flushed: between the two, for as
//! long as a flush takes, who wrote would not find it at the end of the log. Clients that ask for that end
//! expect what they were told is written.

use std::time::Duration;

use broker::Marks;
use model::TopicPartition;
use tokio::time::{Instant, timeout_at};

use crate::context::Call;

/// The longest that one request waits, over all its partitions: far beyond a flush, and short enough for a
/// partition that is frozen and will never get there.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// The patience of one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settled {
    deadline: Instant,
}

impl Settled {
    /// For one request, from now on.
    pub(super) fn begin() -> Self {
        Self {
            deadline: Instant::now() + WAIT_MAX,
        }
    }

    /// The marks of `of`, once everything before its log end of now is readable, or the patience has ended.
    ///
    /// # Errors
    /// Those of [`broker::Broker::marks`].
    pub(super) async fn marks(
        self,
        call: &Call,
        of: &TopicPartition,
    ) -> Result<Marks, broker::Error> {
        let now = call.broker().marks(of).await?;
        if now.high_watermark >= now.log_end {
            return Ok(now);
        }
        let mut watch = call.broker().watch(of)?;
        let readable = watch.wait_for(|high_watermark| *high_watermark >= now.log_end);
        tokio::select! {
            // Late or closed, what there is is the answer.
            _ = timeout_at(self.deadline, readable) => (),
            () = call.peer.gone.cancelled() => (),
        }
        call.broker().marks(of).await
    }
}
