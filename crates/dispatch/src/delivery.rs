//! What a listener gets, and the two ways to be one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use delivery::Outcome;
use model::{Offset, TopicPartition};
use record::{Record, SharedRecord};
use serde::de::DeserializeOwned;

use crate::held::Lot;
use crate::spans::Trace;

/// One attempt to deliver one record.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Where the record is.
    pub partition: Arc<TopicPartition>,
    /// Its number there.
    pub offset: Offset,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How long the attempt may take: what is left until the record's deadline, if it has one.
    pub remaining: Option<Duration>,
    pub(crate) shared: SharedRecord,
    /// What it is traced as, if it is.
    pub(crate) trace: Option<Trace>,
    /// What orders it among the others of one call.
    pub(crate) chain: Option<Chain>,
    /// Keeps count of the memory that it lies in.
    pub(crate) _lot: Arc<Lot>,
}

/// One partition and key.
pub(crate) type Chain = (::delivery::SourceId, u64);

/// Chains in which a record of this call was not taken: what follows in them must not be called, as that would be
/// out of order. Whatever is said of it, it comes again.
#[derive(Debug, Default)]
pub(crate) struct Broken(Vec<Chain>);

impl Broken {
    /// The outcome of a record that follows one that was not taken.
    pub(crate) fn held_back(&self, delivery: &Delivery) -> Option<Outcome> {
        let held_back = delivery.chain.is_some_and(|chain| self.0.contains(&chain));
        held_back.then(|| Outcome::Failed {
            error: "held back behind a record of its key".to_owned(),
            after: None,
        })
    }

    /// Takes note of an outcome.
    pub(crate) fn note(&mut self, delivery: &Delivery, outcome: &Outcome) {
        if *outcome != Outcome::Done {
            self.0.extend(delivery.chain);
        }
    }
}

impl Delivery {
    /// The record: key, value, headers, timestamp.
    #[expect(
        clippy::missing_panics_doc,
        reason = "the batch was checked when it came in"
    )]
    pub fn record(&self) -> Record<'_> {
        #[expect(clippy::expect_used, reason = "it was read when the delivery was made")]
        self.shared
            .get()
            .expect("a record that was read once is read again")
    }

    /// The span of this call, to put spans of one's own below it; `None` where there is no tracing.
    pub fn trace(&self) -> Option<&opentelemetry::Context> {
        self.trace.as_ref().map(Trace::context)
    }

    /// The value as JSON.
    ///
    /// # Errors
    /// What serde says of it; a missing value is read as `null`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(self.record().value.unwrap_or(b"null"))
    }
}

/// What a call of a listener returns: one outcome for each delivery, in order. Missing ones count as failed.
pub type Outcomes<'a> = Pin<Box<dyn Future<Output = Vec<Outcome>> + Send + 'a>>;

/// Who gets records: a webhook, or code of whoever embeds Lantern.
///
/// Calls come concurrently, as many as the listener's `concurrency`; of one key (or partition) one at a time. A
/// record may come again after a crash, a failure or a late answer: at least once.
pub trait Listener: Send + Sync + 'static {
    /// Takes up to `batch` records.
    fn deliver<'a>(&'a self, deliveries: &'a [Delivery]) -> Outcomes<'a>;
}

/// A listener made of a function over one event of type `T`, read from the record's JSON value.
///
/// A value that is no `T` is refused for good, with serde's words, and becomes a dead letter. An error of
/// the function is a failure that is tried again.
///
/// ```
/// #[derive(serde::Deserialize)]
/// struct Order { id: String, amount_cents: u64 }
///
/// let listener = dispatch::typed(|order: Order, _delivery| async move {
///     if order.amount_cents > 100_000 { return Err("needs a look") }
///     Ok(())
/// });
/// # let _: &dyn dispatch::Listener = &listener;
/// ```
pub fn typed<T, E, F, R>(function: F) -> impl Listener
where
    T: DeserializeOwned + Send + Sync + 'static,
    E: std::fmt::Display + Send,
    F: Fn(T, Delivery) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), E>> + Send,
{
    Typed {
        function,
        event: std::marker::PhantomData::<fn() -> T>,
    }
}

struct Typed<F, T> {
    function: F,
    event: std::marker::PhantomData<fn() -> T>,
}

impl<T, E, F, R> Listener for Typed<F, T>
where
    T: DeserializeOwned + Send + Sync + 'static,
    E: std::fmt::Display + Send,
    F: Fn(T, Delivery) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), E>> + Send,
{
    fn deliver<'a>(&'a self, deliveries: &'a [Delivery]) -> Outcomes<'a> {
        Box::pin(async move {
            let mut outcomes = Vec::with_capacity(deliveries.len());
            let mut broken = Broken::default();
            for delivery in deliveries {
                if let Some(outcome) = broken.held_back(delivery) {
                    outcomes.push(outcome);
                    continue;
                }
                let outcome = match delivery.json::<T>() {
                    Ok(event) => match (self.function)(event, delivery.clone()).await {
                        Ok(()) => Outcome::Done,
                        Err(error) => Outcome::Failed {
                            error: error.to_string(),
                            after: None,
                        },
                    },
                    Err(error) => Outcome::Refused {
                        error: format!("the value is no such event: {error}"),
                    },
                };
                broken.note(delivery, &outcome);
                outcomes.push(outcome);
            }
            outcomes
        })
    }
}
