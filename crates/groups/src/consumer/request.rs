//! What a heartbeat means: joining, coming back, going on. And who may commit and read offsets.
//!
//! Invariants: a refused heartbeat changes nothing. Source: KIP-848, and the answers of Kafka 4.1's
//! coordinator in each case.

use std::sync::Arc;

use super::group::{ConsumerGroup, Context};
use super::member::Member;
use super::reconcile::Standing;
use super::subscription::{NAMES_BYTES_MAX, Subscription};
use super::{Assignment, Assignor, ConsumerAnswer, ConsumerHeartbeat, LEAVES, LEAVES_FOR_NOW};
use crate::api::{Action, MemberRef, Note, Reason};
use crate::{Error, InstanceId, MemberId, Ticket};

/// Longest id or rack a client may choose, in bytes: they are kept, stored and sent many times.
const TEXT_BYTES_MAX: usize = 1_024;

/// Whose heartbeat it is.
enum Who {
    /// A member.
    Known(MemberId),
    /// A static member that was away and comes back under another id.
    Returns { old: MemberId },
    /// Nobody yet.
    New,
}

/// Checks what does not depend on the group.
///
/// # Errors
/// [`Error::InvalidRequest`], [`Error::UnsupportedAssignor`].
pub(crate) fn validate(request: &ConsumerHeartbeat) -> Result<(), Error> {
    let rule = |holds: bool, problem: &'static str| {
        if holds {
            Ok(())
        } else {
            Err(Error::InvalidRequest { problem })
        }
    };
    let joins = request.epoch == 0;
    let text = |text: Option<&str>| text.is_none_or(|text| !text.is_empty());
    let short = |text: &str| text.len() <= TEXT_BYTES_MAX;
    let instance = request.instance.as_ref().map(InstanceId::as_str);
    rule(
        request.epoch >= LEAVES_FOR_NOW,
        "a member epoch is -2 or more",
    )?;
    rule(
        !request.member.is_empty() || (joins && request.may_lack_id),
        "a member id is needed",
    )?;
    rule(text(instance), "an instance id cannot be empty")?;
    rule(text(request.rack.as_deref()), "a rack id cannot be empty")?;
    rule(
        short(request.member.as_str())
            && instance.is_none_or(short)
            && request.rack.as_deref().is_none_or(short),
        "a member, instance or rack id has at most 1024 bytes",
    )?;
    rule(
        request.epoch != LEAVES_FOR_NOW || instance.is_some(),
        "only a member with an instance id leaves with epoch -2",
    )?;
    if joins {
        rule(
            request.rebalance_timeout.is_some(),
            "a first heartbeat needs a rebalance timeout",
        )?;
        rule(
            request.owned.as_ref().is_some_and(Assignment::is_empty),
            "a first heartbeat needs an empty list of partitions",
        )?;
        rule(
            request.names.is_some() || request.regex.is_some(),
            "a first heartbeat needs topics by name or by pattern",
        )?;
    }
    let names = request.names.iter().flatten();
    rule(
        names.map(|name| name.len()).sum::<usize>() <= NAMES_BYTES_MAX,
        "the names of topics have at most 32 KiB together; use a pattern for more",
    )?;
    match request.assignor.as_deref() {
        Some(name) if Assignor::named(name).is_none() => Err(Error::UnsupportedAssignor {
            asked: name.chars().take(100).collect(),
        }),
        _ => Ok(()),
    }
}

impl ConsumerGroup {
    /// Takes a heartbeat that was validated. The answer comes now, or when what it shows is stored.
    pub(crate) fn heartbeat(
        &mut self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        request: &ConsumerHeartbeat,
        random: [u8; 16],
    ) {
        let answer = match request.epoch {
            LEAVES | LEAVES_FOR_NOW => self.leave(cx, request),
            _ => self.beat(cx, request, random),
        };
        self.flush(cx);
        match answer {
            Ok(answer) if !self.ledger.is_clean() => self.ledger.hold(ticket, answer),
            result => cx.out.push(Action::AnswerConsumer { ticket, result }),
        }
    }

    /// An answer that waited, unless what it shows was overtaken meanwhile: a member that was removed
    /// must not be told that it owns something.
    pub(crate) fn still_holds(&self, answer: ConsumerAnswer) -> Result<ConsumerAnswer, Error> {
        let standing = self.members.get(&answer.member).map(|m| &m.standing);
        let holds = match standing {
            None => answer.epoch == LEAVES,
            Some(now) => {
                let told = answer.assignment.as_ref();
                now.epoch == answer.epoch && told.is_none_or(|told| *told == now.assigned)
            }
        };
        if holds {
            return Ok(answer);
        }
        let group = self.id.clone();
        Err(Error::NotAvailable { group })
    }

    fn beat(
        &mut self,
        cx: &mut Context<'_>,
        request: &ConsumerHeartbeat,
        random: [u8; 16],
    ) -> Result<ConsumerAnswer, Error> {
        if self.is_dead {
            let group = self.id.clone();
            return Err(Error::NotAvailable { group });
        }
        let who = self.find(request)?;
        let limit = cx.options.consumer_members_max;
        if matches!(who, Who::New) && self.members.len() >= limit {
            let group = self.id.clone();
            return Err(Error::GroupFull { group, limit });
        }
        self.see_topics(cx);
        let known = match &who {
            Who::Known(id) | Who::Returns { old: id } => self.members.get(id),
            Who::New => None,
        };
        let known = known.map(|member| Arc::clone(&member.subscription));
        let subscription = self.subscribe(cx, request, known.as_ref())?;
        let resubscribed = known.as_ref() != Some(&subscription);
        drop(known);

        let assignor = self.assignor();
        let is_new = matches!(who, Who::New);
        let id = self.enter(cx, request, who, &subscription, random);
        let Some(member) = self.members.get_mut(&id) else {
            return Err(self.unknown(&id));
        };
        member.session_deadline = cx.now + cx.options.consumer_session_timeout;
        if member.update(request, &subscription) {
            self.ledger.touch(&id);
        }
        let (before, lost) = (
            member.standing.assigned.clone(),
            member.standing.epoch != request.epoch,
        );
        drop(subscription);
        if is_new {
            self.bump(cx, Reason::MemberJoined);
        } else if resubscribed {
            self.bump(cx, Reason::SubscriptionChanged);
        } else if assignor != self.assignor() {
            self.bump(cx, Reason::AssignorChanged);
        }
        self.settle(cx);
        self.reconcile(cx, &id, request.owned.as_ref());

        let standing = self.members.get(&id).map(|member| &member.standing);
        let Some(standing) = standing else {
            return Err(self.unknown(&id));
        };
        let is_whole = request.rebalance_timeout.is_some()
            && request.owned.is_some()
            && (request.names.is_some() || request.regex.is_some());
        let tell = is_whole || lost || standing.assigned != before;
        Ok(ConsumerAnswer {
            epoch: standing.epoch,
            heartbeat_interval: cx.options.consumer_heartbeat_interval,
            assignment: tell.then(|| standing.assigned.clone()),
            member: id,
        })
    }

    /// Whose heartbeat it is.
    fn find(&self, request: &ConsumerHeartbeat) -> Result<Who, Error> {
        let joins = request.epoch == 0;
        let known = self.members.get(&request.member);
        let holder = request.instance.as_ref().map(|id| self.statics.get(id));
        let member = match (holder, known) {
            (None | Some(None), None) if joins => return Ok(Who::New),
            (None | Some(None), None) => return Err(self.unknown(&request.member)),
            (Some(None), Some(_)) if !joins => return Err(self.unknown(&request.member)),
            (None | Some(None), Some(member)) => member,
            (Some(Some(holder)), _) if *holder == request.member => self
                .members
                .get(holder)
                .ok_or_else(|| self.unknown(holder))?,
            (Some(Some(holder)), _) if joins => {
                let away = self.members.get(holder).is_some_and(Member::is_away);
                if away && known.is_none() {
                    return Ok(Who::Returns {
                        old: holder.clone(),
                    });
                }
                return Err(Error::UnreleasedInstance {
                    group: self.id.clone(),
                    instance: request.instance.clone().unwrap_or_else(|| "".into()),
                });
            }
            (Some(Some(_)), _) => return Err(self.fenced_instance(request)),
        };
        if !joins {
            self.check_epoch(member, request)?;
        }
        Ok(Who::Known(member.id.clone()))
    }

    /// A member speaks of the epoch it was last told; or of the one before, if it may not have heard of
    /// its last step and owns nothing that the step took away.
    fn check_epoch(&self, member: &Member, request: &ConsumerHeartbeat) -> Result<(), Error> {
        let Standing {
            epoch, assigned, ..
        } = &member.standing;
        let unheard = || {
            let owned = request.owned.as_ref();
            request.epoch == member.previous_epoch
                && owned.is_some_and(|owned| owned.is_subset(assigned))
        };
        if request.epoch == *epoch || (request.epoch < *epoch && unheard()) {
            return Ok(());
        }
        Err(Error::FencedMemberEpoch {
            group: self.id.clone(),
            member: member.id.clone(),
            asked: request.epoch,
            current: *epoch,
        })
    }

    pub(crate) fn fenced_instance(&self, request: &ConsumerHeartbeat) -> Error {
        Error::FencedInstance {
            group: self.id.clone(),
            instance: request.instance.clone().unwrap_or_else(|| "".into()),
            member: request.member.clone(),
        }
    }

    /// What the member reads from now on.
    fn subscribe(
        &mut self,
        cx: &Context<'_>,
        request: &ConsumerHeartbeat,
        known: Option<&Arc<Subscription>>,
    ) -> Result<Arc<Subscription>, Error> {
        let (names, regex) = (&request.names, &request.regex);
        let same = |known: &Arc<Subscription>| {
            names.as_ref().is_none_or(|names| *names == known.names)
                && regex.as_ref().is_none_or(|regex| {
                    Some(&**regex).filter(|regex| !regex.is_empty()) == known.regex.as_deref()
                })
        };
        if let Some(known) = known.filter(|known| same(known)) {
            return Ok(Arc::clone(known));
        }
        let of = |pick: fn(&Subscription) -> Vec<Arc<str>>| known.map(|known| pick(known));
        let names = names.clone().or_else(|| of(|known| known.names.clone()));
        let regex = regex
            .clone()
            .or_else(|| known.and_then(|known| known.regex.clone()));
        let subscription = Subscription::new(names.unwrap_or_default(), regex);
        self.subscriptions.intern(subscription, cx.topics)
    }

    /// Makes the heartbeat's member one of the group, and answers its id.
    fn enter(
        &mut self,
        cx: &mut Context<'_>,
        request: &ConsumerHeartbeat,
        who: Who,
        subscription: &Arc<Subscription>,
        random: [u8; 16],
    ) -> MemberId {
        let own = || {
            if request.member.is_empty() {
                MemberId::generate(&request.client_id, random)
            } else {
                request.member.clone()
            }
        };
        let id = match who {
            Who::Known(id) => id,
            Who::New => {
                let id = own();
                let member = Member::new(id.clone(), request, Arc::clone(subscription));
                self.members.insert(id.clone(), member);
                self.ledger.touch(&id);
                id
            }
            Who::Returns { old } => {
                let id = own();
                self.rename(cx, &old, &id);
                id
            }
        };
        if let Some(instance) = &request.instance
            && let Some(member) = self.members.get_mut(&id)
        {
            let former = member.instance.replace(instance.clone());
            if former.as_ref() != Some(instance) {
                self.ledger.touch(&id);
            }
            if let Some(former) = former {
                self.statics.remove(&former);
            }
            self.statics.insert(instance.clone(), id.clone());
        }
        id
    }

    /// A static member that was away has a new id; what it had is its own again.
    fn rename(&mut self, cx: &mut Context<'_>, old: &MemberId, new: &MemberId) {
        let Some(mut member) = self.members.remove(old) else {
            return;
        };
        if let Some(instance) = &member.instance {
            cx.out.push(Action::Note(Note::InstanceTakenOver {
                group: self.id.clone(),
                instance: instance.clone(),
                old: old.clone(),
                new: new.clone(),
            }));
        }
        member.id = new.clone();
        member.previous_epoch = 0;
        let standing = Standing {
            epoch: 0,
            ..member.standing.clone()
        };
        self.members.insert(new.clone(), member);
        self.ledger.touch(old);
        self.stand(new, standing);
    }

    /// Whether `by` may commit offsets now.
    ///
    /// # Errors
    /// [`Error::UnknownMember`], [`Error::StaleMemberEpoch`], [`Error::NotAvailable`].
    pub(crate) fn may_commit(&self, by: &MemberRef) -> Result<(), Error> {
        if self.is_dead {
            let group = self.id.clone();
            return Err(Error::NotAvailable { group });
        }
        if by.generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        self.check_current(by)
    }

    /// Whether `by` may read offsets now; who names no member may.
    ///
    /// # Errors
    /// [`Error::UnknownMember`], [`Error::StaleMemberEpoch`].
    pub(crate) fn may_fetch(&self, by: &MemberRef) -> Result<(), Error> {
        if by.generation < 0 && by.member.is_empty() {
            return Ok(());
        }
        self.check_current(by)
    }

    fn check_current(&self, by: &MemberRef) -> Result<(), Error> {
        let member = self.members.get(&by.member);
        let current = member
            .ok_or_else(|| self.unknown(&by.member))?
            .standing
            .epoch;
        if by.generation == current {
            return Ok(());
        }
        Err(Error::StaleMemberEpoch {
            group: self.id.clone(),
            member: by.member.clone(),
            asked: by.generation,
            current,
        })
    }
}
