//! Listeners: who gets the records of a topic, one delivery contract for webhooks and for code.
//!
//! Read first: [`Listener`] (who gets records) and [`Spec`] (what a user may choose), then `running`, the event
//! loop of one listener. The decisions are made by the `delivery` crate.
//!
//! A listener is a consumer group that reads the log at its own pace: the log is its queue, so a slow one costs no
//! memory and slows nobody. Delivery is at least once, in order of each key; what fails is tried again and in the
//! end becomes a record of `TOPIC.dlq`. What a listener answers goes to the output topic that its resource may name, in one
//! transaction with its progress and its dead letters: exactly once for who reads what is committed.
//!
//! Invariants: a record is finished when its listener took it or its dead letter is durable, and only then, or in one
//! transaction with that, its offset may be committed; a panic in a listener costs one attempt.
//! Not here: alert notifications (`alerting`), rules, boards.
//!
//! ```
//! # async fn example(broker: broker::DynBroker) {
//! use dispatch::{Inputs, ListenerFile, Service};
//!
//! #[derive(serde::Deserialize)]
//! struct Order { id: String }
//!
//! let print = dispatch::typed(|order: Order, _| async move {
//!     println!("{}", order.id);
//!     Ok::<(), String>(())
//! });
//! let service = Service::new(Inputs::new(broker).with_native("print", print));
//! let file = ListenerFile::of("print", "{topics: orders, native: print}");
//! service.handle().apply(&[file]).unwrap();
//! service.run(tokio_util::sync::CancellationToken::new()).await;
//! # }
//! ```
#![forbid(unsafe_code)]

mod answer;
mod aside;
mod aside_log;
mod cloud_event;
mod context;
mod dead_letter;
mod delivery;
mod derived;
pub mod headers;
mod held;
mod intake;
mod letters;
mod meaning;
mod memory;
mod metrics;
mod offers;
mod outbox;
mod problems;
mod replay;
mod running;
mod service;
mod sources;
mod spans;
mod spec;
mod status;
mod supervisor;
mod transact;
mod webhook;

pub use self::delivery::{Delivery, Listener, typed};
pub use ::delivery::{HealingOptions, Outcome, Policy, Priority, Reason, Retry};
pub use answer::{Answer, Answering, Output, Outputs};
pub use cloud_event::{EventError, read_events};
pub use letters::{
    Content, Filter, FilterError, Letter, LetterError, LetterTopic, Letters, Origin,
};
pub use memory::MemoryOptions;
pub use problems::{Problem, Problems};
pub use replay::{Replay, Replayed};
pub use service::{Handle, Inputs, Service};
pub use spans::Tracing;
pub use spec::{Deduplicate, From, Kind, ListenerFile, Ordering, Spec, Webhook};
pub use status::{Shown, Status};
