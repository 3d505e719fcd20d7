//! What a join request means in each state: a new member, one that comes back, or a retry.
//!
//! Invariants: every request leaves one answer, at once or held back with its ticket.
//! Not here: how the rebalance it may begin goes on (`rebalance`). Source: Kafka's
//! `GroupCoordinator.handleJoinGroup`, JoinGroup versions 0 to 9.

use crate::api::{Action, GroupState, JoinRequest, Note, Reason};
use crate::group::{Context, Group, OnStored};
use crate::member::{Awaits, Member};
use crate::rebalance::Phase;
use crate::{Error, InstanceId, MemberId, Ticket};

impl Group {
    /// Takes a join request; `random` makes the id of a new member.
    pub(crate) fn join(
        &mut self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        request: &JoinRequest,
        random: [u8; 16],
    ) {
        if let Err(error) = self.try_join(cx, ticket, request, random) {
            cx.out.push(Action::AnswerJoin {
                ticket,
                result: Err(error),
            });
        }
        self.try_complete_join(cx);
    }

    fn try_join(
        &mut self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        request: &JoinRequest,
        random: [u8; 16],
    ) -> Result<(), Error> {
        if self.phase == Phase::Dead {
            return Err(Error::NotAvailable {
                group: self.id.clone(),
            });
        }
        self.accept_size(cx, &request.member)?;
        if !self.supports(&request.protocol_type, &request.protocols) {
            return Err(Error::InconsistentProtocol {
                group: self.id.clone(),
            });
        }
        if request.member.is_empty() {
            self.join_new(cx, ticket, request, random)
        } else if self.pending.contains_key(&request.member) && request.instance.is_none() {
            self.add(cx, ticket, request, request.member.clone());
            Ok(())
        } else {
            self.join_again(cx, ticket, request)
        }
    }

    /// Whether there is room. While members rejoin, only those who did count, so that a group that
    /// is larger than a lowered limit can still shrink to it.
    fn accept_size(&mut self, cx: &mut Context<'_>, member: &MemberId) -> Result<(), Error> {
        let limit = cx.options.members_max;
        let known = self.members.get(member);
        let fits = match self.state() {
            GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance => {
                known.is_some_and(Member::awaits_join)
                    || self.members.values().filter(|m| m.awaits_join()).count() < limit
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                known.is_some() || self.members.len() < limit
            }
        };
        if fits {
            return Ok(());
        }
        let error = Error::GroupFull {
            group: self.id.clone(),
            limit,
        };
        self.detach(cx, member, &error);
        Err(error)
    }

    fn join_new(
        &mut self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        request: &JoinRequest,
        random: [u8; 16],
    ) -> Result<(), Error> {
        if let Some(instance) = &request.instance {
            let new = MemberId::generate(instance.as_str(), random);
            match self.statics.get(instance).cloned() {
                Some(old) => self.replace_static(cx, ticket, request, instance, &old, &new),
                None => self.add(cx, ticket, request, new),
            }
            return Ok(());
        }
        let new = MemberId::generate(&request.client_id, random);
        if !request.member_id_required {
            self.add(cx, ticket, request, new);
            return Ok(());
        }
        if self.pending.len() >= cx.options.pending_max {
            let (group, limit) = (self.id.clone(), cx.options.pending_max);
            return Err(Error::GroupFull { group, limit });
        }
        self.pending
            .insert(new.clone(), cx.now + request.session_timeout);
        Err(Error::MemberIdRequired { member: new })
    }

    /// A member the group had before asks to be in the next generation, or only for the news.
    fn join_again(
        &mut self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        request: &JoinRequest,
    ) -> Result<(), Error> {
        let id = &request.member;
        self.check_member(id, request.instance.as_ref())?;
        let Some(member) = self.members.get(id) else {
            return Err(self.unknown(id));
        };
        let same = member.matches(&request.protocols);
        let wants_news = match self.state() {
            GroupState::Empty | GroupState::Dead => return Err(self.unknown(id)),
            GroupState::PreparingRebalance => false,
            // The answer to its join was lost: the same once more.
            GroupState::CompletingRebalance => same,
            // A leader that joins again asks for a rebalance (its topics may have changed).
            GroupState::Stable => same && !self.is_leader(id),
        };
        if wants_news {
            let result = Ok(self.join_answer(id));
            cx.out.push(Action::AnswerJoin { ticket, result });
        } else {
            self.update(cx, id, request, ticket);
            self.prepare(cx, Reason::MemberRejoined);
        }
        Ok(())
    }

    /// A member the group did not have.
    fn add(&mut self, cx: &mut Context<'_>, ticket: Ticket, request: &JoinRequest, id: MemberId) {
        let mut member = Member::new(id, request, self.next_seniority);
        self.next_seniority += 1;
        member.awaits = Awaits::Join(ticket);
        member.deadline = cx.now + cx.options.new_member_timeout;
        if self.members.is_empty() {
            self.protocol_type = request.protocol_type.clone();
        }
        self.insert(member);
        self.extend_first(cx);
        self.prepare(cx, Reason::MemberJoined);
    }

    /// A static member comes back in a new process.
    fn replace_static(
        &mut self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        request: &JoinRequest,
        instance: &InstanceId,
        old: &MemberId,
        new: &MemberId,
    ) {
        let leader_told = self.leader_id();
        self.rename(cx, old, new);
        self.update(cx, new, request, ticket);
        if let Some(member) = self.members.get_mut(new) {
            member.touch(cx.now);
        }
        cx.note(Note::InstanceTakenOver {
            group: self.id.clone(),
            instance: instance.clone(),
            old: old.clone(),
            new: new.clone(),
        });
        match self.state() {
            GroupState::Stable if self.select_protocol() == self.protocol => {
                let then = OnStored::Welcome {
                    generation: self.generation,
                    member: new.clone(),
                    leader_told,
                    skip_assignment: request.may_skip_assignment,
                };
                self.store(cx, Some(then));
            }
            // The leader may have been given the old id to assign to.
            GroupState::Stable | GroupState::CompletingRebalance => {
                self.prepare(cx, Reason::StaticMemberReplaced);
            }
            GroupState::PreparingRebalance | GroupState::Empty | GroupState::Dead => (),
        }
    }

    /// Whether `member` is in the group and, if it names an instance, still the one that holds it.
    pub(crate) fn check_member(
        &self,
        member: &MemberId,
        instance: Option<&InstanceId>,
    ) -> Result<(), Error> {
        if let Some(instance) = instance {
            return match self.statics.get(instance) {
                Some(current) if current == member => Ok(()),
                Some(_) => Err(Error::FencedInstance {
                    group: self.id.clone(),
                    instance: instance.clone(),
                    member: member.clone(),
                }),
                None => Err(self.unknown(member)),
            };
        }
        if self.members.contains_key(member) {
            Ok(())
        } else {
            Err(self.unknown(member))
        }
    }
}
