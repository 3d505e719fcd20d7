//! Tables as they stand on the page.

use super::*;
use crate::bus::acks::{Open, Waits};

fn round(peer: Peer, most: f64, p99: f64) -> Round {
    let open = |share: u32| Open {
        rate: most * f64::from(share) / 100.0,
        waits: Waits {
            p50: p99 / 4.0,
            p99,
            p999: p99 * 2.0,
            worst: p99 * 3.0,
        },
        behind: share == 90 && peer == Peer::Kafka,
    };
    Round {
        peer,
        most,
        open: SHARES.into_iter().map(open).collect(),
        cpu_per_million: 0.5,
        generator: 0.3,
        peak_mib: 64.0,
        verified: 1,
    }
}

#[test]
fn a_table_shows_medians_ratios_targets_and_what_failed() {
    let mut cell = Cell::new(Class::Flushed, Shape::new("100".parse().unwrap(), 1));
    cell.rounds = vec![
        round(Peer::Lantern, 1.2e6, 4.0),
        round(Peer::Redis, 3e5, 8.0),
        round(Peer::Kafka, 5e5, 12.0),
        round(Peer::Lantern, 1.0e6, 6.0),
        round(Peer::Redis, 5e5, 10.0),
        round(Peer::Kafka, 5e5, 14.0),
    ];
    cell.failures = vec![(Peer::Nats, "a record was\nchanged | lost".to_owned())];
    let expected = "\
| 100 × 1 | Lantern | 1.10 M (1.00 M to 1.20 M) |  | 1.25 / 5.00 / 10.0 ms | 1.25 / 5.00 / 10.0 ms | 1.25 / 5.00 / 10.0 ms | 1.25 / 5.00 / 10.0 ms | 0.50 | 0.30 | 64.0 | ≥ 1 M/s, p99 < 10 ms | met |
| 100 × 1 | Redis | 400 k (300 k to 500 k) | 3.00× | 2.25 / 9.00 / 18.0 ms | 2.25 / 9.00 / 18.0 ms | 2.25 / 9.00 / 18.0 ms | 2.25 / 9.00 / 18.0 ms | 0.50 | 0.30 | 64.0 | ≥ 2× | met |
| 100 × 1 | NATS JetStream | **a record was changed / lost** | | | | | | | | | | |
| 100 × 1 | Kafka | 500 k (500 k to 500 k) | 2.20× | 3.25 / 13.0 / 26.0 ms | 3.25 / 13.0 / 26.0 ms | 3.25 / 13.0 / 26.0 ms | 3.25 / 13.0 / 26.0 ms (fell behind) | 0.50 | 0.30 | 64.0 | ≥ 3× | **missed** |
";
    assert_eq!(rows(&cell), expected);
    let columns = |line: &str| line.matches('|').count();
    let wanted = columns(ACKS_HEAD.lines().next().unwrap());
    for line in expected.lines().chain(ACKS_HEAD.lines()) {
        assert_eq!(columns(line), wanted, "{line}");
    }
}

#[test]
fn catching_up_shows_both_caches_of_each_peer() {
    let caught = |peer, rate: f64| CaughtUp {
        peer,
        ready: 0.25,
        cold: Reading {
            rate,
            cpu_per_gib: 0.5,
            reader: 0.75,
            disk_mib: 140.2,
        },
        warm: Reading {
            rate: rate * 2.0,
            cpu_per_gib: 0.25,
            reader: 1.0,
            disk_mib: 0.0,
        },
        peak_mib: 64.0,
    };
    let rounds = [
        caught(Peer::Lantern, 3e6),
        caught(Peer::Kafka, 1e6),
        caught(Peer::Lantern, 5e6),
        caught(Peer::Kafka, 2e6),
    ];
    let expected = "\
| cold | Lantern | 4.00 M (3.00 M to 5.00 M) | 400 |  | 0.50 | 0.75 | 140 | 0.25 | 64 |
| cold | Kafka | 1.50 M (1.00 M to 2.00 M) | 150 | 2.75× | 0.50 | 0.75 | 140 | 0.25 | 64 |
| warm | Lantern | 8.00 M (6.00 M to 10.0 M) | 800 |  | 0.25 | 1.00 | 0 | 0.25 | 64 |
| warm | Kafka | 3.00 M (2.00 M to 4.00 M) | 300 | 2.75× | 0.25 | 1.00 | 0 | 0.25 | 64 |
";
    assert_eq!(caught_rows(&rounds), expected);
    let columns = |line: &str| line.matches('|').count();
    let wanted = columns(CATCH_UP_HEAD.lines().next().unwrap());
    for line in expected.lines().chain(CATCH_UP_HEAD.lines()) {
        assert_eq!(columns(line), wanted, "{line}");
    }
}

#[test]
fn a_median_is_the_middle() {
    let of = |values: &[f64]| Median::of(values.iter().copied());
    assert_eq!(of(&[3.0, 1.0, 2.0]).middle, 2.0);
    assert_eq!(of(&[4.0, 1.0]).middle, 2.5);
    assert_eq!(
        (of(&[9.0, 7.0]).least, of(&[9.0, 7.0]).greatest),
        (7.0, 9.0)
    );
    assert!(of(&[]).middle.is_nan());
    // A rate of less than a request in a run has no waits, and no row of a table shows that as a number.
    let none = Waits::of(&crate::spread::Spread::new());
    let waits = [none.p50, none.p99, none.p999].map(|wait| Median::of(std::iter::once(wait)));
    assert_eq!(three(waits), "too few requests");
}
