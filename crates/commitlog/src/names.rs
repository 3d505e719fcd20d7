//! What the names of segments say.
//!
//! ```text
//!  00000000000000000000.log                                            as it was appended
//!  00000000000000000000-00000000000000000300-0000000002.log            cleaned: base, next, generation
//! ```
//! A cleaned segment takes the place of all segments between its base and its next offset, with one
//! rename: from the moment its name is there the others are left over, and nobody needs a record of what
//! was going on. The generation, counted per log, says which of two cleaned ones is the later. A name
//! never gets other bytes, so a reader who has it open, an index beside it and a checkpoint that
//! describes it always speak of the same.

use std::path::{Path, PathBuf};

use env::Disk;
use model::Offset;

pub(crate) const LOG: &str = ".log";
const INDEX: &str = ".index";

/// The name of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentName {
    pub(crate) base: Offset,
    pub(crate) cleaned: Option<Cleaned>,
}

/// What the name of a cleaned segment adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cleaned {
    /// The offset after the last that it stands for; larger than the base.
    pub(crate) next: Offset,
    /// At least 1.
    pub(crate) generation: u64,
}

impl SegmentName {
    /// The name of a segment that is appended to.
    pub(crate) fn appended(base: Offset) -> Self {
        Self {
            base,
            cleaned: None,
        }
    }

    /// The segment that a file of this name is.
    pub(crate) fn parse(file: &str) -> Option<Self> {
        Self::parse_stem(file.strip_suffix(LOG)?)
    }

    /// The segment that an index of this name is of.
    pub(crate) fn parse_index(file: &str) -> Option<Self> {
        Self::parse_stem(file.strip_suffix(INDEX)?)
    }

    fn parse_stem(stem: &str) -> Option<Self> {
        let number = |digits: &str, length: usize| {
            let right = digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_digit());
            let number = right.then(|| digits.parse::<u64>().ok())??;
            // Offsets are 63 bits wide on the wire and in batches; one more would have no next.
            (number < i64::MAX.unsigned_abs()).then_some(number)
        };
        let mut parts = stem.split('-');
        let base = Offset::new(number(parts.next()?, 20)?);
        let cleaned = match parts.next() {
            None => None,
            Some(next) => Some(Cleaned {
                next: Offset::new(number(next, 20)?),
                generation: number(parts.next()?, 10)?,
            }),
        };
        let sane = cleaned.is_none_or(|cleaned| cleaned.next > base && cleaned.generation > 0);
        (sane && parts.next().is_none()).then_some(Self { base, cleaned })
    }

    /// 0 for a segment as it was appended.
    pub(crate) fn generation(&self) -> u64 {
        self.cleaned.map_or(0, |cleaned| cleaned.generation)
    }

    fn stem(&self) -> String {
        let base = self.base.get();
        match self.cleaned {
            None => format!("{base:020}"),
            Some(Cleaned { next, generation }) => {
                format!("{base:020}-{:020}-{generation:010}", next.get())
            }
        }
    }

    pub(crate) fn log_path(&self, dir: &Path) -> PathBuf {
        dir.join(self.stem() + LOG)
    }

    pub(crate) fn index_path(&self, dir: &Path) -> PathBuf {
        dir.join(self.stem() + INDEX)
    }

    /// Whether this takes the place of `other`, if it is of a later generation.
    fn covers(&self, other: &Self) -> bool {
        let Some(cleaned) = self.cleaned else {
            return false;
        };
        match other.cleaned {
            None => (self.base..cleaned.next).contains(&other.base),
            Some(old) => self.base < old.next && other.base < cleaned.next,
        }
    }
}

/// The segments of a log among all that are there, by base, and those whose place others have taken.
pub(crate) fn in_force(mut names: Vec<SegmentName>) -> (Vec<SegmentName>, Vec<SegmentName>) {
    names.sort_unstable_by_key(|name| std::cmp::Reverse((name.generation(), name.base)));
    let (mut kept, mut left_over) = (Vec::<SegmentName>::new(), Vec::new());
    // Cleaned ones that are in force, by base; they do not touch each other.
    let mut cleaned: Vec<SegmentName> = Vec::new();
    for name in names {
        let end = name
            .cleaned
            .map_or(name.base.next(), |cleaned| cleaned.next);
        let before = cleaned.partition_point(|other| other.base < end);
        let covered = before
            .checked_sub(1)
            .and_then(|last| cleaned.get(last))
            .is_some_and(|other| other.covers(&name));
        if covered {
            left_over.push(name);
            continue;
        }
        if name.cleaned.is_some() {
            cleaned.insert(before, name);
        }
        kept.push(name);
    }
    kept.sort_unstable();
    left_over.sort_unstable();
    (kept, left_over)
}

/// The segments in a directory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The log, by base.
    pub(crate) in_force: Vec<SegmentName>,
    /// Those whose place cleaned ones took.
    pub(crate) left_over: Vec<SegmentName>,
    /// Cleaned ones that were not finished.
    pub(crate) unfinished: Vec<PathBuf>,
}

pub(crate) fn list(disk: &dyn Disk, dir: &Path) -> std::io::Result<Listing> {
    let entries = disk.read_dir(dir)?;
    let names = entries.iter().map(|entry| entry.name.as_str());
    let segments = names.clone().filter_map(SegmentName::parse);
    let (in_force, left_over) = in_force(segments.collect());
    let unfinished = names.filter(|name| {
        let made = name.strip_suffix(env::TEMPORARY_SUFFIX);
        made.is_some_and(|made| SegmentName::parse(made).is_some())
    });
    Ok(Listing {
        in_force,
        left_over,
        unfinished: unfinished.map(|name| dir.join(name)).collect(),
    })
}

/// Where the segment is that begins at `base`; where it would be as it is appended, if there is none.
pub fn segment_path(disk: &dyn Disk, dir: &Path, base: Offset) -> PathBuf {
    let names = list(disk, dir).unwrap_or_default().in_force;
    let name = names.into_iter().find(|name| name.base == base);
    name.unwrap_or_else(|| SegmentName::appended(base))
        .log_path(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `BASE` for a segment as it was appended, `BASE-NEXT-GENERATION` for a cleaned one.
    fn name(text: &str) -> SegmentName {
        let mut numbers = text.split('-').map(|number| number.parse::<u64>().unwrap());
        let base = Offset::new(numbers.next().unwrap());
        let cleaned = numbers.next().map(|next| Cleaned {
            next: Offset::new(next),
            generation: numbers.next().unwrap(),
        });
        SegmentName { base, cleaned }
    }

    #[track_caller]
    fn check(there: &str, kept: &str) {
        let names: Vec<_> = there.split(' ').map(name).collect();
        let count = names.len();
        let (found, left_over) = in_force(names);
        assert_eq!(found, kept.split(' ').map(name).collect::<Vec<_>>());
        assert_eq!(found.len() + left_over.len(), count);
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for text in [
            "0",
            "17",
            "0-300-2",
            "9223372036854775805-9223372036854775806-1",
        ] {
            let name = name(text);
            let path = name.log_path(Path::new(""));
            assert_eq!(SegmentName::parse(path.to_str().unwrap()), Some(name));
            let path = name.index_path(Path::new(""));
            assert_eq!(SegmentName::parse_index(path.to_str().unwrap()), Some(name));
        }
        let strange = [
            "0.log",
            "09223372036854775807.log",
            "18446744073709551615.log",
            "00000000000000000000-00000000000000000000-0000000001.log",
            "00000000000000000000-00000000000000000005-0000000000.log",
            "00000000000000000000-00000000000000000005.log",
            "00000000000000000000-00000000000000000005-0000000001-.log",
            "00000000000000000000-00000000000000000005-0000000001.log.tmp",
        ];
        for strange in strange {
            assert_eq!(SegmentName::parse(strange), None, "{strange}");
        }
    }

    #[test]
    fn a_cleaned_segment_takes_the_place_of_those_it_stands_for() {
        check("0 100 200", "0 100 200");
        check("0 100 200 0-200-1", "0-200-1 200");
        check("200 0-200-1", "0-200-1 200");
        check("0 100 200 300 100-300-1", "0 100-300-1 300");
        // The later of two that cover the same.
        check("0 100 200 0-200-1 0-200-2", "0-200-2 200");
        // One whose making was not noticed, beside a later one of fewer: the rest is still there.
        check("0 100 200 300 0-300-1 0-200-2", "0-200-2 200 300");
        check("0 100 200 300 0-200-1 100-300-2", "0 100-300-2 300");
        check(
            "100 0-100-1 100-200-2 200-300-3 300",
            "0-100-1 100-200-2 200-300-3 300",
        );
    }
}
