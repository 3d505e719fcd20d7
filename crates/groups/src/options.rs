//! What an operator can set about groups.

use std::time::Duration;

/// Options of the group coordinator. Names in comments are Kafka's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Shortest session timeout a member may ask for (`group.min.session.timeout.ms`). Default 6 s.
    pub session_timeout_min: Duration,
    /// Longest session timeout a member may ask for (`group.max.session.timeout.ms`). Default 30 min.
    pub session_timeout_max: Duration,
    /// The first rebalance of an empty group waits this long after each member that joins, so that
    /// members started together end up in one generation. Default 150 ms; zero does not wait.
    pub initial_quiet: Duration,
    /// The first rebalance of an empty group waits at most this long in total
    /// (`group.initial.rebalance.delay.ms`). Default 500 ms.
    pub initial_delay_max: Duration,
    /// A new member that waits in a rebalance and cannot yet send heartbeats is dropped after this
    /// long; it is then expected to try again. Default 5 min.
    pub new_member_timeout: Duration,
    /// Most members of one group (`group.max.size`). Default 1,000.
    pub members_max: usize,
    /// Most members of one group that were given an id and have not yet joined with it. Default 1,000.
    pub pending_max: usize,
    /// Most groups. When reached, the group that has been empty for longest makes room. Default 10,000.
    pub groups_max: usize,
    /// A group empty for this long is forgotten; the offsets of one that is not known and has committed nothing for as
    /// long go (`offsets.retention.minutes`). Default 7 days, 1 min to 10 years.
    pub offsets_retention: Duration,
    /// A member of the second protocol without a heartbeat for this long is out
    /// (`group.consumer.session.timeout.ms`). Default 45 s.
    pub consumer_session_timeout: Duration,
    /// How often members of the second protocol are told to send heartbeats
    /// (`group.consumer.heartbeat.interval.ms`). Default 5 s, shorter than the session timeout.
    pub consumer_heartbeat_interval: Duration,
    /// Most members of one group of the second protocol (`group.consumer.max.size`). Default 1,000; at
    /// most 1,500, so that all their records fit into one batch.
    pub consumer_members_max: usize,
}

/// The largest [`Options::consumer_members_max`].
const CONSUMER_MEMBERS_LIMIT: usize = 1_500;

/// The shortest and the longest [`Options::offsets_retention`].
const OFFSETS_RETENTION_MIN: Duration = Duration::from_mins(1);
const OFFSETS_RETENTION_MAX: Duration = Duration::from_hours(10 * 365 * 24);

impl Default for Options {
    fn default() -> Self {
        Self {
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_mins(30),
            initial_quiet: Duration::from_millis(150),
            initial_delay_max: Duration::from_millis(500),
            new_member_timeout: Duration::from_mins(5),
            members_max: 1_000,
            pending_max: 1_000,
            groups_max: 10_000,
            offsets_retention: Duration::from_hours(7 * 24),
            consumer_session_timeout: Duration::from_secs(45),
            consumer_heartbeat_interval: Duration::from_secs(5),
            consumer_members_max: 1_000,
        }
    }
}

impl Options {
    /// All problems of these options at once; empty when they can be used.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.session_timeout_min > self.session_timeout_max {
            problems.push(format!(
                "the shortest session timeout {:?} is longer than the longest {:?}",
                self.session_timeout_min, self.session_timeout_max
            ));
        }
        if self.initial_quiet > self.initial_delay_max {
            problems.push(format!(
                "the quiet time {:?} before a first rebalance is longer than the longest wait {:?}",
                self.initial_quiet, self.initial_delay_max
            ));
        }
        let (beat, session) = (
            self.consumer_heartbeat_interval,
            self.consumer_session_timeout,
        );
        if beat.is_zero() || beat >= session {
            problems.push(format!(
                "consumer_heartbeat_interval is {beat:?}, it must be above 0 and below \
                 consumer_session_timeout, {session:?}"
            ));
        }
        if !(1..=CONSUMER_MEMBERS_LIMIT).contains(&self.consumer_members_max) {
            problems.push(format!(
                "consumer_members_max is {}, it must be 1 to {CONSUMER_MEMBERS_LIMIT}",
                self.consumer_members_max
            ));
        }
        let retention = self.offsets_retention;
        if !(OFFSETS_RETENTION_MIN..=OFFSETS_RETENTION_MAX).contains(&retention) {
            problems.push(format!(
                "offsets_retention is {retention:?}, it must be 1 minute to 10 years"
            ));
        }
        for (name, value) in [
            ("members_max", self.members_max),
            ("pending_max", self.pending_max),
            ("groups_max", self.groups_max),
        ] {
            if value == 0 {
                problems.push(format!("{name} cannot be 0"));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_reported() {
        assert_eq!(Options::default().validate(), Vec::<String>::new());
        let bad = Options {
            session_timeout_min: Duration::from_hours(1),
            initial_quiet: Duration::from_secs(1),
            members_max: 0,
            groups_max: 0,
            consumer_heartbeat_interval: Duration::from_mins(1),
            consumer_members_max: 0,
            offsets_retention: Duration::ZERO,
            ..Options::default()
        };
        assert_eq!(bad.validate().len(), 7, "{:?}", bad.validate());
    }
}
