//! Records whose time has not come, kept in a topic of the listener's own: `lantern.delayed.NAME`.
//!
//! A record that is due in more than [`NEAR`] is copied there, with its coordinates in headers, and is finished in its own
//! topic: nobody waits behind it, and its topic's retention cannot take it. What is due when is decided by
//! [`delivery::Delayed`], whose threshold is committed as the note of that topic's one partition. A start, and every time
//! little is left in memory while the log has more, reads the topic once. When more of it is done than waits, its front is
//! carried to its end and deleted; when nothing waits, all of it is.
//!
//! Invariant: a record is finished in its own topic only when its copy is durable. Not here: the reading and writing
//! itself (`aside_log`).

use std::sync::Arc;
use std::time::Duration;

use broker::Error;
use delivery::{Carry, Delayed, Finished, Found, Queue, Scan, SourceId, Turn};
use model::{PartitionId, Position, TopicName, TopicPartition};
use tokio::sync::watch;

use crate::aside_log::{Aside, Done};
use crate::context::Context;
use crate::held::Held;

/// What is due sooner waits in memory.
pub(crate) const NEAR: Duration = Duration::from_secs(1);
/// Due records fetched at once.
const FETCH_MAX: usize = 256;
/// Records that are done and stay in the log beside as many as wait, unless they are large.
const SLACK_RECORDS: u64 = 65_536;
/// From so many bytes on the log is large.
const SLACK_BYTES: u64 = 64 << 20;

/// Due records with their tickets and places.
pub(crate) type Places = Arc<Vec<(Position, Position)>>;

/// The records of one listener that wait for their time.
pub(crate) struct Asides {
    at: TopicPartition,
    delayed: Delayed,
    /// Where the queue has them, by ticket.
    source: SourceId,
    /// The end of the topic, once there is one.
    end: Option<watch::Receiver<Position>>,
    /// Taken and not fetched yet.
    unfetched: Places,
    fetching: bool,
    /// Counts what happened, and how much of that is committed.
    changes: u64,
    committed: u64,
    /// Everything before it may be deleted.
    cut: Position,
}

impl Asides {
    /// Goes on where the listener stopped.
    pub(crate) async fn open(
        context: &Context,
        listener: &str,
        group: &model::GroupId,
        queue: &mut Queue<Held>,
    ) -> Result<Self, Error> {
        let at = TopicPartition::new(topic(listener), PartitionId::new(0));
        let committed = context
            .broker
            .committed(group, Some(vec![at.clone()]))
            .await?;
        let note = committed
            .into_iter()
            .find_map(|(_, commit)| Some(commit?.metadata));
        let threshold = note.and_then(|note| read(&note)).unwrap_or_default();
        let end = context.broker.watch(&at).ok();
        let (now, capacity) = (millis(context), context.memory.options().delayed);
        Ok(Self {
            delayed: match end {
                Some(_) => Delayed::new(capacity, now, threshold),
                None => Delayed::empty(capacity, now),
            },
            at,
            source: queue.resume_source(Position::default(), Finished::default()),
            end,
            unfetched: Places::default(),
            fetching: false,
            changes: 0,
            committed: 0,
            cut: Position::default(),
        })
    }

    /// Records are about to be put aside.
    pub(crate) fn begin(&mut self, asides: &[Aside]) {
        self.changes += 1;
        for aside in asides {
            self.delayed.put_aside(aside.due);
        }
    }

    /// They are.
    pub(crate) fn done(&mut self, context: &Context, done: Vec<Done>, queue: &mut Queue<Held>) {
        if self.end.is_none() {
            self.end = context.broker.watch(&self.at).ok();
        }
        for one in done {
            self.delayed.was_put_aside(one.due, Some(one.place));
            queue.let_go(one.source, one.position);
        }
    }

    /// A scan of the topic that should be made now.
    pub(crate) fn scan(&mut self) -> Option<(TopicPartition, Scan)> {
        let end = *self.end.as_ref()?.borrow();
        Some((self.at.clone(), self.delayed.scan(end)?))
    }

    pub(crate) fn scanned(&mut self, found: Option<Found>) {
        self.delayed.scanned(found);
    }

    /// Records that are due, to be fetched: at most as many as `room`.
    pub(crate) fn take(&mut self, now: u64, room: usize) -> Option<(TopicPartition, Places)> {
        if self.fetching || room == 0 {
            return None;
        }
        if self.unfetched.is_empty() {
            let taken = self.delayed.take(now, room.min(FETCH_MAX));
            let places = taken.into_iter().map(|(ticket, turn)| (ticket, turn.place));
            self.unfetched = Arc::new(places.collect());
            if self.unfetched.is_empty() {
                return None;
            }
            self.changes += 1;
        }
        self.fetching = true;
        Some((self.at.clone(), Arc::clone(&self.unfetched)))
    }

    /// Those taken with the first `count` tickets were fetched, or are gone: where the queue takes them, and the ticket
    /// behind the last one.
    pub(crate) fn fetched(&mut self, count: usize) -> (SourceId, Position) {
        self.fetching = false;
        let rest = self.unfetched.get(count..).unwrap_or_default();
        self.unfetched = Arc::new(rest.to_vec());
        let next = self.unfetched.first().map(|(ticket, _)| *ticket);
        let next = next.unwrap_or_else(|| self.delayed.next_ticket());
        (self.source, next)
    }

    /// How the front of the topic should be carried to its end now, if it should, or what may be deleted at once.
    pub(crate) fn carry(&mut self, context: &Context, start: Position) -> Option<Tidy> {
        let end = *self.end.as_ref()?.borrow();
        if self.delayed.is_empty() && start < end && self.cut < end {
            // Nothing is written meanwhile that lies before this end.
            self.cut = end;
            return Some(Tidy::Cut(end));
        }
        let length = end.bits().saturating_sub(start.bits());
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let kept = context.broker.kept(&self.at);
        let large = kept.is_some_and(|kept| kept.size.bytes() > SLACK_BYTES);
        let slack = if large {
            0
        } else {
            SLACK_RECORDS.min(context.memory.options().delayed as u64)
        };
        let carry = self.delayed.carry(millis(context), length, slack)?;
        Some(Tidy::Carry(carry))
    }

    pub(crate) fn carried(&mut self, moved: &[(Turn, Position)]) {
        self.delayed.carried(moved);
        self.changes += 1;
    }

    pub(crate) fn at(&self) -> &TopicPartition {
        &self.at
    }

    pub(crate) fn source(&self) -> SourceId {
        self.source
    }

    /// Notes what the queue finished; answers what to commit, if something changed: the threshold, and as position the
    /// topic's end when nothing waits.
    pub(crate) fn commit(
        &mut self,
        now: u64,
        queue: &Queue<Held>,
    ) -> Option<(TopicPartition, Position, String)> {
        let end = *self.end.as_ref()?.borrow();
        let finished = queue.position(self.source);
        self.delayed.finished(finished);
        if self.changes == self.committed {
            return None;
        }
        let threshold = self.delayed.threshold(now);
        let position = if self.delayed.is_empty() {
            end
        } else {
            Position::default()
        };
        Some((self.at.clone(), position, written(threshold)))
    }

    /// How much happened so far: what a commit that is made now covers.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// What happened until then is committed.
    pub(crate) fn committed(&mut self, changes: u64, queue: &Queue<Held>) {
        // While something is under way, there will be more to say.
        if queue.position(self.source) >= self.delayed.next_ticket() {
            self.committed = changes;
        }
    }

    /// When something is due.
    pub(crate) fn next_due(&self) -> Option<u64> {
        if self.fetching {
            return None;
        }
        let unfetched = (!self.unfetched.is_empty()).then_some(0);
        unfetched.or_else(|| self.delayed.next_due())
    }

    /// Records in memory.
    pub(crate) fn len(&self) -> usize {
        self.delayed.len()
    }
}

/// What can be done so that the topic does not grow.
pub(crate) enum Tidy {
    /// Everything before this is done.
    Cut(Position),
    /// The front is to be carried.
    Carry(Carry),
}

/// A threshold as a commit's note.
fn written(threshold: Turn) -> String {
    format!("t2:{},{:x}", threshold.due, threshold.place.bits())
}

/// The threshold of a note; `t1:MILLIS` was written before.
fn read(note: &str) -> Option<Turn> {
    if let Some(due) = note.strip_prefix("t1:") {
        return Some(Turn::at(due.parse().ok()?));
    }
    let (due, place) = note.strip_prefix("t2:")?.split_once(',')?;
    Some(Turn {
        due: due.parse().ok()?,
        place: Position::from_bits(u128::from_str_radix(place, 16).ok()?),
    })
}

/// The wall clock, in milliseconds.
pub(crate) fn millis(context: &Context) -> u64 {
    u64::try_from(context.clock.now().millis()).unwrap_or(0)
}

/// A listener's name is shorter than a topic's by more than this.
fn topic(listener: &str) -> TopicName {
    #[expect(
        clippy::expect_used,
        reason = "a listener's name is 1 to 63 of a-z, 0-9 and -"
    )]
    format!("lantern.delayed.{listener}")
        .parse()
        .expect("letters that a topic may have")
}
