//! What a subscriber has still to look at: one merged set of touched watches, and a bell.

use std::sync::Arc;

use parking_lot::Mutex;
use series::Touched;
use tokio::sync::Notify;

/// One subscriber's set, shared with the service that fills it.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    touched: Mutex<Touched>,
    bell: Notify,
}

impl Pending {
    /// Adds to the set and rings.
    pub(crate) fn add(&self, touched: &Touched) {
        self.touched.lock().merge(touched);
        self.bell.notify_one();
    }
}

/// Hears which watches of the store got samples.
#[derive(Debug)]
pub struct Subscription(pub(crate) Arc<Pending>);

impl Subscription {
    /// Waits until a watch is touched and answers all that were since the last time. Cancel safe.
    pub async fn touched(&mut self) -> Touched {
        loop {
            let taken = std::mem::take(&mut *self.0.touched.lock());
            if !taken.is_empty() {
                return taken;
            }
            self.0.bell.notified().await;
        }
    }
}
