//! Order within a key, retries, deadlines and leases, one by one.

use std::time::Duration;

use delivery::{Lease, Offer, Outcome, Policy, Priority, Queue, Reason, Retry, SourceId};
use model::Position;

const JITTER: f64 = 1.0;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn failed() -> Outcome {
    Outcome::Failed {
        error: "503 Service Unavailable".to_owned(),
        after: None,
    }
}

fn queue(policy: Policy) -> (Queue<&'static str>, SourceId) {
    let mut queue = Queue::new(policy);
    let source = queue.add_source();
    (queue, source)
}

/// Offers records named `key` and a number, in order.
fn offer(queue: &mut Queue<&'static str>, source: SourceId, names: &[&'static str]) {
    for (position, name) in (0..).zip(names) {
        let offer = Offer::new(source, Position::from_bits(position), *name);
        queue.offer(ms(0), offer.with_key(&name.as_bytes()[..1]));
        queue.read_to(source, Position::from_bits(position + 1));
    }
    queue.check();
}

fn names(lease: Option<&Lease<&'static str>>) -> Vec<&'static str> {
    lease.map_or(Vec::new(), |lease| {
        lease.records.iter().map(|r| r.payload).collect()
    })
}

#[test]
fn a_failed_record_blocks_its_key_and_no_other() {
    let (mut queue, source) = queue(Policy::default());
    offer(&mut queue, source, &["a1", "b1", "a2", "b2", "c1"]);
    let first = queue.lease(ms(0), 1).unwrap();
    assert_eq!(names(Some(&first)), ["a1"]);
    queue.settle(ms(10), first.id, JITTER, |_| failed());
    let mut seen = Vec::new();
    while let Some(lease) = queue.lease(ms(20), 1) {
        seen.extend(names(Some(&lease)));
        queue.settle(ms(20), lease.id, JITTER, |_| Outcome::Done);
        queue.check();
    }
    assert_eq!(seen, ["b1", "c1", "b2"]);
    assert_eq!(
        queue.position(source),
        Position::from_bits(0),
        "a1 is not finished"
    );
    assert_eq!(queue.next_event(), Some(ms(210)), "the pause ends then");
    let again = queue.lease(ms(210), 10).unwrap();
    assert_eq!(names(Some(&again)), ["a1", "a2"]);
    assert_eq!(again.records[0].attempt, 2);
    queue.settle(ms(220), again.id, JITTER, |_| Outcome::Done);
    assert_eq!(queue.position(source), Position::from_bits(5));
    assert_eq!(queue.stats().blocked, ms(200));
    assert!(queue.is_empty());
    assert_eq!(queue.next_event(), None);
}

#[test]
fn what_stands_behind_a_failure_in_its_lease_is_delivered_again_after_it() {
    let (mut queue, source) = queue(Policy::default());
    offer(&mut queue, source, &["a1", "a2", "b1", "a3"]);
    let lease = queue.lease(ms(0), 4).unwrap();
    assert_eq!(names(Some(&lease)), ["a1", "a2", "a3", "b1"]);
    // The listener says it took a3 although a2 failed: that would break the order.
    let outcomes = [Outcome::Done, failed(), Outcome::Done, Outcome::Done];
    let mut taken = Vec::new();
    let said = |n: usize| outcomes[n].clone();
    assert!(queue.settle_each(ms(5), lease.id, JITTER, said, |n| taken.push(n)));
    queue.check();
    assert_eq!(
        taken,
        [0, 3],
        "what went back was not taken, whatever was said"
    );
    assert!(
        !queue.settle_each(ms(5), lease.id, JITTER, said, |_| panic!(
            "a lease ends once"
        ))
    );
    assert_eq!((queue.len(), queue.stats().done), (2, 2));
    let again = queue.lease(ms(205), 4).unwrap();
    assert_eq!(names(Some(&again)), ["a2", "a3"]);
    assert_eq!(again.records[1].attempt, 1, "a3 was no attempt");
}

#[test]
fn after_the_last_attempt_a_record_is_buried_and_its_key_goes_on() {
    let policy = Policy {
        retry: Retry {
            attempts: 2,
            ..Retry::default()
        },
        ..Policy::default()
    };
    let (mut queue, source) = queue(policy);
    offer(&mut queue, source, &["a1", "a2"]);
    for now in [0, 1_000] {
        let lease = queue.lease(ms(now), 1).unwrap();
        assert_eq!(names(Some(&lease)), ["a1"]);
        queue.settle(ms(now + 1), lease.id, JITTER, |_| failed());
    }
    let spent = queue.take_spent();
    assert_eq!(spent.len(), 1);
    assert_eq!(
        (spent[0].payload, spent[0].reason),
        ("a1", Reason::Exhausted)
    );
    let at: Vec<_> = spent[0].failures.iter().map(|failure| failure.at).collect();
    assert_eq!(at, [ms(1), ms(1_001)]);
    assert!(
        queue.lease(ms(5_000), 1).is_none(),
        "not before it is in the dead-letter topic"
    );
    assert_eq!(queue.position(source), Position::from_bits(0));
    queue.buried(ms(5_000), spent[0].id.unwrap());
    assert_eq!(queue.position(source), Position::from_bits(1));
    assert_eq!(names(queue.lease(ms(5_000), 1).as_ref()), ["a2"]);
    // Twice is no more than once.
    queue.buried(ms(5_000), spent[0].id.unwrap());
    queue.check();
}

#[test]
fn a_refusal_is_final() {
    let (mut queue, source) = queue(Policy::default());
    offer(&mut queue, source, &["a1"]);
    let lease = queue.lease(ms(0), 1).unwrap();
    let error = "400 Bad Request".to_owned();
    queue.settle(ms(0), lease.id, JITTER, |_| Outcome::Refused {
        error: error.clone(),
    });
    assert_eq!(queue.take_spent()[0].reason, Reason::Refused);
}

#[test]
fn an_expired_record_is_not_delivered() {
    for bury_expired in [true, false] {
        let (mut queue, source) = queue(Policy {
            bury_expired,
            ..Policy::default()
        });
        let offer = |position: u128, name, deadline| Offer {
            deadline,
            ..Offer::new(source, Position::from_bits(position), name).with_key(b"k")
        };
        queue.offer(ms(0), offer(0, "late", Some(ms(100))));
        queue.offer(ms(0), offer(1, "next", Some(ms(500))));
        queue.read_to(source, Position::from_bits(2));
        let lease = queue.lease(ms(100), 2);
        let spent = queue.take_spent();
        assert_eq!((spent.len(), spent[0].reason), (1, Reason::Expired));
        if bury_expired {
            assert!(lease.is_none(), "the key waits for the burial");
            queue.buried(ms(101), spent[0].id.unwrap());
        } else {
            assert_eq!(names(lease.as_ref()), ["next"]);
            assert_eq!(lease.unwrap().records[0].remaining, Some(ms(400)));
            assert_eq!(spent[0].id, None);
        }
        queue.check();
    }
}

#[test]
fn a_pause_that_would_end_after_the_deadline_is_not_waited_for() {
    let (mut queue, source) = queue(Policy::default());
    let offer = Offer::new(source, Position::from_bits(0), "a");
    queue.offer(
        ms(0),
        Offer {
            deadline: Some(ms(150)),
            ..offer
        },
    );
    let lease = queue.lease(ms(0), 1).unwrap();
    queue.settle(ms(1), lease.id, JITTER, |_| failed());
    let spent = queue.take_spent();
    assert_eq!(
        (spent[0].reason, spent[0].failures.len()),
        (Reason::Expired, 1)
    );
}

#[test]
fn a_listener_may_ask_for_a_longer_pause() {
    let (mut queue, source) = queue(Policy::default());
    offer(&mut queue, source, &["a1"]);
    let lease = queue.lease(ms(0), 1).unwrap();
    let after = Some(ms(7_000));
    let error = "429 Too Many Requests".to_owned();
    queue.settle(ms(0), lease.id, JITTER, |_| Outcome::Failed {
        error: error.clone(),
        after,
    });
    assert_eq!(queue.next_event(), Some(ms(7_000)));
}

#[test]
fn a_lease_without_an_answer_ends_and_its_late_answer_counts_for_nothing() {
    let (mut queue, source) = queue(Policy::default());
    offer(&mut queue, source, &["a1", "b1"]);
    let lost = queue.lease(ms(0), 1).unwrap();
    assert_eq!(queue.next_event(), Some(ms(60_000)));
    queue.expire_leases(ms(59_999), JITTER);
    assert_eq!(queue.stats().lost_leases, 0);
    queue.expire_leases(ms(60_000), JITTER);
    assert_eq!((queue.stats().lost_leases, queue.stats().failures), (1, 1));
    assert!(!queue.settle(ms(60_001), lost.id, JITTER, |_| Outcome::Done));
    let both = queue.lease(ms(61_000), 2).unwrap();
    assert_eq!(names(Some(&both)), ["b1", "a1"]);
    queue.check();
}

#[test]
fn what_was_finished_before_a_restart_is_not_delivered_again() {
    let (mut queue, source) = queue(Policy::default());
    offer(&mut queue, source, &["a1", "b1", "c1", "d1"]);
    let first = queue.lease(ms(0), 1).unwrap();
    queue.settle(ms(0), first.id, JITTER, |_| failed());
    let rest = queue.lease(ms(0), 2).unwrap();
    assert_eq!(names(Some(&rest)), ["b1", "c1"]);
    queue.settle(ms(0), rest.id, JITTER, |_| Outcome::Done);
    let (position, finished) = (queue.position(source), queue.finished(source));

    let mut restarted = Queue::new(Policy::default());
    let source = restarted.resume_source(position, finished);
    offer(&mut restarted, source, &["a1", "b1", "c1", "d1"]);
    assert_eq!(names(restarted.lease(ms(0), 10).as_ref()), ["a1", "d1"]);
}

#[test]
fn a_source_that_is_removed_takes_its_records_and_nobody_elses() {
    let (mut queue, gone) = queue(Policy::default());
    let stays = queue.add_source();
    offer(&mut queue, gone, &["a1", "a2", "b1"]);
    let leased = queue.lease(ms(0), 1).unwrap();
    queue.remove_source(gone);
    queue.check();
    offer(&mut queue, stays, &["x1", "x2", "y1"]);
    queue.settle(ms(0), leased.id, JITTER, |_| failed());
    queue.check();
    assert_eq!(names(queue.lease(ms(0), 10).as_ref()), ["x1", "x2", "y1"]);
    queue.check();
}

#[test]
fn urgent_records_overtake_others_but_not_those_of_their_key() {
    let (mut queue, source) = queue(Policy::default());
    let offer = |position: u128, name: &'static str, priority| Offer {
        priority: Priority::new(priority).unwrap(),
        ..Offer::new(source, Position::from_bits(position), name).with_key(&name.as_bytes()[..1])
    };
    for (position, name, priority) in [(0, "a1", 9), (1, "b1", 5), (2, "a2", 0), (3, "c1", 0)] {
        queue.offer(ms(0), offer(position, name, priority));
    }
    assert_eq!(
        names(queue.lease(ms(0), 10).as_ref()),
        ["c1", "b1", "a1", "a2"]
    );
}

/// Who waits for a retry, a lease, or another of its key is not looked at; its deadline passes all the same.
#[test]
fn a_deadline_passes_at_its_time_wherever_the_record_waits() {
    for bury_expired in [true, false] {
        let policy = Policy {
            bury_expired,
            ..Policy::default()
        };
        let (mut queue, source) = queue(policy);
        offer(&mut queue, source, &["a1", "a2"]);
        let lease = queue.lease(ms(0), 1).unwrap();
        for (position, name, deadline) in [(2, "a3", 80), (3, "b1", 50), (4, "a4", 900)] {
            let offer = Offer {
                deadline: Some(ms(deadline)),
                ..Offer::new(source, Position::from_bits(position), name)
            };
            queue.offer(ms(1), offer.with_key(&name.as_bytes()[..1]));
        }
        queue.read_to(source, Position::from_bits(5));
        assert_eq!(queue.next_event(), Some(ms(50)), "somebody must look then");
        queue.wake(ms(49));
        assert!(queue.take_spent().is_empty());
        queue.wake(ms(80));
        let spent = queue.take_spent();
        let expired: Vec<_> = spent.iter().map(|one| (one.payload, one.reason)).collect();
        assert_eq!(expired, [("b1", Reason::Expired), ("a3", Reason::Expired)]);
        assert_eq!(queue.ready(), 0, "b1 has left the line");
        queue.check();
        for id in spent.into_iter().filter_map(|one| one.id) {
            queue.buried(ms(81), id);
            queue.check();
        }
        queue.settle(ms(90), lease.id, JITTER, |_| Outcome::Done);
        assert_eq!(names(queue.lease(ms(90), 9).as_ref()), ["a2", "a4"]);
    }
}

#[test]
fn deadlines_of_what_is_finished_do_not_pile_up() {
    let (mut queue, source) = queue(Policy::default());
    for position in 0..10_000 {
        let offer = Offer {
            deadline: Some(ms(3_600_000)),
            ..Offer::new(source, Position::from_bits(position), "x")
        };
        queue.offer(ms(0), offer);
        let lease = queue.lease(ms(0), 1).unwrap();
        queue.settle(ms(0), lease.id, JITTER, |_| Outcome::Done);
    }
    let text = format!("{queue:?}");
    assert!(text.len() < 20_000, "{} bytes of nothing", text.len());
}
