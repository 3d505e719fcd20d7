//! What sync, heartbeat, leave and commit mean in each state.
//!
//! Invariants: as in `join`. Source: Kafka's `GroupCoordinator`: SyncGroup 0 to 5, Heartbeat 0 to 4,
//! LeaveGroup 0 to 5, OffsetCommit 2 to 9.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::api::{Action, GroupState, Leaving, MemberRef, Reason, SyncAnswer, SyncRequest};
use crate::group::{Context, Group, OnStored};
use crate::member::Awaits;
use crate::rebalance::Phase;
use crate::{Error, MemberId, Ticket};

impl Group {
    /// Takes a sync request.
    pub(crate) fn sync(&mut self, cx: &mut Context<'_>, ticket: Ticket, request: SyncRequest) {
        if let Err(error) = self.try_sync(cx, ticket, request) {
            cx.out.push(Action::AnswerSync {
                ticket,
                result: Err(error),
            });
        }
    }

    fn try_sync(
        &mut self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        request: SyncRequest,
    ) -> Result<(), Error> {
        let by = &request.by;
        self.check_current(by)?;
        let type_differs = request
            .protocol_type
            .is_some_and(|name| name != self.protocol_type);
        let protocol_differs = request
            .protocol
            .as_ref()
            .is_some_and(|name| Some(name) != self.protocol.as_ref());
        if type_differs || protocol_differs {
            return Err(Error::InconsistentProtocol {
                group: self.id.clone(),
            });
        }
        let state = self.state();
        match state {
            GroupState::Empty | GroupState::Dead => return Err(self.unknown(&by.member)),
            GroupState::PreparingRebalance => {
                return Err(Error::RebalanceInProgress {
                    group: self.id.clone(),
                });
            }
            GroupState::CompletingRebalance | GroupState::Stable => (),
        }
        let superseded = Error::RebalanceInProgress {
            group: self.id.clone(),
        };
        if state == GroupState::CompletingRebalance {
            self.refuse(cx, &by.member, &superseded);
            if let Some(member) = self.members.get_mut(&by.member) {
                member.synced = true;
                member.awaits = Awaits::Sync(ticket);
            }
            if self.is_leader(&by.member) {
                let assignments = owned(request.assignments);
                let generation = self.generation;
                self.store(
                    cx,
                    Some(OnStored::Assign {
                        generation,
                        assignments,
                    }),
                );
            }
        } else if let Some(member) = self.members.get_mut(&by.member) {
            member.synced = true;
            member.touch(cx.now);
            let result = Ok(SyncAnswer {
                protocol_type: self.protocol_type.clone(),
                protocol: self.protocol.clone().unwrap_or_else(|| "".into()),
                assignment: member.assignment.clone(),
            });
            cx.out.push(Action::AnswerSync { ticket, result });
            let all_synced = self.members.values().all(|member| member.synced);
            if all_synced && let Phase::Stable { sync_deadline } = &mut self.phase {
                *sync_deadline = None;
            }
        }
        Ok(())
    }

    /// Takes a heartbeat: a sign of life, answered with the news.
    pub(crate) fn heartbeat(&mut self, cx: &mut Context<'_>, by: &MemberRef) -> Result<(), Error> {
        self.check_current(by)?;
        let state = self.state();
        match state {
            GroupState::Empty | GroupState::Dead => return Err(self.unknown(&by.member)),
            GroupState::PreparingRebalance
            | GroupState::CompletingRebalance
            | GroupState::Stable => (),
        }
        self.touch(cx, &by.member);
        if state == GroupState::PreparingRebalance {
            return Err(Error::RebalanceInProgress {
                group: self.id.clone(),
            });
        }
        Ok(())
    }

    /// Takes members out; each has its own answer, in the order asked.
    pub(crate) fn leave(
        &mut self,
        cx: &mut Context<'_>,
        leaving: &[Leaving],
    ) -> Vec<Result<(), Error>> {
        leaving.iter().map(|one| self.leave_one(cx, one)).collect()
    }

    fn leave_one(&mut self, cx: &mut Context<'_>, leaving: &Leaving) -> Result<(), Error> {
        let id = if leaving.member.is_empty() {
            // An administrator removes whoever holds the instance id.
            let holder = leaving
                .instance
                .as_ref()
                .and_then(|name| self.statics.get(name));
            holder
                .cloned()
                .ok_or_else(|| self.unknown(&leaving.member))?
        } else if self.pending.remove(&leaving.member).is_some() {
            self.try_complete_join(cx);
            return Ok(());
        } else {
            self.check_member(&leaving.member, leaving.instance.as_ref())?;
            leaving.member.clone()
        };
        let error = self.unknown(&id);
        self.detach(cx, &id, &error);
        self.after_removal(cx, Reason::MemberLeft);
        Ok(())
    }

    /// Whether `by` may commit now. A member's commit is also a sign of life.
    pub(crate) fn commit(&mut self, cx: &mut Context<'_>, by: &MemberRef) -> Result<(), Error> {
        let state = self.state();
        if state == GroupState::Dead {
            return Err(Error::NotAvailable {
                group: self.id.clone(),
            });
        }
        let is_member = by.generation >= 0 || !by.member.is_empty() || by.instance.is_some();
        if !is_member {
            // Only the members of a group with members may move its offsets.
            return if state == GroupState::Empty {
                Ok(())
            } else {
                Err(self.unknown(&by.member))
            };
        }
        self.check_current(by)?;
        match state {
            GroupState::Empty | GroupState::Dead => (),
            // It learns of the rebalance with its next heartbeat; its work so far counts.
            GroupState::Stable | GroupState::PreparingRebalance => self.touch(cx, &by.member),
            // It knows the new generation but not its assignment, so it cannot have worked in it.
            GroupState::CompletingRebalance => {
                return Err(Error::RebalanceInProgress {
                    group: self.id.clone(),
                });
            }
        }
        Ok(())
    }

    fn touch(&mut self, cx: &Context<'_>, member: &MemberId) {
        if let Some(member) = self.members.get_mut(member) {
            member.touch(cx.now);
        }
    }

    /// Whether `by` is a member and speaks of the current generation.
    fn check_current(&self, by: &MemberRef) -> Result<(), Error> {
        if self.phase == Phase::Dead {
            return Err(Error::NotAvailable {
                group: self.id.clone(),
            });
        }
        self.check_member(&by.member, by.instance.as_ref())?;
        if by.generation != self.generation {
            return Err(Error::IllegalGeneration {
                group: self.id.clone(),
                asked: by.generation,
                current: self.generation,
            });
        }
        Ok(())
    }
}

/// Copies, so that the request's frame can go. The last of several for one member counts.
fn owned(assignments: Vec<(MemberId, Bytes)>) -> BTreeMap<MemberId, Bytes> {
    let copied = assignments
        .into_iter()
        .map(|(id, bytes)| (id, Bytes::copy_from_slice(&bytes)));
    copied.collect()
}
