//! One event of the shop, and how it looks as a record.
//!
//! Invariants: the header names, the JSON fields and their order are those of the crate's page, which
//! meters and boards rely on; no text in an event needs escaping in JSON.

use std::fmt::{self, Write as _};
use std::time::Duration;

use model::Timestamp;
use record::BatchBuilder;

use crate::random::mix;

/// What happened to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It was placed.
    Created,
    /// The payment came.
    Paid,
    /// It left the house.
    Shipped,
    /// The customer thought better of it before paying.
    Cancelled,
    /// The money went back.
    Refunded,
    /// Nothing happened for too long.
    Stalled,
}

impl Status {
    /// All of them, in the order of an order's life.
    pub const ALL: [Self; 6] = [
        Self::Created,
        Self::Paid,
        Self::Shipped,
        Self::Cancelled,
        Self::Refunded,
        Self::Stalled,
    ];

    /// The word in the value's `status`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Paid => "paid",
            Self::Shipped => "shipped",
            Self::Cancelled => "cancelled",
            Self::Refunded => "refunded",
            Self::Stalled => "stalled",
        }
    }

    /// The event type in `ce_type`.
    pub const fn event_type(self) -> &'static str {
        match self {
            Self::Created => "order.created",
            Self::Paid => "order.paid",
            Self::Shipped => "order.shipped",
            Self::Cancelled => "order.cancelled",
            Self::Refunded => "order.refunded",
            Self::Stalled => "order.stalled",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One event of one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// When it happened, since the shop opened.
    pub at: Duration,
    /// The order's number, from 0.
    pub order: u64,
    /// The number of the event in the order's life, from 1.
    pub step: u8,
    /// What happened.
    pub status: Status,
    /// The order's total in cents, above 0.
    pub amount_cents: u64,
    /// Where the customer is.
    pub region: &'static str,
    /// What was bought.
    pub product: &'static str,
    /// Who bought it, below 100,000.
    pub customer: u32,
}

/// Writes events as records. Keeps its buffers, so that an event costs no allocation.
#[derive(Debug)]
pub struct Writer {
    /// Makes the order ids of one run unlike those of another.
    run: u64,
    opened: Timestamp,
    order: String,
    id: String,
    time: String,
    trace: String,
    value: String,
}

impl Writer {
    /// A writer for a shop with this seed that opened at `opened`.
    pub fn new(seed: u64, opened: Timestamp) -> Self {
        let text = String::new;
        Self {
            run: mix(seed),
            opened,
            order: text(),
            id: text(),
            time: text(),
            trace: text(),
            value: text(),
        }
    }

    /// The event's order id: the record key.
    pub fn key(&mut self, event: &Event) -> &[u8] {
        self.order.clear();
        // Writing into a String does not fail.
        let _ = write!(self.order, "o-{:06x}-{}", self.run & 0xff_ffff, event.order);
        self.order.as_bytes()
    }

    /// Adds the event to a batch.
    pub fn write(&mut self, event: &Event, to: &mut BatchBuilder) {
        self.key(event);
        let at = self.opened.plus(event.at);
        for text in [
            &mut self.id,
            &mut self.time,
            &mut self.trace,
            &mut self.value,
        ] {
            text.clear();
        }
        let _ = write!(self.id, "{}-{}", self.order, event.step);
        // Every time a clock can show is in range.
        if let Ok(time) = jiff::Timestamp::from_millisecond(at.millis()) {
            let _ = write!(self.time, "{time:.3}");
        }
        let trace = [mix(self.run ^ event.order), mix(!self.run ^ event.order)];
        let span = mix(trace[0] ^ u64::from(event.step)).max(1);
        let _ = write!(
            self.trace,
            "00-{:016x}{:016x}-{span:016x}-01",
            trace[0],
            trace[1].max(1)
        );
        let _ = write!(
            self.value,
            r#"{{"order":"{}","status":"{}","amount_cents":{},"currency":"EUR","region":"{}","product":"{}","customer":"c-{:05}"}}"#,
            self.order,
            event.status,
            event.amount_cents,
            event.region,
            event.product,
            event.customer,
        );
        let headers = [
            ("ce_specversion", Some(&b"1.0"[..])),
            ("ce_id", Some(self.id.as_bytes())),
            ("ce_type", Some(event.status.event_type().as_bytes())),
            ("ce_source", Some(b"/demo/shop")),
            ("ce_time", Some(self.time.as_bytes())),
            ("ce_subject", Some(self.order.as_bytes())),
            ("content-type", Some(b"application/json")),
            ("traceparent", Some(self.trace.as_bytes())),
        ];
        to.push(
            at,
            Some(self.order.as_bytes()),
            Some(self.value.as_bytes()),
            &headers,
        );
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use record::Compression;

    use super::*;

    #[test]
    fn a_record_is_as_the_page_says() {
        let event = Event {
            at: Duration::from_millis(1_678),
            order: 17,
            step: 2,
            status: Status::Paid,
            amount_cents: 1_234,
            region: "eu",
            product: "kettle",
            customer: 42,
        };
        let mut batch = BatchBuilder::new(Compression::None);
        Writer::new(1, Timestamp::from_millis(1_767_323_044_000)).write(&event, &mut batch);
        let records = batch.build().records().unwrap();
        let record = records.iter().next().unwrap().unwrap();
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
        let mut shown = format!("{} at {}\n", text(record.key), record.timestamp);
        for (name, value) in &record.headers {
            writeln!(shown, "{name}: {}", text(value)).unwrap();
        }
        shown += &text(record.value);
        assert_snapshot!(shown, @r#"
    o-0b05e5-17 at 1767323045678
    ce_specversion: 1.0
    ce_id: o-0b05e5-17-2
    ce_type: order.paid
    ce_source: /demo/shop
    ce_time: 2026-01-02T03:04:05.678Z
    ce_subject: o-0b05e5-17
    content-type: application/json
    traceparent: 00-a23579d845a1c7d0d453abd0db932d40-d3e5761bd256898a-01
    {"order":"o-0b05e5-17","status":"paid","amount_cents":1234,"currency":"EUR","region":"eu","product":"kettle","customer":"c-00042"}
    "#);
        let value: serde_json::Value = serde_json::from_str(&text(record.value)).unwrap();
        assert_eq!(value["amount_cents"], 1_234);
    }
}
