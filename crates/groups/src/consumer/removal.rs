//! How members go: they leave, are away for a while, or are lost.
//!
//! Invariants: what a member owned is nobody's when it is gone; a static member that is away keeps what
//! it has, except what it was asked to give back.

use super::group::{ConsumerGroup, Context};
use super::reconcile::Standing;
use super::{Assignment, ConsumerAnswer, ConsumerHeartbeat, LEAVES_FOR_NOW};
use crate::api::{Action, Note, Reason};
use crate::{Error, MemberId};

impl ConsumerGroup {
    /// Takes a heartbeat that leaves, for good or for a while.
    pub(crate) fn leave(
        &mut self,
        cx: &mut Context<'_>,
        request: &ConsumerHeartbeat,
    ) -> Result<ConsumerAnswer, Error> {
        let id = match &request.instance {
            None => &request.member,
            Some(instance) => match self.statics.get(instance) {
                None => return Err(self.unknown(&request.member)),
                Some(holder) if *holder != request.member => {
                    return Err(self.fenced_instance(request));
                }
                Some(holder) => holder,
            },
        };
        let id = id.clone();
        let Some(member) = self.members.get_mut(&id) else {
            return Err(self.unknown(&id));
        };
        if request.epoch == LEAVES_FOR_NOW {
            member.revoke_deadline = None;
            member.previous_epoch = member.standing.epoch;
            let standing = Standing {
                epoch: LEAVES_FOR_NOW,
                assigned: member.standing.assigned.clone(),
                revoking: Assignment::new(),
            };
            self.stand(&id, standing);
        } else {
            self.remove(cx, &id);
            self.bump(cx, Reason::MemberLeft);
            self.settle(cx);
        }
        Ok(ConsumerAnswer {
            member: id,
            epoch: request.epoch,
            heartbeat_interval: cx.options.consumer_heartbeat_interval,
            assignment: None,
        })
    }

    /// Removes who is overdue.
    pub(crate) fn tick(&mut self, cx: &mut Context<'_>) {
        let members = self.members.values();
        let overdue = members.filter_map(|member| {
            let revokes = member.revoke_deadline.is_some_and(|at| at <= cx.now);
            let reason = match (member.session_deadline <= cx.now, revokes) {
                (true, _) => Reason::SessionExpired,
                (false, true) => Reason::RevocationExpired,
                (false, false) => return None,
            };
            Some((member.id.clone(), reason))
        });
        let overdue: Vec<_> = overdue.collect();
        let Some((_, first)) = overdue.first() else {
            return;
        };
        let first = *first;
        for (member, reason) in overdue {
            self.remove(cx, &member);
            cx.out.push(Action::Note(Note::MemberRemoved {
                group: self.id.clone(),
                member,
                reason,
            }));
        }
        self.bump(cx, first);
        self.settle(cx);
        self.flush(cx);
    }

    fn remove(&mut self, cx: &mut Context<'_>, id: &MemberId) {
        let Some(member) = self.members.remove(id) else {
            return;
        };
        if let Some(instance) = &member.instance {
            self.statics.remove(instance);
        }
        let Standing {
            assigned, revoking, ..
        } = &member.standing;
        for at in assigned.iter().chain(revoking.iter()) {
            self.owners.remove(&at);
        }
        self.ledger.touch(id);
        if self.members.is_empty() {
            self.empty_since = cx.now;
            cx.out.push(Action::Note(Note::Emptied {
                group: self.id.clone(),
                generation: self.epoch,
            }));
        }
    }
}
