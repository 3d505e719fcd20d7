//! How far somebody is who goes through a partition in order and leaves some records for later.
//!
//! Unlike [`Progress`](crate::Progress), which remembers each record between the first unfinished one and the last, this holds
//! runs only: what was done without a gap is two numbers. So it is bounded by the note that is kept of it, and whoever goes
//! on asks [`Passed::may_finish`] before what the note could not tell is done.

use model::Position;

use crate::Finished;

/// Most bytes of one run: two numbers of 32 digits, and commas.
const RUN_BYTES_MAX: usize = 66;
/// New runs after which what was known before is measured again; it only gets less.
const MEASURE_EVERY: usize = 64;

/// Runs of records that are done.
#[derive(Debug, Clone, Default)]
pub struct Passed {
    /// The first record left.
    left: Option<Position>,
    /// First and last record of each run behind it.
    runs: Vec<(Position, Position)>,
    /// Whether the last record passed belongs to the last run.
    open: bool,
    read_to: Position,
    /// Bytes of all runs but the last in a note.
    bytes: usize,
    /// Bytes of what was known before, as of so many runs.
    known: Option<(usize, usize)>,
}

impl Passed {
    /// Everything before `position` is done.
    pub fn at(position: Position) -> Self {
        Self {
            read_to: position,
            ..Self::default()
        }
    }

    /// Passes the record at `at`, of which `next` is the place behind it.
    pub fn pass(&mut self, at: Position, next: Position, done: bool) {
        debug_assert!(at >= self.read_to, "records are passed in order");
        if !done {
            self.left.get_or_insert(at);
        } else if self.left.is_some() {
            if let Some(run) = self.runs.last_mut().filter(|_| self.open) {
                run.1 = at;
            } else {
                self.close();
                self.runs.push((at, at));
            }
        }
        self.open = done;
        self.read_to = next;
    }

    /// Adds the last run to the bytes of those that do not change any more.
    fn close(&mut self) {
        let Some((first, last)) = self.runs.last() else {
            return;
        };
        let before = match self.runs.len() {
            1 => self.position(),
            len => self
                .runs
                .get(len - 2)
                .map_or(Position::default(), |run| run.1),
        };
        let digits = |number: u128| usize::try_from((131 - number.max(1).leading_zeros()) / 4);
        let numbers = [first.bits() - before.bits(), last.bits() - first.bits()];
        self.bytes += 2;
        for number in numbers {
            self.bytes += digits(number).unwrap_or_default();
        }
    }

    /// Whether the next record can be done so that a note of at most `limit` bytes tells it; `known` is what was done
    /// before of what was not passed yet.
    pub fn may_finish(&mut self, known: &Finished, limit: usize) -> bool {
        if self.left.is_none() || self.open {
            return true;
        }
        let runs = self.runs.len();
        let measured = self.known.filter(|(_, at)| runs < at + MEASURE_EVERY);
        let (known, _) = *self.known.insert(measured.unwrap_or_else(|| {
            let unread = Finished::default().with_unread(self.read_to, known);
            (unread.note_size(), runs)
        }));
        // The last one and the next, and what the first of those known is further away now.
        self.bytes + known + 3 * RUN_BYTES_MAX <= limit
    }

    /// Where it goes on.
    pub fn read_end(&self) -> Position {
        self.read_to
    }

    /// The first record left, or where it goes on.
    pub fn position(&self) -> Position {
        self.left.unwrap_or(self.read_to)
    }

    /// What is done behind [`Self::position`], with what was before.
    pub fn finished(&self, known: &Finished) -> Finished {
        Finished::of(self.position(), self.runs.clone()).with_unread(self.read_to, known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u128) -> Position {
        Position::from_bits(number)
    }

    #[test]
    fn what_is_done_in_a_row_is_one_run_of_any_length() {
        let mut passed = Passed::at(at(0));
        for number in 0..1_000_000 {
            // One of the first is left, and one in the middle; the places have gaps.
            let done = ![7, 500_000].contains(&number);
            passed.pass(at(number * 2), at(number * 2 + 1), done);
        }
        assert_eq!((passed.position(), passed.runs.len()), (at(14), 2));
        let finished = passed.finished(&Finished::default());
        assert!(finished.contains(at(16)) && finished.contains(at(1_999_998)));
        assert!(!finished.contains(at(14)) && !finished.contains(at(1_000_000)));
    }

    #[test]
    fn it_says_when_a_note_is_full_before_it_is() {
        let known = Finished::of(at(0), vec![(at(9_000_000), at(9_000_001)); 1]);
        let mut passed = Passed::at(at(0));
        let mut number = 0;
        while passed.may_finish(&known, 1_000) {
            passed.pass(at(number), at(number + 1), number % 2 == 1);
            number += 1;
        }
        assert!((300..1_000).contains(&number), "{number}");
        let note = passed.finished(&known).note_within(1_000);
        let read = Finished::read(passed.position(), &note);
        for done in (1..number).step_by(2).chain([9_000_000]) {
            assert!(read.contains(at(done)), "{done} is forgotten");
        }
    }
}
