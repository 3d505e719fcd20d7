//! One step of one member towards its target: pure, and the only place that decides it.
//!
//! Rules, in this order:
//! 1. What a member was asked to give back it has given back when it says what it owns and none of it
//!    is there. Until then nothing moves. When it has, its epoch goes up by one.
//! 2. What it has and should not have is asked back first, and nothing new is given meanwhile; unless
//!    it says that it owns none of that already.
//! 3. Otherwise it is at the target's epoch and gets what it should have and nobody else owns.
//!
//! Invariants: nothing owned by somebody else is ever assigned; the epoch never goes down (from 0 or
//! -2, which are no epochs, it goes up too).

use model::{PartitionId, TopicId};

use super::Assignment;

/// Where a member stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) epoch: i32,
    pub(crate) assigned: Assignment,
    pub(crate) revoking: Assignment,
}

/// Where the member stands next; `None` when it stays. `owned` is what it says it owns, if it says it.
/// `is_free` says whether no other member owns a partition.
pub(crate) fn next(
    now: &Standing,
    target: &Assignment,
    target_epoch: i32,
    owned: Option<&Assignment>,
    is_free: impl Fn(TopicId, PartitionId) -> bool,
) -> Option<Standing> {
    let still_owns = |asked: &Assignment| owned.is_none_or(|owned| owned.intersects(asked));
    let mut epoch = now.epoch;
    if !now.revoking.is_empty() {
        if still_owns(&now.revoking) {
            return None;
        }
        epoch += 1;
    } else if epoch == target_epoch && now.assigned == *target {
        return None;
    }
    let mut assigned = now.assigned.intersection(target);
    let excess = now.assigned.difference(target);
    if !excess.is_empty() && still_owns(&excess) {
        return Some(Standing {
            epoch,
            assigned,
            revoking: excess,
        });
    }
    let missing = target.difference(&assigned);
    assigned.extend(missing.iter().filter(|(t, p)| is_free(*t, *p)));
    let next = Standing {
        epoch: target_epoch,
        assigned,
        revoking: Assignment::new(),
    };
    (next != *now).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(numbers: &[u32]) -> Assignment {
        let each = numbers.iter();
        each.map(|number| (TopicId::from_bytes([7; 16]), PartitionId::new(*number)))
            .collect()
    }

    fn standing(epoch: i32, assigned: &[u32], revoking: &[u32]) -> Standing {
        Standing {
            epoch,
            assigned: set(assigned),
            revoking: set(revoking),
        }
    }

    /// The next standing towards `target` at epoch 9, with what others own.
    fn step(
        now: &Standing,
        target: &[u32],
        owned: Option<&[u32]>,
        others: &[u32],
    ) -> Option<Standing> {
        let (owned, others) = (owned.map(set), set(others));
        next(now, &set(target), 9, owned.as_ref(), |t, p| {
            !others.contains(t, p)
        })
    }

    #[test]
    fn a_new_member_gets_what_is_free_and_the_rest_later() {
        let joined = step(&standing(0, &[], &[]), &[1, 2], Some(&[]), &[2]).unwrap();
        assert_eq!(joined, standing(9, &[1], &[]));
        assert_eq!(step(&joined, &[1, 2], None, &[2]), None, "still not free");
        let all = step(&joined, &[1, 2], None, &[]).unwrap();
        assert_eq!(all, standing(9, &[1, 2], &[]));
        assert_eq!(step(&all, &[1, 2], None, &[]), None, "reconciled");
    }

    #[test]
    fn nothing_new_is_given_before_the_old_is_given_back() {
        let asked = step(&standing(5, &[1, 2], &[]), &[2, 3], None, &[]).unwrap();
        assert_eq!(asked, standing(5, &[2], &[1]), "same epoch");
        assert_eq!(step(&asked, &[2, 3], None, &[]), None, "no word of it");
        let mine: &[u32] = &[1, 2];
        assert_eq!(step(&asked, &[2, 3], Some(mine), &[]), None, "still there");
        let back = step(&asked, &[2, 3], Some(&[2]), &[]).unwrap();
        assert_eq!(back, standing(9, &[2, 3], &[]));
    }

    #[test]
    fn a_member_that_owns_nothing_gives_back_at_once() {
        let again = step(&standing(5, &[1, 2], &[]), &[2, 3], Some(&[]), &[]).unwrap();
        assert_eq!(again, standing(9, &[2, 3], &[]));
        let midway = step(&standing(5, &[2], &[1]), &[3], Some(&[]), &[]).unwrap();
        assert_eq!(midway, standing(9, &[3], &[]));
    }

    #[test]
    fn a_target_that_changes_midway_is_asked_for_in_its_turn() {
        let asked = standing(5, &[2], &[1]);
        let next = step(&asked, &[3], Some(&[2]), &[]).unwrap();
        assert_eq!(
            next,
            standing(6, &[], &[2]),
            "the second part is asked back"
        );
        assert_eq!(
            step(&next, &[3], Some(&[]), &[]).unwrap(),
            standing(9, &[3], &[])
        );
        let returned = step(&asked, &[1, 2], Some(&[2]), &[]).unwrap();
        assert_eq!(returned, standing(9, &[1, 2], &[]), "back to where it was");
    }
}
