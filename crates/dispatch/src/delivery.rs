//! What a listener gets, and the two ways to be one.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use delivery::Outcome;
use model::{Offset, TopicPartition};
use record::{Record, SharedRecord};
use serde::de::DeserializeOwned;

use crate::answer::{Answer, Answering, Outputs};
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

/// Who gets records: a webhook, or code of whoever embeds Lantern.
///
/// Calls come concurrently, as many as the listener's `concurrency`; of one key (or partition) one at a time. A
/// record may come again after a crash, a failure or a late answer: at least once.
pub trait Listener: Send + Sync + 'static {
    /// Takes up to `batch` records.
    fn deliver<'a>(&'a self, deliveries: &'a [Delivery]) -> Answering<'a>;
}

/// A listener made of a function over one event of type `T`, read from the record's JSON value.
///
/// A value that is no `T` is refused for good, with serde's words, and becomes a dead letter. An error of
/// the function is a failure that is tried again. What it returns goes to the output topic: nothing, one [`Output`], an
/// `Option` or a `Vec` of them. For that the resource must name one; else such a record is refused.
///
/// ```
/// use dispatch::Output;
///
/// #[derive(serde::Deserialize)]
/// struct Order { id: String, amount_cents: u64 }
///
/// let listener = dispatch::typed(|order: Order, _delivery| async move {
///     if order.amount_cents > 100_000 { return Err("needs a look") }
///     Ok(())
/// });
/// # let _: &dyn dispatch::Listener = &listener;
/// let invoices = dispatch::typed(|order: Order, _delivery| async move {
///     Output::json(&(order.id, order.amount_cents))
/// });
/// # let _: &dyn dispatch::Listener = &invoices;
/// ```
///
/// [`Output`]: crate::Output
pub fn typed<T, O, E, F, R>(function: F) -> impl Listener
where
    T: DeserializeOwned + Send + Sync + 'static,
    O: Into<Outputs> + Send,
    E: std::fmt::Display + Send,
    F: Fn(T, Delivery) -> R + Send + Sync + 'static,
    R: Future<Output = Result<O, E>> + Send,
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

impl<T, O, E, F, R> Listener for Typed<F, T>
where
    T: DeserializeOwned + Send + Sync + 'static,
    O: Into<Outputs> + Send,
    E: std::fmt::Display + Send,
    F: Fn(T, Delivery) -> R + Send + Sync + 'static,
    R: Future<Output = Result<O, E>> + Send,
{
    fn deliver<'a>(&'a self, deliveries: &'a [Delivery]) -> Answering<'a> {
        Box::pin(async move {
            let mut answer = Answer::from(Vec::with_capacity(deliveries.len()));
            let mut broken = Broken::default();
            for (number, delivery) in deliveries.iter().enumerate() {
                if let Some(outcome) = broken.held_back(delivery) {
                    answer.outcomes.push(outcome);
                    continue;
                }
                let outcome = match delivery.json::<T>() {
                    Ok(event) => match (self.function)(event, delivery.clone()).await {
                        Ok(made) => {
                            let made = made.into().0.into_iter();
                            answer.outputs.extend(made.map(|one| one.of(number)));
                            Outcome::Done
                        }
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
                answer.outcomes.push(outcome);
            }
            answer
        })
    }
}
