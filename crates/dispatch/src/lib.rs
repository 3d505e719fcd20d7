//! Listeners: who gets the records of a topic, one delivery contract for webhooks and for code.
//!
//! Read first: [`Listener`] (who gets records) and [`Spec`] (what a user may choose), then `running`, the event
//! loop of one listener. The decisions are made by the `delivery` crate.
//!
//! A listener is a consumer group that reads the log at its own pace: the log is its queue, so a slow one costs no
//! memory and slows nobody. Delivery is at least once, in order of each key; what fails is tried again and in the
//! end becomes a record of `TOPIC.dlq`.
//!
//! Invariants: a record is finished when its listener took it or its dead letter is durable, and only then its offset may
//! be committed; a panic in a listener costs one attempt.
//! Not here: alert notifications (`alerting`), rules, boards.
//!
//! ```
//! # async fn example(broker: broker::DynBroker, clock: env::DynClock, entropy: env::DynEntropy) {
//! use std::sync::Arc;
//! use dispatch::{Inputs, ListenerFile, Service};
//!
//! #[derive(serde::Deserialize)]
//! struct Order { id: String }
//!
//! let print: Arc<dyn dispatch::Listener> = Arc::new(dispatch::typed(|order: Order, _| async move {
//!     println!("{}", order.id);
//!     Ok::<(), String>(())
//! }));
//! let native = [("print".to_owned(), print)].into();
//! let service = Service::new(Inputs { broker, clock, entropy, native, healing: Default::default(), memory: Default::default() });
//! let text = "{apiVersion: lantern/v1, kind: Listener, metadata: {name: print}, spec: {topics: orders, native: print}}";
//! let file = ListenerFile { path: "print.yaml".into(), text: text.to_owned() };
//! service.handle().apply(&[file]).unwrap();
//! service.run(tokio_util::sync::CancellationToken::new()).await;
//! # }
//! ```
#![forbid(unsafe_code)]

mod aside;
mod aside_log;
mod context;
mod dead_letter;
mod delivery;
pub mod headers;
mod held;
mod intake;
mod letters;
mod meaning;
mod memory;
mod metrics;
mod offers;
mod replay;
mod running;
mod service;
mod sources;
mod spans;
mod spec;
mod status;
mod supervisor;
mod webhook;

pub use self::delivery::{Delivery, Listener, Outcomes, typed};
pub use ::delivery::{HealingOptions, Outcome, Policy, Priority, Reason, Retry};
pub use letters::{Content, Filter, FilterError, Letter, LetterError, LetterTopic, Origin};
pub use memory::MemoryOptions;
pub use replay::{Replay, Replayed};
pub use service::{Handle, Inputs, Service};
pub use spans::Tracing;
pub use spec::{Deduplicate, From, Kind, ListenerFile, Ordering, Problem, Spec, Webhook};
pub use status::{Shown, Status};
