//! The ring against a queue that keeps everything, in one thread and in several.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Publish(usize),
    Read { reader: usize, max: usize },
    Resume(usize),
    Resize(usize),
    Evict,
    EvictRead,
    Detach(usize),
    Join,
    Leave(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let reader = 0_usize..4;
    let step = prop_oneof![
        6 => (1_usize..9).prop_map(Step::Publish),
        8 => (reader.clone(), 1_usize..9).prop_map(|(reader, max)| Step::Read { reader, max }),
        2 => reader.clone().prop_map(Step::Resume),
        2 => (1_usize..12).prop_map(Step::Resize),
        1 => Just(Step::Evict),
        1 => Just(Step::EvictRead),
        1 => reader.clone().prop_map(Step::Detach),
        1 => Just(Step::Join),
        1 => reader.prop_map(Step::Leave),
    ];
    prop::collection::vec(step, 1..120)
}

struct Follower {
    reader: Reader<Arc<u64>>,
    /// The next item it should get.
    next: u64,
    away: bool,
}

proptest! {
    #[test]
    fn readers_get_what_a_queue_of_that_length_holds(capacity in 1_usize..9, steps in steps()) {
        let mut publisher = Publisher::new(capacity);
        let mut kept: VecDeque<u64> = VecDeque::new();
        let (mut capacity, mut head) = (capacity, 0);
        let mut all: Vec<std::sync::Weak<u64>> = Vec::new();
        let mut followers: Vec<Follower> = Vec::new();
        for step in steps {
            match step {
                Step::Publish(count) => {
                    let items: Vec<_> = (head..).take(count).map(Arc::new).collect();
                    all.extend(items.iter().map(Arc::downgrade));
                    let mut gone = Vec::new();
                    publisher.publish_each(items, |old| gone.push(*old));
                    kept.extend(head..head + count as u64);
                    head += count as u64;
                    let over = kept.len().saturating_sub(capacity);
                    prop_assert_eq!(gone, kept.drain(..over).collect::<Vec<_>>());
                }
                Step::Read { reader, max } => {
                    let Some(follower) = followers.get_mut(reader) else { continue };
                    if follower.away { continue }
                    let mut got = Vec::new();
                    let polled = follower.reader.poll(max, |item| { got.push(*item); true });
                    let oldest = kept.front().copied().unwrap_or(head);
                    if follower.next == head {
                        prop_assert_eq!(polled, Polled::Empty);
                    } else if follower.next < oldest {
                        prop_assert_eq!(polled, Polled::Lapped { resume_at: oldest });
                    } else {
                        let count = max.min(usize::try_from(head - follower.next).unwrap());
                        prop_assert_eq!(polled, Polled::Items(count));
                        prop_assert_eq!(&got, &(follower.next..).take(count).collect::<Vec<_>>());
                        follower.next += count as u64;
                    }
                }
                Step::Resume(reader) => {
                    let Some(follower) = followers.get_mut(reader) else { continue };
                    let at = publisher.partition_point(|item| **item < follower.next);
                    prop_assert_eq!(at, follower.next.max(kept.front().copied().unwrap_or(head)));
                    follower.reader.attach(at);
                    (follower.next, follower.away) = (at, false);
                }
                Step::Resize(to) => {
                    let mut gone = Vec::new();
                    publisher.resize(to, |old| gone.push(*old));
                    capacity = to;
                    let over = kept.len().saturating_sub(capacity);
                    prop_assert_eq!(gone, kept.drain(..over).collect::<Vec<_>>());
                }
                Step::Evict => prop_assert_eq!(publisher.evict().map(|old| *old), kept.pop_front()),
                Step::EvictRead => {
                    let slowest = followers.iter().filter(|one| !one.away).map(|one| one.next).min();
                    let free = kept.front().copied().filter(|oldest| slowest.is_none_or(|slowest| slowest > *oldest));
                    prop_assert_eq!(publisher.evict_read().map(|old| *old), free);
                    if free.is_some() { kept.pop_front(); }
                }
                Step::Detach(reader) => {
                    let Some(follower) = followers.get_mut(reader) else { continue };
                    follower.reader.detach();
                    follower.away = true;
                }
                Step::Join if followers.len() < 4 => followers.push(Follower {
                    reader: publisher.subscribe(),
                    next: head,
                    away: false,
                }),
                Step::Join => (),
                Step::Leave(reader) => if reader < followers.len() { drop(followers.remove(reader)); },
            }
            prop_assert_eq!((publisher.len(), publisher.capacity()), (kept.len(), capacity));
            prop_assert_eq!(publisher.readers(), followers.len());
            let slowest = followers.iter().filter(|one| !one.away).map(|one| one.next).min();
            let unread = slowest.map_or(0, |next| usize::try_from(head - next).unwrap().min(kept.len()));
            prop_assert_eq!(publisher.unread(), unread);
            // What has left the ring is dropped at once, also when readers hold an older version.
            for (number, item) in (0..).zip(&all) {
                prop_assert_eq!(item.strong_count() > 0, kept.contains(&number), "item {}", number);
            }
        }
        drop(publisher);
        for mut follower in followers {
            if follower.away || follower.next < kept.front().copied().unwrap_or(head) { continue }
            let mut got = Vec::new();
            while let Polled::Items(_) = follower.reader.poll(3, |item| { got.push(*item); true }) {}
            prop_assert_eq!(got, (follower.next..head).collect::<Vec<_>>(), "what was published before the end");
            prop_assert_eq!(follower.reader.poll(1, |_| true), Polled::Closed);
        }
    }
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_burst_wakes_once_and_who_was_woken_is_not_woken_again_until_it_looked() {
    let mut publisher = Publisher::new(8);
    let mut reader = publisher.subscribe();
    let count = Arc::<Count>::default();
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    assert_eq!(reader.poll_past(0, &mut context), Poll::Pending);
    assert_eq!(
        reader.poll_past(0, &mut context),
        Poll::Pending,
        "asked twice"
    );
    publisher.publish_all(0..5);
    publisher.publish_all(5..6);
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert_eq!(reader.poll_past(0, &mut context), Poll::Ready(()));
    assert_eq!(reader.poll_past(6, &mut context), Poll::Pending);
    publisher.publish(6);
    assert_eq!(count.0.load(Ordering::SeqCst), 2);
    assert_eq!(reader.poll_past(7, &mut context), Poll::Pending);
    drop(publisher);
    assert_eq!(count.0.load(Ordering::SeqCst), 3, "the end wakes, too");
    assert!(reader.spin_past(7, 0));
}

#[test]
fn a_reader_that_left_is_not_woken() {
    let mut publisher = Publisher::new(8);
    let count = Arc::<Count>::default();
    let waker = Waker::from(Arc::clone(&count));
    let mut reader = publisher.subscribe();
    assert!(
        reader
            .poll_past(0, &mut Context::from_waker(&waker))
            .is_pending()
    );
    drop(reader);
    publisher.publish(1);
    assert_eq!(count.0.load(Ordering::SeqCst), 0);
    assert_eq!(publisher.readers(), 0);
}

#[test]
fn a_taker_that_wants_no_more_gets_the_rest_next_time() {
    let mut publisher = Publisher::new(8);
    let mut reader = publisher.subscribe();
    publisher.publish_all(0..6);
    let mut got = Vec::new();
    let polled = reader.poll(10, |item| {
        got.push(item);
        got.len() < 4
    });
    assert_eq!(polled, Polled::Items(4));
    assert_eq!(
        reader.poll(10, |item| {
            got.push(item);
            true
        }),
        Polled::Items(2)
    );
    assert_eq!(got, (0..6).collect::<Vec<_>>());
}

/// One who publishes and resizes at full speed, and readers that go on from where they were lapped: each sees
/// rising numbers and the last one.
#[test]
fn threads_see_rising_numbers_and_the_last_one() {
    const ITEMS: u64 = 30_000;
    let mut publisher = Publisher::new(16);
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let mut reader = publisher.subscribe();
            std::thread::spawn(move || {
                let (mut last, mut lapped) = (None, 0);
                loop {
                    let polled = reader.poll(7, |item: Arc<u64>| {
                        assert!(last.is_none_or(|last| last < *item));
                        last = Some(*item);
                        true
                    });
                    match polled {
                        Polled::Items(_) => {}
                        Polled::Empty => {
                            reader.spin_past(reader.cursor(), 100);
                            std::thread::yield_now();
                        }
                        Polled::Lapped { resume_at } => {
                            lapped += 1;
                            reader.attach(resume_at);
                        }
                        Polled::Closed => return (last, lapped),
                    }
                }
            })
        })
        .collect();
    for number in 0..ITEMS {
        publisher.publish(Arc::new(number));
        if number % 1_000 == 0 {
            publisher.resize(8 + usize::try_from(number / 1_000 % 5).unwrap() * 8, drop);
        }
    }
    drop(publisher);
    for reader in readers {
        let (last, _lapped) = reader.join().unwrap();
        assert_eq!(last, Some(ITEMS - 1));
    }
}
