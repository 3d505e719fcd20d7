//! Dividing things among members who may all have any of them, so that no two have more than one
//! apart, with as few things changing hands as that allows.
//!
//! Why it is the fewest: somebody must end with `total / members` things or one more. As many members
//! as may end with one more are taken from those who have more already, so nobody gives away anything
//! that the sizes would let it keep.

/// In which order what is free is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fill {
    /// One to each in turn: neighbours go to different members.
    InTurn,
    /// To each all it gets: neighbours stay together.
    InRuns,
}

/// Divides what members `kept` and what is `free`.
///
/// # Panics
/// Without members.
pub(super) fn divide<T: Copy + Ord>(
    mut kept: Vec<Vec<T>>,
    free: impl IntoIterator<Item = T>,
    fill: Fill,
) -> Vec<Vec<T>> {
    let mut free: Vec<T> = free.into_iter().collect();
    let total = kept.iter().map(Vec::len).sum::<usize>() + free.len();
    let (least, mut more) = (total / kept.len(), total % kept.len());
    let mut quotas = Vec::with_capacity(kept.len());
    for had in &kept {
        let one_more = had.len() > least && more > 0;
        more -= usize::from(one_more);
        quotas.push(least + usize::from(one_more));
    }
    for quota in quotas.iter_mut().filter(|quota| **quota == least) {
        let one_more = more > 0;
        more -= usize::from(one_more);
        *quota += usize::from(one_more);
    }
    for (had, quota) in kept.iter_mut().zip(&quotas) {
        had.sort_unstable();
        free.extend(had.drain((*quota).min(had.len())..));
    }
    free.sort_unstable();
    let mut free = free.into_iter();
    loop {
        let mut given = false;
        for (had, quota) in kept.iter_mut().zip(&quotas) {
            let room = quota - had.len();
            let take = match fill {
                Fill::InTurn => room.min(1),
                Fill::InRuns => room,
            };
            given |= take > 0;
            had.extend(free.by_ref().take(take));
        }
        if !given {
            return kept;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_change_hands_only_where_sizes_ask_for_it() {
        let fresh = |fill| divide(vec![vec![], vec![], vec![]], 0..7, fill);
        assert_eq!(fresh(Fill::InTurn), [vec![0, 3, 6], vec![1, 4], vec![2, 5]]);
        assert_eq!(fresh(Fill::InRuns), [vec![0, 1, 2], vec![3, 4], vec![5, 6]]);
        let joins = divide(
            vec![vec![0, 1, 2], vec![3, 4, 5, 6], vec![]],
            [],
            Fill::InRuns,
        );
        assert_eq!(joins, [vec![0, 1, 2], vec![3, 4], vec![5, 6]]);
        let leaves = divide(vec![vec![0, 1], vec![4, 5]], [2, 3, 6], Fill::InTurn);
        assert_eq!(leaves, [vec![0, 1, 2, 6], vec![4, 5, 3]]);
        assert_eq!(divide(vec![vec![9]], [], Fill::InTurn), [vec![9]]);
        assert_eq!(
            divide(vec![vec![], vec![]], [1], Fill::InTurn),
            [vec![1], vec![]]
        );
    }
}
