//! The section `transactions` of `lantern.yaml`: what transactional producers may ask for.
//!
//! Not here: what the values mean together (`transactions::Options`).

use broker::TransactionOptions;
use serde::{Deserialize, Serialize};
use stdx::HumanDuration;

/// What can be said about transactions. Names in comments are Kafka's.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Transactions {
    /// `transaction.max.timeout.ms`: the longest timeout a transactional producer may ask for.
    pub(crate) timeout_max: HumanDuration,
    /// `transactional.id.expiration.ms`: an id without an open transaction is forgotten after this long without a call.
    pub(crate) id_expiry: HumanDuration,
}

impl Default for Transactions {
    fn default() -> Self {
        let options = TransactionOptions::default();
        Self {
            timeout_max: HumanDuration::new(options.timeout_max),
            id_expiry: HumanDuration::new(options.id_expiry),
        }
    }
}

impl Transactions {
    /// The coordinator's options that say so.
    pub(crate) fn options(&self) -> TransactionOptions {
        TransactionOptions {
            timeout_max: self.timeout_max.get(),
            id_expiry: self.id_expiry.get(),
            ..TransactionOptions::default()
        }
    }
}
