//! How groups and their offsets go: because somebody asks, or because nobody used them for long.
//!
//! A group is unused when it has no members, had none for [`CoordinatorOptions::offsets_retention`] (then the engine has
//! forgotten it), committed nothing for as long, and stages nothing in a transaction. Groups that only commit are judged by
//! their commits alone. Lantern's own groups always stay: a webhook that was told of no alert for a month must
//! still know which was the last.
//!
//! Invariants: while a group is deleted, every call about it is refused, so what is deleted is what was looked at; a commit
//! on its way into the log keeps its group; one that is answered is never deleted by a decision made before it.
//! Not here: offsets in topics that are deleted (the broker removes those).

use std::collections::BTreeSet;
use std::time::Duration;

use groups::MemberRef;
use model::{GroupId, TopicPartition};

use super::{GroupCoordinator, GroupError, events};
use crate::Error;

/// Time between two looks for groups that nobody uses (Kafka's `offsets.retention.check.interval.ms`).
const LOOK_EVERY: Duration = Duration::from_mins(10);

impl GroupCoordinator {
    /// Deletes a group without members, and its commits; durable when ready.
    ///
    /// # Errors
    /// [`groups::Error::NotEmpty`], [`groups::Error::UnknownGroup`], [`GroupError::Storage`].
    pub async fn delete(&self, group: &GroupId) -> Result<(), GroupError> {
        let known = self
            .serving()?
            .engine
            .begin_delete(self.clock.monotonic(), group)?;
        let mut deleting = Deleting {
            coordinator: self,
            group,
            deleted: false,
        };
        let had_commits = match self.broker.forget_group(group, None).await {
            Ok(()) => true,
            Err(Error::UnknownGroup { .. }) => false,
            Err(error) => return Err(error.into()),
        };
        deleting.deleted = true;
        drop(deleting);
        if !known && !had_commits {
            return Err(groups::Error::UnknownGroup {
                group: group.clone(),
            }
            .into());
        }
        let stored = self.state.lock().stores.tell(group);
        if let Some(stored) = stored
            && !stored.await.unwrap_or(false)
        {
            return Err(groups::Error::NotAvailable {
                group: group.clone(),
            }
            .into());
        }
        Ok(())
    }

    /// Deletes a group's commits in these partitions. One result for each, in the order asked.
    ///
    /// # Errors
    /// [`groups::Error::UnknownGroup`] when the group has neither members nor commits,
    /// [`GroupError::Storage`].
    pub async fn delete_offsets(
        &self,
        group: &GroupId,
        of: Vec<TopicPartition>,
    ) -> Result<Vec<Result<(), groups::Error>>, GroupError> {
        let (known, results) = {
            let state = self.serving()?;
            let may = |of: &TopicPartition| state.engine.may_delete_offsets(group, &of.topic);
            let results: Vec<_> = of.iter().map(may).collect();
            (state.engine.knows(group), results)
        };
        let allowed = of
            .into_iter()
            .zip(&results)
            .filter(|(_, result)| result.is_ok());
        let allowed: Vec<_> = allowed.map(|(of, _)| of).collect();
        match self.broker.forget_group(group, Some(allowed)).await {
            Ok(()) => Ok(results),
            Err(Error::UnknownGroup { .. }) if known => Ok(results),
            Err(Error::UnknownGroup { group }) => Err(groups::Error::UnknownGroup { group }.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets the offsets of groups that nobody uses any more.
    ///
    /// [`run`](Self::run) does this every ten minutes; it is for callers that run nothing, as simulations.
    ///
    /// # Errors
    /// [`GroupError::Storage`]; what is left is looked at the next time.
    pub async fn forget_unused(&self) -> Result<(), GroupError> {
        for group in self.broker.committed_groups().await? {
            if !group.is_internal() && self.is_unused(&group).await? {
                self.forget_if_unused(&group).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn keep_forgetting(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Err(error) = self.forget_unused().await {
                events::forget_failed(&error);
            }
        }
    }

    /// Deletes a group that seems unused, if it still is once no call can change that.
    async fn forget_if_unused(&self, group: &GroupId) -> Result<(), GroupError> {
        {
            let mut state = self.serving()?;
            let in_use = state.committing.contains_key(group) || state.engine.knows(group);
            if in_use {
                return Ok(());
            }
            state.engine.begin_delete(self.clock.monotonic(), group)?;
        }
        // What ends is no group, only the refusal of calls: the engine knew none.
        let _refusing = Deleting {
            coordinator: self,
            group,
            deleted: true,
        };
        if !self.is_unused(group).await? {
            return Ok(());
        }
        match self.broker.forget_group(group, None).await {
            Ok(()) => self.events.unused(group),
            Err(Error::UnknownGroup { .. }) => (),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Whether nothing is staged and the newest commit is old.
    async fn is_unused(&self, group: &GroupId) -> Result<bool, GroupError> {
        let staged = match self.broker.transactional() {
            Some(log) => log.staged(group)?,
            None => BTreeSet::new(),
        };
        let committed = self.broker.committed(group, None).await?;
        let commits = committed.iter().filter_map(|(_, commit)| commit.as_ref());
        let newest = commits.map(|commit| commit.at).max();
        let retention = self.options().offsets_retention;
        Ok(staged.is_empty() && newest.is_some_and(|at| self.clock.now().since(at) >= retention))
    }

    /// Whether `by` may commit; its group is in use for as long as the answer is kept.
    pub(super) fn begin_commit(&self, by: &MemberRef) -> Result<Committing<'_>, GroupError> {
        let mut state = self.serving()?;
        state.engine.may_commit(self.clock.monotonic(), by)?;
        *state.committing.entry(by.group.clone()).or_default() += 1;
        Ok(Committing {
            coordinator: self,
            group: by.group.clone(),
        })
    }
}

/// A commit on its way into the log.
#[derive(Debug)]
pub(super) struct Committing<'a> {
    coordinator: &'a GroupCoordinator,
    group: GroupId,
}

impl Drop for Committing<'_> {
    fn drop(&mut self) {
        let committing = &mut self.coordinator.state.lock().committing;
        if let Some(count) = committing.get_mut(&self.group) {
            *count -= 1;
            if *count == 0 {
                committing.remove(&self.group);
            }
        }
    }
}

/// A deletion that has begun; ends it also when the caller goes away in between.
struct Deleting<'a> {
    coordinator: &'a GroupCoordinator,
    group: &'a GroupId,
    deleted: bool,
}

impl Drop for Deleting<'_> {
    fn drop(&mut self) {
        let now = self.coordinator.clock.monotonic();
        let mut state = self.coordinator.state.lock();
        let actions = state.engine.end_delete(now, self.group, self.deleted);
        self.coordinator.carry_out(&mut state, actions);
    }
}
