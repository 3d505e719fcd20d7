//! One member: what it said about itself, and where it stands.
//!
//! Invariants: `revoke_deadline` is set exactly while `revoking` is not empty.

use std::sync::Arc;
use std::time::Duration;

use super::reconcile::Standing;
use super::records::MemberRecord;
use super::subscription::Subscription;
use super::{Assignment, Assignor, ConsumerHeartbeat, ConsumerMemberDescription, LEAVES_FOR_NOW};
use crate::{InstanceId, MemberId};

/// The rebalance timeout of a member whose record lost it; every join brings one.
pub(crate) const REBALANCE_TIMEOUT: Duration = Duration::from_mins(5);

#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) instance: Option<InstanceId>,
    pub(crate) rack: Option<Arc<str>>,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) assignor: Option<Assignor>,
    pub(crate) standing: Standing,
    /// The epoch before the last step: an answer may have been lost.
    pub(crate) previous_epoch: i32,
    pub(crate) target: Assignment,
    /// When it is given up for lost.
    pub(crate) session_deadline: Duration,
    /// Until when it must have given back what it was asked for.
    pub(crate) revoke_deadline: Option<Duration>,
}

impl Member {
    /// A member that has nothing yet.
    pub(crate) fn new(
        id: MemberId,
        request: &ConsumerHeartbeat,
        subscription: Arc<Subscription>,
    ) -> Self {
        Self {
            id,
            instance: request.instance.clone(),
            rack: request.rack.clone(),
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            rebalance_timeout: request.rebalance_timeout.unwrap_or(REBALANCE_TIMEOUT),
            subscription,
            assignor: request.assignor.as_deref().and_then(Assignor::named),
            standing: Standing {
                epoch: 0,
                assigned: Assignment::new(),
                revoking: Assignment::new(),
            },
            previous_epoch: 0,
            target: Assignment::new(),
            session_deadline: Duration::ZERO,
            revoke_deadline: None,
        }
    }

    /// Takes over what a heartbeat says; tells whether anything is different.
    pub(crate) fn update(
        &mut self,
        request: &ConsumerHeartbeat,
        subscription: &Arc<Subscription>,
    ) -> bool {
        let mut changed = false;
        changed |= set_if_said(&mut self.rack, request.rack.clone().map(Some));
        changed |= set_if_said(&mut self.rebalance_timeout, request.rebalance_timeout);
        let assignor = request.assignor.as_deref().map(Assignor::named);
        changed |= set_if_said(&mut self.assignor, assignor);
        changed |= set_if_said(&mut self.client_id, Some(request.client_id.clone()));
        changed |= set_if_said(&mut self.client_host, Some(request.client_host.clone()));
        changed | set_if_said(&mut self.subscription, Some(Arc::clone(subscription)))
    }

    /// Whether it left for a while.
    pub(crate) fn is_away(&self) -> bool {
        self.standing.epoch == LEAVES_FOR_NOW
    }

    /// Whether it has its target.
    pub(crate) fn is_reconciled(&self, target_epoch: i32) -> bool {
        let Standing {
            epoch,
            assigned,
            revoking,
        } = &self.standing;
        *epoch == target_epoch && revoking.is_empty() && *assigned == self.target
    }

    /// When to look at it again.
    pub(crate) fn next_deadline(&self) -> Duration {
        self.revoke_deadline
            .map_or(self.session_deadline, |at| at.min(self.session_deadline))
    }

    pub(crate) fn record(&self) -> MemberRecord {
        let Standing {
            epoch,
            assigned,
            revoking,
        } = self.standing.clone();
        MemberRecord {
            instance: self.instance.clone(),
            rack: self.rack.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout: self.rebalance_timeout,
            names: self.subscription.names.clone(),
            regex: self.subscription.regex.clone(),
            assignor: self.assignor,
            epoch,
            previous_epoch: self.previous_epoch,
            assigned,
            revoking,
            target: self.target.clone(),
        }
    }

    pub(crate) fn describe(&self) -> ConsumerMemberDescription {
        ConsumerMemberDescription {
            member: self.id.clone(),
            instance: self.instance.clone(),
            rack: self.rack.clone(),
            epoch: self.standing.epoch,
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            names: self.subscription.names.clone(),
            regex: self.subscription.regex.clone(),
            assigned: self.standing.assigned.clone(),
            revoking: self.standing.revoking.clone(),
            target: self.target.clone(),
        }
    }
}

fn set_if_said<T: PartialEq>(place: &mut T, said: Option<T>) -> bool {
    match said {
        Some(new) if new != *place => {
            *place = new;
            true
        }
        _ => false,
    }
}
