//! Followers in a simulated life: each at its own pace, through rings of three slots, with all that happens to the disk
//! beside them.
//!
//! What is checked: a follower sees every record from where it began, each once and in order, and nothing that was not
//! sent; in a topic that publishes flushed records, what it saw is there after any crash (the oracle keeps it).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Poll;

use broker::{Broker, DynBroker, EmbeddedBroker, Error, Tail};
use model::{Offset, Position, TopicId, TopicPartition};
use test_kit::batches::records;

use super::oracle::Oracle;
use crate::support::poll;

#[derive(Debug, Default)]
pub(super) struct Followers {
    by_place: BTreeMap<TopicPartition, Follower>,
}

#[derive(Debug)]
struct Follower {
    topic: TopicId,
    tail: Tail,
    /// The record it has to see next.
    next: u64,
    /// That may lie inside a batch, which then comes whole.
    inside: bool,
}

impl Followers {
    /// They end with the process.
    pub(super) fn clear(&mut self) {
        self.by_place.clear();
    }

    /// The follower of a place reads, at most so many times; answers how many records it saw.
    pub(super) fn read(
        &mut self,
        broker: &Arc<EmbeddedBroker>,
        oracle: &mut Oracle,
        place: &TopicPartition,
        (reads, bytes): (u64, usize),
    ) -> usize {
        let known = broker.topic(&place.topic);
        let Some(topic) = known.map(|info| info.id) else {
            self.by_place.remove(place);
            return 0;
        };
        if self
            .by_place
            .get(place)
            .is_none_or(|one| one.topic != topic)
        {
            self.by_place.remove(place);
            let Some(follower) = begin(broker, place, topic) else {
                return 0;
            };
            self.by_place.insert(place.clone(), follower);
        }
        let Some(mut follower) = self.by_place.remove(place) else {
            return 0;
        };
        follower.tail = follower.tail.with_bytes(bytes);
        let flushed = oracle.topics.get(&place.topic);
        let flushed = flushed.is_some_and(|topic| topic.flushed);
        let mut seen = 0;
        for _ in 0..reads {
            let Poll::Ready(read) = poll(&mut Box::pin(follower.tail.try_next())) else {
                panic!("a read by hand does not wait");
            };
            let fetched = match read {
                Ok(Some(fetched)) => fetched,
                Ok(None) => break,
                Err(Error::OutOfRange { log_start, .. }) => {
                    follower.next = offset_of(log_start);
                    follower.tail.seek(log_start);
                    follower.inside = true;
                    continue;
                }
                // The disk fails, or there is no power: this follower is gone.
                Err(Error::Io { .. }) => return seen,
                Err(other) => panic!("{other:?}"),
            };
            let log = oracle.log(place);
            for (offset, value) in records(&fetched.batches) {
                let offset = offset.get();
                if offset < follower.next && follower.inside {
                    continue;
                }
                follower.inside = false;
                assert_eq!(
                    offset, follower.next,
                    "{place}: a record is left out or comes again"
                );
                assert!(
                    log.sent.contains(&value),
                    "{place} holds {value}, never sent"
                );
                if flushed {
                    let before = log.certain.insert(offset, value.clone());
                    assert!(
                        before.is_none_or(|before| before == value),
                        "{place}: {offset} was another record"
                    );
                }
                follower.next += 1;
                seen += 1;
            }
        }
        self.by_place.insert(place.clone(), follower);
        seen
    }
}

fn begin(broker: &Arc<EmbeddedBroker>, place: &TopicPartition, topic: TopicId) -> Option<Follower> {
    let Poll::Ready(Ok(marks)) = poll(&mut broker.marks(place)) else {
        return None;
    };
    let shared: DynBroker = Arc::<EmbeddedBroker>::clone(broker);
    let tail = Tail::new(shared, place.clone(), marks.log_start).ok()?;
    Some(Follower {
        topic,
        tail,
        next: offset_of(marks.log_start),
        inside: true,
    })
}

fn offset_of(position: Position) -> u64 {
    u64::try_from(position.bits()).map_or(0, |bits| Offset::new(bits).get())
}
