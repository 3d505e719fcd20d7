//! The shop: decides what happens next, told the time, repeated by its seed.
//!
//! ```text
//!                ┌─ 10 % ─> cancelled
//!   created ─────┼─ 86 % ─> paid ──┬─ 93 % ─> shipped ── 2 % ─> refunded
//!                │   (3 % late)    ├─  3 % ─> refunded
//!                └─  4 % ─> stalled└─  4 % ─> stalled
//! ```
//!
//! Whoever asks decides the pace: each call is one event. If something is due in an order's life it
//! happens, the longest due first; otherwise a customer places an order. So the share of new orders
//! settles where as many orders end as begin.
//!
//! Invariants: an order's events come in the order of the picture; the same seed and times give the
//! same events; at most [`ORDERS_OPEN_MAX`] orders are open (then the next one due happens early).
//! Not here: the pace (`schedule`), bytes (`event`).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::event::{Event, Status};
use crate::random::{Random, Zipf, mix};

/// Most orders whose next event is still to come: bounds memory at about 60 MiB.
pub const ORDERS_OPEN_MAX: usize = 1_000_000;

/// Customers; those with small numbers order most.
const CUSTOMERS: u32 = 20_000;

/// What the shop sells, with the usual total of an order in cents. The first are bought most.
const PRODUCTS: [(&str, u32); 32] = [
    ("kettle", 3_900),
    ("lamp", 5_400),
    ("mug", 1_200),
    ("notebook", 900),
    ("backpack", 7_900),
    ("headphones", 12_900),
    ("teapot", 4_500),
    ("umbrella", 2_400),
    ("keyboard", 8_900),
    ("blanket", 3_500),
    ("clock", 4_200),
    ("chair", 18_900),
    ("desk", 34_900),
    ("monitor", 24_900),
    ("speaker", 9_900),
    ("camera", 54_900),
    ("tripod", 6_900),
    ("tent", 21_900),
    ("stove", 5_900),
    ("bottle", 1_900),
    ("bicycle", 89_900),
    ("helmet", 6_400),
    ("gloves", 2_900),
    ("scarf", 2_200),
    ("boots", 13_900),
    ("jacket", 15_900),
    ("drone", 69_900),
    ("tablet", 44_900),
    ("router", 11_900),
    ("cable", 700),
    ("vase", 3_300),
    ("lantern", 8_800),
];

/// Where customers are, with how many of a hundred.
const REGIONS: [(&str, u64); 5] = [
    ("eu", 44),
    ("us", 27),
    ("apac", 17),
    ("latam", 8),
    ("mea", 4),
];

/// An order whose next event is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Open {
    due: Duration,
    order: u64,
    step: u8,
    next: Status,
    amount_cents: u64,
    region: &'static str,
    product: &'static str,
    customer: u32,
}

/// A shop and its open orders.
#[derive(Debug)]
pub struct Shop {
    random: Random,
    seed: u64,
    products: Zipf,
    customers: Zipf,
    next_order: u64,
    open: BinaryHeap<Reverse<Open>>,
}

impl Shop {
    /// A shop that opens now, with nothing ordered yet.
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            seed,
            products: Zipf::new(32, 0.9),
            customers: Zipf::new(CUSTOMERS, 0.8),
            next_order: 0,
            open: BinaryHeap::new(),
        }
    }

    /// Orders whose next event is still to come.
    pub fn open_orders(&self) -> usize {
        self.open.len()
    }

    /// What happens at `at` since the opening. Times of successive calls must not go back. During a
    /// `rush` every third new order is for the product of the moment.
    pub fn next(&mut self, at: Duration, rush: bool) -> Event {
        let full = self.open.len() >= ORDERS_OPEN_MAX;
        let due = self
            .open
            .peek()
            .is_some_and(|Reverse(first)| first.due <= at || full);
        match due.then(|| self.open.pop()).flatten() {
            Some(Reverse(open)) => self.go_on(at, open),
            None => self.place(at, rush),
        }
    }

    fn place(&mut self, at: Duration, rush: bool) -> Event {
        let (product, usual) = if rush && self.random.unit() < 0.33 {
            // Another one every minute.
            let index = mix(self.seed ^ (at.as_secs() / 60)) % 32;
            PRODUCTS[usize::try_from(index).unwrap_or_default()]
        } else {
            PRODUCTS[self.products.pick(&mut self.random)]
        };
        let customer = u32::try_from(self.customers.pick(&mut self.random)).unwrap_or_default();
        let cents = self
            .random
            .log_normal(f64::from(usual), 0.35)
            .round()
            .clamp(100.0, 1e7);
        let order = self.next_order;
        self.next_order += 1;
        let placed = Open {
            due: at,
            order,
            step: 1,
            next: Status::Created,
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped to a positive range just above"
            )]
            amount_cents: cents as u64,
            region: region_of(customer),
            product,
            customer,
        };
        self.go_on(at, placed)
    }

    /// Lets the event happen that `open` waits for, and decides what comes after it.
    fn go_on(&mut self, at: Duration, open: Open) -> Event {
        if let Some((next, wait)) = self.what_follows(open.next, open.step) {
            let due = at + Duration::from_secs_f64(wait);
            self.open.push(Reverse(Open {
                due,
                step: open.step + 1,
                next,
                ..open
            }));
        }
        Event {
            at,
            order: open.order,
            step: open.step,
            status: open.next,
            amount_cents: open.amount_cents,
            region: open.region,
            product: open.product,
            customer: open.customer,
        }
    }

    /// What follows an event, and after how many seconds. `None`: that was the last.
    fn what_follows(&mut self, status: Status, step: u8) -> Option<(Status, f64)> {
        let chance = self.random.unit();
        let random = &mut self.random;
        match status {
            Status::Created if chance < 0.83 => {
                Some((Status::Paid, random.log_normal(0.9, 0.5).clamp(0.05, 10.0)))
            }
            // Paid late: a transfer, or a reminder that helped.
            Status::Created if chance < 0.86 => Some((Status::Paid, random.between(15.0, 90.0))),
            Status::Created if chance < 0.96 => Some((
                Status::Cancelled,
                random.log_normal(2.0, 0.8).clamp(0.2, 30.0),
            )),
            Status::Created => Some((Status::Stalled, random.between(20.0, 25.0))),
            Status::Paid if chance < 0.93 => Some((
                Status::Shipped,
                random.log_normal(2.5, 0.4).clamp(0.3, 20.0),
            )),
            Status::Paid if chance < 0.96 => Some((Status::Refunded, random.between(1.0, 6.0))),
            Status::Paid => Some((Status::Stalled, random.between(12.0, 15.0))),
            Status::Shipped if chance < 0.02 && step < u8::MAX => {
                Some((Status::Refunded, random.between(5.0, 30.0)))
            }
            Status::Shipped | Status::Cancelled | Status::Refunded | Status::Stalled => None,
        }
    }
}

/// A customer stays in one region.
fn region_of(customer: u32) -> &'static str {
    let mut point = mix(u64::from(customer) + 1) % 100;
    for (region, share) in REGIONS {
        if point < share {
            return region;
        }
        point -= share;
    }
    REGIONS[0].0
}

#[cfg(test)]
mod tests;
