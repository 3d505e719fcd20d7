//! Demos that play a business over the Kafka port.
//!
//! The one demo so far is `orders`: a shop whose orders pass from `created` to `paid` to `shipped`,
//! or end `cancelled`, `refunded` or `stalled`, with skew, bursts and late payments.
//!
//! # What the records look like
//!
//! Topic [`ORDERS_TOPIC`] (4 partitions, created if missing), one record per event, CloudEvents 1.0 in
//! Kafka binary mode. The record key is the order id, so one order's events keep their order.
//! The record timestamp is the moment the event happened, in milliseconds.
//!
//! | header | value |
//! |---|---|
//! | `ce_specversion` | `1.0` |
//! | `ce_id` | unique per event, e.g. `o-1f3a9c-17-2` (the order id and the number of its event) |
//! | `ce_type` | `order.created`, `order.paid`, `order.shipped`, `order.cancelled`, `order.refunded` or `order.stalled` |
//! | `ce_source` | `/demo/shop` |
//! | `ce_time` | RFC 3339 with milliseconds, e.g. `2026-01-02T03:04:05.678Z` |
//! | `ce_subject` | the order id, equal to the record key |
//! | `content-type` | `application/json` |
//! | `traceparent` | `00-<32 hex>-<16 hex>-01`; the trace id is the same for all events of one order |
//!
//! The value is one JSON object, always with these seven fields in this order:
//!
//! ```json
//! {"order":"o-1f3a9c-17","status":"paid","amount_cents":1234,"currency":"EUR","region":"eu","product":"kettle","customer":"c-00042"}
//! ```
//!
//! | field | meaning |
//! |---|---|
//! | `order` | the order id, equal to the record key |
//! | `status` | `created`, `paid`, `shipped`, `cancelled`, `refunded` or `stalled`: the last word of `ce_type` |
//! | `amount_cents` | the order's total in cents, a whole number above 0; the same in every event of one order |
//! | `currency` | `EUR` |
//! | `region` | `eu`, `us`, `apac`, `latam` or `mea` |
//! | `product` | one of 32 short words (`kettle`, `lamp`, …) |
//! | `customer` | `c-` and five digits |
//!
//! Each order starts with `created`; `paid` follows after about a second (a few after many seconds:
//! late payments), `shipped` follows `paid`; `cancelled` follows `created`; `refunded` follows `paid`
//! or `shipped`; `stalled` follows `created` (payment never came) or `paid` (never shipped) and ends
//! the order. Revenue is the sum of `amount_cents` over `paid` minus that over `refunded`.
//!
//! # How it is played
//!
//! [`play_orders`] keeps an open loop: when each event happens is fixed beforehand ([`Schedule`]), what
//! happens is decided by the seeded [`Shop`], and both know no clock, so a seed repeats a run. Latency
//! counts from the intended time. Printing and flags are the roof's.
//!
//! ```
//! use std::time::Duration;
//! use demo::{Schedule, Shop, Status};
//!
//! let (mut schedule, mut shop) = (Schedule::new(100.0, 7, false), Shop::new(7));
//! let slot = schedule.take();
//! let event = shop.next(slot.at, slot.rush);
//! assert_eq!((event.at, event.status), (Duration::ZERO, Status::Created));
//! ```

#![forbid(unsafe_code)]

mod error;
mod event;
mod orders;
mod random;
mod report;
mod schedule;
mod shop;

pub use error::Error;
pub use event::{Event, Status, Writer};
pub use orders::{OrdersOptions, play_orders};
pub use report::{Latency, Progress, Summary};
pub use schedule::{Schedule, Slot};
pub use shop::{ORDERS_OPEN_MAX, Shop};

/// The topic the `orders` demo writes to.
pub const ORDERS_TOPIC: &str = "orders";

/// Its partitions, if the demo creates it.
pub const ORDERS_PARTITIONS: u32 = 4;

/// One demo, for the list that `lantern demo` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DemoInfo {
    /// What to call it.
    pub name: &'static str,
    /// What it plays, in a sentence.
    pub summary: &'static str,
    /// A command that plays it.
    pub example: &'static str,
    /// The board that shows it.
    pub board: &'static str,
}

/// All demos.
pub fn demos() -> &'static [DemoInfo] {
    &[DemoInfo {
        name: "orders",
        summary: "a shop whose orders are created, paid and shipped, or cancelled, refunded, stalled",
        example: "lantern demo orders --rate 2246 --duration 60s",
        board: "orders",
    }]
}
