//! The ring under every order of its threads: `cargo xtask test models`.
//!
//! Small on purpose: two or three items, one or two readers; what can go wrong goes wrong there.

use std::sync::Arc;

use loom::future::block_on;
use loom::thread;

use super::*;

/// Every order with at most three switches of threads against their will: more find nothing and take hours.
fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(run);
}

/// Reads to the end, waiting; answers what came and how many were passed over by laps.
fn read_to_end(mut reader: Reader<Arc<u64>>) -> (Vec<u64>, u64) {
    let (mut got, mut missed) = (Vec::new(), 0);
    loop {
        let before = reader.cursor();
        match reader.poll(2, |item| {
            got.push(*item);
            true
        }) {
            Polled::Items(count) => assert_eq!(reader.cursor(), before + count as u64),
            Polled::Empty => {
                let seen = reader.cursor();
                block_on(reader.past(seen));
            }
            Polled::Lapped { resume_at } => {
                assert!(resume_at > before, "lapped, and yet it is there");
                missed += resume_at - before;
                reader.attach(resume_at);
            }
            Polled::Closed => return (got, missed),
        }
    }
}

fn assert_rising(got: &[u64], missed: u64, published: u64) {
    assert!(got.windows(2).all(|pair| pair[0] < pair[1]), "{got:?}");
    assert_eq!(
        got.len() as u64 + missed,
        published,
        "{got:?} and {missed} missed"
    );
}

#[test]
fn loom_what_fits_is_read_whole_and_the_end_is_heard() {
    model(|| {
        let mut publisher = Publisher::new(4);
        let reader = publisher.subscribe();
        let reading = thread::spawn(move || read_to_end(reader));
        publisher.publish(Arc::new(0));
        publisher.publish_all([Arc::new(1), Arc::new(2)]);
        drop(publisher);
        assert_eq!(reading.join().unwrap(), (vec![0, 1, 2], 0));
    });
}

#[test]
fn loom_a_lap_is_told_and_nothing_else_is_lost() {
    model(|| {
        let mut publisher = Publisher::new(1);
        let reader = publisher.subscribe();
        let reading = thread::spawn(move || read_to_end(reader));
        for number in 0..2 {
            publisher.publish(Arc::new(number));
        }
        drop(publisher);
        let (got, missed) = reading.join().unwrap();
        assert_rising(&got, missed, 2);
        assert_eq!(got.last(), Some(&1));
    });
}

#[test]
fn loom_a_resize_loses_and_reorders_nothing_and_the_old_slots_go() {
    model(|| {
        let mut publisher = Publisher::new(2);
        let reader = publisher.subscribe();
        let reading = thread::spawn(move || read_to_end(reader));
        let first = Arc::new(0);
        publisher.publish(Arc::clone(&first));
        publisher.resize(3, |_| panic!("it fits"));
        publisher.publish(Arc::new(1));
        drop(publisher);
        assert_eq!(reading.join().unwrap(), (vec![0, 1], 0));
        assert_eq!(
            Arc::strong_count(&first),
            1,
            "nobody holds it after the end"
        );
    });
}

#[test]
fn loom_two_readers_are_each_woken() {
    model(|| {
        let mut publisher = Publisher::new(2);
        let readers = [publisher.subscribe(), publisher.subscribe()];
        let readers = readers.map(|mut reader| {
            thread::spawn(move || {
                block_on(reader.past(0));
                assert_eq!(reader.poll(1, |_| true), Polled::Items(1));
            })
        });
        publisher.publish(Arc::new(0));
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

#[test]
fn loom_an_eviction_is_a_lap() {
    model(|| {
        let mut publisher = Publisher::new(2);
        let mut reader = publisher.subscribe();
        publisher.publish_all([Arc::new(0), Arc::new(1)]);
        let reading = thread::spawn(move || {
            let mut got = Vec::new();
            let polled = reader.poll(2, |item| {
                got.push(*item);
                true
            });
            (polled, got)
        });
        publisher.evict();
        match reading.join().unwrap() {
            (Polled::Items(2), got) => assert_eq!(got, [0, 1]),
            (Polled::Lapped { resume_at: 1 }, got) => assert!(got.is_empty()),
            other => panic!("{other:?}"),
        }
    });
}
