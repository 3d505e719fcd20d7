//! How far a listener is in one partition, when records end in another order than they came.
//!
//! The position to commit is that of the first unfinished record. What is finished behind it is kept as
//! runs, which travel as a note with the commit ([`Finished`]), so that a restart delivers only what was
//! not finished: a record that waits long for its next attempt does not bring back its neighbours.
//!
//! Invariants: [`Progress::position`] only grows and never passes an unfinished record.

use std::collections::VecDeque;

use model::Position;

/// Largest note, bytes: what Kafka takes as an offset's metadata by default. Runs that have no room are
/// delivered again after a restart.
const NOTE_BYTES_MAX: usize = 4_096;

/// Records of one partition between the position to commit and the last one read.
#[derive(Debug, Default)]
pub struct Progress {
    /// In order of position; the front one, if any, is not finished.
    window: VecDeque<(Position, bool)>,
    unfinished: usize,
    read_to: Position,
}

impl Progress {
    /// Nothing outstanding, everything before `position` finished.
    pub fn at(position: Position) -> Self {
        Self {
            read_to: position,
            ..Self::default()
        }
    }

    /// A record to be finished, behind all others.
    pub fn begin(&mut self, position: Position) {
        debug_assert!(self.window.back().is_none_or(|(last, _)| *last < position));
        self.window.push_back((position, false));
        self.unfinished += 1;
    }

    /// Everything before `position` was offered or passed over.
    pub fn read_to(&mut self, position: Position) {
        self.read_to = self.read_to.max(position);
    }

    /// Finishes a record once.
    pub fn finish(&mut self, position: Position) {
        let Ok(index) = self.window.binary_search_by_key(&position, |(at, _)| *at) else {
            debug_assert!(false, "only what began is finished");
            return;
        };
        if let Some((_, done)) = self.window.get_mut(index)
            && !*done
        {
            *done = true;
            self.unfinished -= 1;
        }
        while self.window.front().is_some_and(|(_, done)| *done) {
            self.window.pop_front();
        }
    }

    /// Where reading goes on.
    pub fn read_end(&self) -> Position {
        self.read_to
    }

    /// What to commit: the first unfinished record, or where reading goes on.
    pub fn position(&self) -> Position {
        self.window.front().map_or(self.read_to, |(at, _)| *at)
    }

    /// Records not finished.
    pub fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// Records between the position and the last one read, finished or not.
    pub fn window(&self) -> usize {
        self.window.len()
    }

    /// What is finished behind [`Self::position`].
    pub fn finished(&self) -> Finished {
        let mut runs: Vec<(Position, Position)> = Vec::new();
        let mut open = false;
        for (at, done) in &self.window {
            match (done, runs.last_mut()) {
                (true, Some(run)) if open => run.1 = *at,
                (true, _) => runs.push((*at, *at)),
                (false, _) => {}
            }
            open = *done;
        }
        Finished {
            base: self.position(),
            runs,
        }
    }
}

/// Records finished out of order, as a note that travels with a committed position.
///
/// Written as text: `v1:` and, in hexadecimal, for each run the distance of its first record to the end of
/// the run before (or to the position) and of its last to its first, all joined by commas.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Finished {
    base: Position,
    /// First and last record of each run, in order.
    runs: Vec<(Position, Position)>,
}

impl Finished {
    /// Whether the record there was finished.
    pub fn contains(&self, position: Position) -> bool {
        let after = self.runs.partition_point(|(first, _)| *first <= position);
        after
            .checked_sub(1)
            .and_then(|index| self.runs.get(index))
            .is_some_and(|(_, last)| position <= *last)
    }

    /// With what was known of records that are not read again yet, from `read_to` on.
    #[must_use]
    pub fn with_unread(mut self, read_to: Position, known: &Self) -> Self {
        let unread = known.runs.iter().filter(|(_, last)| *last >= read_to);
        let runs = unread.map(|(first, last)| ((*first).max(read_to), *last));
        self.runs.extend(runs);
        self
    }

    /// Nothing was finished out of order.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Runs of records, in order, behind `base`.
    pub(crate) fn of(base: Position, runs: Vec<(Position, Position)>) -> Self {
        Self { base, runs }
    }

    /// Bytes of the whole note.
    pub(crate) fn note_size(&self) -> usize {
        self.note_within(usize::MAX).len()
    }

    /// The note, at most 4 KiB; empty for nothing.
    pub fn note(&self) -> String {
        self.note_within(NOTE_BYTES_MAX)
    }

    /// The note, as much of it as `limit` bytes take.
    pub fn note_within(&self, limit: usize) -> String {
        use std::fmt::Write;
        let mut note = String::new();
        let mut before = self.base.bits();
        for (first, last) in &self.runs {
            let mut run = String::from(if note.is_empty() { "v1:" } else { "," });
            let (gap, length) = (first.bits() - before, last.bits() - first.bits());
            // Writing into a String does not fail.
            let _ = write!(run, "{gap:x},{length:x}");
            if note.len() + run.len() > limit {
                break;
            }
            note.push_str(&run);
            before = last.bits();
        }
        note
    }

    /// Reads a note that was committed with `base`. Notes of others (or broken ones) say nothing: their records
    /// are delivered again.
    pub fn read(base: Position, note: &str) -> Self {
        let mut finished = Self {
            base,
            runs: Vec::new(),
        };
        let Some(numbers) = note.strip_prefix("v1:") else {
            return finished;
        };
        let numbers: Option<Vec<u128>> = numbers
            .split(',')
            .map(|number| u128::from_str_radix(number, 16).ok())
            .collect();
        let mut before = base.bits();
        for run in numbers.unwrap_or_default().chunks_exact(2) {
            let first = run.first().and_then(|gap| before.checked_add(*gap));
            let last = first.and_then(|first| first.checked_add(*run.get(1)?));
            let (Some(first), Some(last)) = (first, last) else {
                break;
            };
            let run = (Position::from_bits(first), Position::from_bits(last));
            finished.runs.push(run);
            before = last;
        }
        finished
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(number: u128) -> Position {
        Position::from_bits(number)
    }

    #[test]
    fn the_position_waits_for_the_first_unfinished_record() {
        let mut progress = Progress::at(at(10));
        for number in 10..16 {
            progress.begin(at(number));
        }
        progress.read_to(at(16));
        for number in [11, 12, 14] {
            progress.finish(at(number));
        }
        assert_eq!((progress.position(), progress.unfinished()), (at(10), 3));
        let finished = progress.finished();
        assert_eq!(finished.note(), "v1:1,1,2,0");
        assert_eq!(Finished::read(at(10), &finished.note()), finished);
        progress.finish(at(10));
        assert_eq!(progress.position(), at(13));
        progress.finish(at(13));
        progress.finish(at(15));
        assert_eq!((progress.position(), progress.window()), (at(16), 0));
    }

    #[test]
    fn notes_of_others_say_nothing() {
        for note in ["", "my note", "v2:1,1", "v1:", "v1:x,1", "v1:1", "v1:-1,2"] {
            assert!(Finished::read(at(3), note).is_empty(), "{note}");
        }
        // A number that overflows ends the note; what came before it counts.
        let note = format!("v1:1,0,{:x},0", u128::MAX);
        assert!(Finished::read(at(3), &note).contains(at(4)));
    }

    proptest! {
        #[test]
        fn a_note_brings_back_what_was_finished(
            gaps in prop::collection::vec(1_u128..5, 1..60),
            done in prop::collection::vec(any::<bool>(), 60),
            start in 0_u128..1 << 90,
        ) {
            let mut progress = Progress::at(at(start));
            let mut number = start;
            let mut all = Vec::new();
            for (gap, done) in gaps.into_iter().zip(done) {
                number += gap;
                progress.begin(at(number));
                all.push((number, done));
            }
            progress.read_to(at(number + 1));
            for (number, _) in all.iter().filter(|(_, done)| *done) {
                progress.finish(at(*number));
            }
            let position = progress.position();
            let first = all.iter().find(|(_, done)| !done).map_or(number + 1, |(n, _)| *n);
            prop_assert_eq!(position, at(first));
            let read = Finished::read(position, &progress.finished().note());
            for (number, done) in all.into_iter().filter(|(number, _)| *number >= first) {
                prop_assert_eq!(read.contains(at(number)), done);
            }
        }
    }

    #[test]
    fn a_note_is_bounded_and_what_is_cut_is_delivered_again() {
        let mut progress = Progress::at(at(0));
        for number in 0..10_000 {
            progress.begin(at(number));
        }
        for number in (1..10_000).step_by(2) {
            progress.finish(at(number));
        }
        let note = progress.finished().note();
        assert!(note.len() <= NOTE_BYTES_MAX);
        let read = Finished::read(at(0), &note);
        assert!(read.contains(at(1)) && !read.contains(at(2)) && !read.contains(at(9_999)));
    }
}
