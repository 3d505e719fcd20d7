//! The loop of `lantern consume`: fetch, filter, print; in a group also heartbeats and commits.
//!
//! Invariants: an offset is committed only after what stands before it was printed and flushed; a
//! partition is left where it ended when it was begun, unless the user follows it; trouble that may pass
//! is told once and waited out, for [`TROUBLE_MAX`] or, following, for ever.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_client::{
    Beat, Cluster, ConsumerOptions, ErrorCode, Fetched, Isolation, Member, MemberOptions, Reader,
    Step,
};
use model::{GroupId, Offset, TopicName, TopicPartition};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::filter::Filter;
use super::print::Printer;
use crate::connect::{partitions, topics};
use crate::error::{Error, reason};
use crate::place::{Bounds, Spot};
use crate::stage::Stage;

/// How long trouble may last for who does not follow.
const TROUBLE_MAX: Duration = Duration::from_secs(30);

/// How often a group's offsets are committed.
const COMMIT_INTERVAL: Duration = Duration::from_secs(5);

/// What to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) from: Option<Spot>,
    pub(super) until: Option<Spot>,
    pub(super) follow: bool,
    pub(super) count: Option<u64>,
    pub(super) isolation: Isolation,
}

/// One run of the command.
pub(super) struct Session {
    cluster: Cluster,
    plan: Plan,
    filter: Filter,
    printer: Printer,
    reader: Reader,
    /// Where each partition is left; those that are followed have none.
    limits: BTreeMap<TopicPartition, Offset>,
    printed: u64,
    trouble_since: Option<Instant>,
    /// What was printed and flushed, and is not committed yet.
    to_commit: BTreeMap<TopicPartition, Offset>,
    /// What is committed, or is to be.
    known: BTreeMap<TopicPartition, Offset>,
}

/// Whether the loop goes on.
#[derive(Debug, PartialEq, Eq)]
enum Flow {
    On,
    Done,
}

fn read_failed(error: kafka_client::Error) -> Error {
    Error::failed("read", error)
}

impl Session {
    pub(super) fn new(cluster: Cluster, plan: Plan, filter: Filter, printer: Printer) -> Self {
        let options = ConsumerOptions::default();
        let reader = Reader::new(cluster.clone(), options, plan.isolation);
        Self {
            cluster,
            plan,
            filter,
            printer,
            reader,
            limits: BTreeMap::new(),
            printed: 0,
            trouble_since: None,
            to_commit: BTreeMap::new(),
            known: BTreeMap::new(),
        }
    }

    /// Reads topics, or some of their partitions.
    pub(super) async fn alone(
        &mut self,
        names: &[TopicName],
        only: &[u32],
        stage: &mut Stage,
    ) -> Result<(), Error> {
        let mut all = Vec::new();
        for topic in topics(&self.cluster, names).await? {
            all.extend(partitions(&topic, only)?);
        }
        let from = match (self.plan.from, self.plan.follow) {
            (Some(from), _) => from,
            (None, true) => Spot::End,
            (None, false) => Spot::Beginning,
        };
        self.begin(&all, from, &BTreeMap::new(), stage).await?;
        let stop = stage.stop.clone();
        while !self.reader.positions().is_empty() {
            let step = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                step = self.reader.next() => step.map_err(read_failed)?,
            };
            if self.take(step, stage).await? == Flow::Done {
                break;
            }
        }
        stage.out.flush()?;
        Ok(())
    }

    /// Reads these partitions: where something is committed from there, else from `from`. Answers where
    /// each begins.
    async fn begin(
        &mut self,
        all: &[TopicPartition],
        from: Spot,
        committed: &BTreeMap<TopicPartition, Offset>,
        stage: &Stage,
    ) -> Result<BTreeMap<TopicPartition, Offset>, Error> {
        self.reader.clear();
        self.limits.clear();
        if all.is_empty() {
            return Ok(BTreeMap::new());
        }
        let failed = |error| Error::failed("ask for offsets", error);
        let bounds = Bounds::of(&self.cluster, all, self.plan.isolation).await;
        let bounds = bounds.map_err(failed)?;
        let now = stage.clock.now();
        let begin = from.resolve(&self.cluster, all, &bounds, now).await;
        let mut begin = begin.map_err(failed)?;
        for (at, offset) in committed {
            if let Some(begin) = begin.get_mut(at) {
                *begin = *offset;
            }
        }
        if !self.plan.follow {
            let until = self.plan.until.unwrap_or(Spot::End);
            let limits = until.resolve(&self.cluster, all, &bounds, now).await;
            self.limits = limits.map_err(failed)?;
        }
        for (at, offset) in &begin {
            if self.limits.get(at).is_none_or(|limit| offset < limit) {
                self.reader.seek(at.clone(), *offset);
            }
        }
        Ok(begin)
    }

    async fn take(&mut self, step: Step, stage: &mut Stage) -> Result<Flow, Error> {
        match step {
            Step::Batches(fetched) => {
                if self.trouble_since.take().is_some() {
                    stage.note("lantern: connected again");
                }
                self.print(&fetched, stage)
            }
            Step::OutOfRange { partition, asked } => {
                self.seek_inside(partition, asked, stage).await?;
                Ok(Flow::On)
            }
            Step::Trouble(error) => {
                let since = self.trouble_since.get_or_insert_with(|| {
                    stage.note(format!("lantern: {}; trying again", reason(&error)));
                    Instant::now()
                });
                if !self.plan.follow && since.elapsed() > TROUBLE_MAX {
                    return Err(read_failed(error));
                }
                Ok(Flow::On)
            }
        }
    }

    /// The records that were wanted have gone, or are not there yet.
    async fn seek_inside(
        &mut self,
        at: TopicPartition,
        asked: Offset,
        stage: &mut Stage,
    ) -> Result<(), Error> {
        let one = std::slice::from_ref(&at);
        let bounds = Bounds::of(&self.cluster, one, self.plan.isolation).await;
        let bounds = bounds.map_err(read_failed)?;
        let (start, end) = (bounds.start_of(&at), bounds.end_of(&at));
        let inside = asked.clamp(start, end.max(start));
        stage.note(format!(
            "lantern: {at} has no offset {asked} (any more), only {start} to {end}: going on at {inside}"
        ));
        if self.limits.get(&at).is_some_and(|limit| inside >= *limit) {
            self.reader.remove(&at);
        } else {
            self.reader.seek(at, inside);
        }
        Ok(())
    }

    fn print(&mut self, fetched: &[Fetched], stage: &mut Stage) -> Result<Flow, Error> {
        let mut flow = Flow::On;
        let mut reached = BTreeMap::new();
        for one in fetched {
            if flow == Flow::Done {
                break;
            }
            let (next, now) = self.print_partition(one, stage)?;
            flow = now;
            reached.insert(one.partition.clone(), next);
        }
        stage.out.flush()?;
        if flow == Flow::On {
            // Everything that was fetched was seen, also what is not shown to anybody.
            let positions = self.reader.positions().iter();
            reached = positions
                .map(|(at, position)| {
                    let limit = self.limits.get(at).unwrap_or(position);
                    (at.clone(), *position.min(limit))
                })
                .collect();
        }
        for (at, next) in reached {
            if self.known.get(&at) != Some(&next) {
                self.known.insert(at.clone(), next);
                self.to_commit.insert(at, next);
            }
        }
        let limits = &self.limits;
        let positions = self.reader.positions();
        let ended = positions.iter().filter(|(at, position)| {
            let limit = limits.get(*at);
            limit.is_some_and(|limit| *position >= limit)
        });
        let ended: Vec<TopicPartition> = ended.map(|(at, _)| at.clone()).collect();
        for at in ended {
            self.reader.remove(&at);
        }
        Ok(flow)
    }

    /// Prints what fits, and answers where to go on.
    fn print_partition(
        &mut self,
        fetched: &Fetched,
        stage: &mut Stage,
    ) -> Result<(Offset, Flow), Error> {
        let at = &fetched.partition;
        let limit = self.limits.get(at).copied();
        let mut next = fetched.from;
        let damaged = |error: record::Error| {
            Error::failed(
                format!("read {at}"),
                kafka_client::Error::Batch(std::sync::Arc::new(error)),
            )
        };
        for batch in &fetched.batches {
            let records = batch.records().map_err(damaged)?;
            for record in &records {
                let record = record.map_err(damaged)?;
                if record.offset < fetched.from {
                    continue;
                }
                if limit.is_some_and(|limit| record.offset >= limit) {
                    return Ok((next, Flow::On));
                }
                if self.filter.fits(&record) {
                    self.printer.print(at, &record, &mut stage.out)?;
                    self.printed += 1;
                }
                next = record.offset.next();
                if self.plan.count.is_some_and(|count| self.printed >= count) {
                    return Ok((next, Flow::Done));
                }
            }
            next = next.max(batch.next_offset());
        }
        Ok((next, Flow::On))
    }

    /// Reads topics as a member of a group.
    pub(super) async fn in_group(
        &mut self,
        group: GroupId,
        names: Vec<TopicName>,
        stage: &mut Stage,
    ) -> Result<(), Error> {
        topics(&self.cluster, &names).await?;
        let failed = |error: kafka_client::Error| {
            let error_code = error.code();
            let failed = Error::failed(format!("join group '{group}'"), error);
            if error_code == Some(ErrorCode::InconsistentGroupProtocol) {
                return failed.with_hint(format!(
                    "`lantern group describe {group}` shows how its members assign partitions; \
                     lantern knows range and roundrobin."
                ));
            }
            failed
        };
        let stop = stage.stop.clone();
        let joining = Member::join(
            &self.cluster,
            group.clone(),
            names,
            MemberOptions::default(),
        );
        let mut member = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            joined = joining => joined.map_err(failed)?,
        };
        let read = self.read_in_group(&mut member, &failed, stage).await;
        // Also after a failure or a pipe that broke: what was printed is done, and others need not wait.
        let committed = member.commit(&self.to_commit).await;
        drop(member.leave().await);
        read?;
        committed.map_err(|error| Error::failed(format!("commit to group '{group}'"), error))
    }

    async fn read_in_group(
        &mut self,
        member: &mut Member,
        failed: &impl Fn(kafka_client::Error) -> Error,
        stage: &mut Stage,
    ) -> Result<(), Error> {
        let stop = stage.stop.clone();
        let mut beats = ticks(member.heartbeat_interval());
        let mut commits = ticks(COMMIT_INTERVAL);
        self.assigned(member, stage).await?;
        if self.reader.positions().is_empty() && member.assigned().is_empty() {
            stage.note("lantern: the group gave this member no partitions");
        }
        while self.plan.follow || !self.reader.positions().is_empty() {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = beats.tick() => match member.heartbeat().await.map_err(failed)? {
                    Beat::Steady => (),
                    beat @ (Beat::Rebalance | Beat::Lost) => {
                        self.leave_partitions(member, beat, stage).await;
                        tokio::select! {
                            () = stop.cancelled() => break,
                            joined = member.rejoin() => joined.map_err(failed)?,
                        }
                        self.assigned(member, stage).await?;
                    }
                },
                _ = commits.tick() => self.commit(member, stage).await,
                step = self.reader.next() => {
                    let step = step.map_err(read_failed)?;
                    if self.take(step, stage).await? == Flow::Done {
                        break;
                    }
                }
            }
        }
        stage.out.flush()?;
        Ok(())
    }

    /// Begins what the group assigned.
    async fn assigned(&mut self, member: &Member, stage: &mut Stage) -> Result<(), Error> {
        let committed = member.committed().await;
        let committed =
            committed.map_err(|error| Error::failed("ask how far the group is", error))?;
        let from = self.plan.from.unwrap_or(Spot::Beginning);
        let all = member.assigned().to_vec();
        let begun = self.begin(&all, from, &committed, stage).await?;
        // As Kafka's own consumer does: where the group begins is committed even where nothing comes.
        let new = begun.iter().filter(|(at, _)| !committed.contains_key(at));
        self.to_commit = new.map(|(at, offset)| (at.clone(), *offset)).collect();
        self.known = begun;
        Ok(())
    }

    async fn leave_partitions(&mut self, member: &Member, beat: Beat, stage: &mut Stage) {
        if beat == Beat::Rebalance {
            self.commit(member, stage).await;
        } else if !self.to_commit.is_empty() {
            stage.note(
                "lantern: the group went on without this member; what it printed last will be read again",
            );
        }
        self.to_commit.clear();
    }

    /// Commits; what failed is kept for the next time, and a rebalance is heard of by the heartbeat.
    async fn commit(&mut self, member: &Member, stage: &mut Stage) {
        match member.commit(&self.to_commit).await {
            Ok(()) => self.to_commit.clear(),
            Err(error) => stage.note(format!("lantern: not committed yet: {}", reason(&error))),
        }
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
