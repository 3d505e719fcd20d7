//! The shop: every order goes an allowed way, at the rates and with the skew promised.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// `count` events at `rate` a second.
fn events(seed: u64, rate: f64, count: u32) -> Vec<Event> {
    let mut shop = Shop::new(seed);
    (0..count)
        .map(|n| shop.next(Duration::from_secs_f64(f64::from(n) / rate), n % 10 == 0))
        .collect()
}

#[test]
fn the_same_seed_plays_the_same_day() {
    assert_eq!(events(3, 500.0, 5_000), events(3, 500.0, 5_000));
    assert_ne!(events(3, 500.0, 5_000), events(4, 500.0, 5_000));
}

#[test]
fn shares_settle_where_as_many_orders_end_as_begin() {
    let day = events(1, 2_246.0, 2_246 * 180);
    let settled = &day[2_246 * 120..];
    let mut counts = BTreeMap::new();
    for event in settled {
        *counts.entry(event.status).or_insert(0.0) += 100.0 / settled.len() as f64;
    }
    let near = |status: Status, expected: f64| {
        let found = counts[&status];
        assert!(
            (found - expected).abs() < 1.0,
            "{status}: {found} %, expected {expected} %"
        );
    };
    // 2.876 events per order: 1 created, 0.86 paid, 0.80 shipped, …
    near(Status::Created, 34.8);
    near(Status::Paid, 29.9);
    near(Status::Shipped, 27.8);
    near(Status::Cancelled, 3.5);
    near(Status::Stalled, 2.6);
    near(Status::Refunded, 1.5);
}

#[test]
fn most_pay_within_two_seconds_and_a_few_much_later() {
    let mut created = BTreeMap::new();
    let mut waits = Vec::new();
    for event in events(1, 1_000.0, 200_000) {
        match event.status {
            Status::Created => drop(created.insert(event.order, event.at)),
            Status::Paid => {
                waits.push(event.at.as_secs_f64() - created[&event.order].as_secs_f64());
            }
            Status::Shipped | Status::Cancelled | Status::Refunded | Status::Stalled => (),
        }
    }
    waits.sort_by(f64::total_cmp);
    let quantile = |part: usize| waits[waits.len() * part / 1_000];
    assert!((0.8..1.1).contains(&quantile(500)), "p50 {}", quantile(500));
    assert!(quantile(900) < 2.5, "p90 {}", quantile(900));
    assert!(quantile(990) > 15.0, "p99 {}", quantile(990));
}

#[test]
fn a_few_products_and_customers_make_most_of_the_business() {
    let (mut products, mut customers, mut regions) =
        (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut orders = 0;
    for event in events(1, 1_000.0, 100_000)
        .iter()
        .filter(|e| e.status == Status::Created)
    {
        *products.entry(event.product).or_insert(0) += 1;
        *customers.entry(event.customer).or_insert(0) += 1;
        *regions.entry(event.region).or_insert(0) += 1;
        orders += 1;
    }
    assert_eq!(products.len(), 32);
    assert!(products["kettle"] > 5 * products["vase"]);
    assert!(
        customers.values().max().unwrap() * 100 > orders,
        "the best customer has over 1 %"
    );
    assert!(regions["eu"] > regions["us"] && regions["us"] > regions["mea"]);
    assert_eq!(regions.len(), 5);
}

fn may_follow(before: Option<Status>, status: Status) -> bool {
    match before {
        None => status == Status::Created,
        Some(Status::Created) => {
            matches!(status, Status::Paid | Status::Cancelled | Status::Stalled)
        }
        Some(Status::Paid) => {
            matches!(status, Status::Shipped | Status::Refunded | Status::Stalled)
        }
        Some(Status::Shipped) => status == Status::Refunded,
        Some(Status::Cancelled | Status::Refunded | Status::Stalled) => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn an_orders_life_is_never_out_of_order(seed: u64, rate in 0.5..5_000.0_f64) {
        let mut last: BTreeMap<u64, Event> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        for event in events(seed, rate, 5_000) {
            let before = last.insert(event.order, event);
            prop_assert!(may_follow(before.map(|e| e.status), event.status), "{before:?} {event:?}");
            prop_assert_eq!(event.step, before.map_or(0, |e| e.step) + 1);
            prop_assert!(ids.insert((event.order, event.step)));
            prop_assert!(event.amount_cents >= 100);
            if let Some(before) = before {
                prop_assert!(before.at <= event.at);
                let same = |e: &Event| (e.amount_cents, e.region, e.product, e.customer);
                prop_assert_eq!(same(&before), same(&event));
            }
        }
    }
}
