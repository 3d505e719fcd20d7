//! The series of one agent: turns (name, labels, value) of a reading into labelled samples without
//! building the labels again each time, and notices series that went away.

use std::collections::HashMap;

use model::Timestamp;
use probe::Sink;
use series::{Labels, METRIC_NAME, STALE_NAN};

/// Most series one agent keeps: more is a mistake (a file system mounted in a loop, say).
pub(crate) const SERIES_MAX: usize = 50_000;

/// All series seen in the last reading.
#[derive(Debug)]
pub(crate) struct Table {
    /// Labels every series gets, unless it brings its own.
    common: Vec<(String, String)>,
    known: HashMap<Box<[u8]>, Known>,
    reading: u64,
    key: Vec<u8>,
    samples: Vec<(Labels, f64)>,
    refused: u64,
}

#[derive(Debug)]
struct Known {
    labels: Labels,
    seen: u64,
}

impl Table {
    pub(crate) fn new(common: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            common: common.iter().map(owned).collect(),
            known: HashMap::new(),
            reading: 0,
            key: Vec::new(),
            samples: Vec::new(),
            refused: 0,
        }
    }

    /// Starts a reading; what is put from now on belongs to it.
    pub(crate) fn begin(&mut self) {
        self.reading += 1;
        self.samples.clear();
    }

    /// Ends the reading: all its samples at `now`, and a staleness marker for each series that the
    /// reading before had and this one has not.
    pub(crate) fn finish(&mut self, now: Timestamp) -> Vec<(Labels, Vec<(Timestamp, f64)>)> {
        let reading = self.reading;
        let gone = self.known.extract_if(|_, known| known.seen != reading);
        let stale = gone.map(|(_, known)| (known.labels, STALE_NAN));
        self.samples
            .drain(..)
            .chain(stale)
            .map(|(labels, value)| (labels, vec![(now, value)]))
            .collect()
    }

    /// Samples refused because there were too many series, since the start.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }
}

impl Sink for Table {
    fn put(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let Self {
            common,
            known,
            reading,
            key,
            samples,
            refused,
        } = self;
        // Zero bytes separate the parts: no name or kernel text has one.
        key.clear();
        key.extend_from_slice(name.as_bytes());
        for (label, text) in labels {
            for part in [label, text] {
                key.push(0);
                key.extend_from_slice(part.as_bytes());
            }
        }
        if let Some(known) = known.get_mut(key.as_slice()) {
            // A value put twice in one reading would be two samples of one moment.
            if known.seen != *reading {
                known.seen = *reading;
                samples.push((known.labels.clone(), value));
            }
            return;
        }
        if known.len() >= SERIES_MAX {
            *refused += 1;
            return;
        }
        let own = labels.iter().copied();
        let missing = common
            .iter()
            .map(|(label, text)| (label.as_str(), text.as_str()))
            .filter(|(label, _)| labels.iter().all(|(own, _)| own != label));
        let pairs = [(METRIC_NAME, name)].into_iter().chain(own).chain(missing);
        let Ok(built) = Labels::new(pairs) else {
            *refused += 1;
            return;
        };
        samples.push((built.clone(), value));
        known.insert(
            key.as_slice().into(),
            Known {
                labels: built,
                seen: *reading,
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, labels, value.
    type Put<'a> = (&'a str, &'a [(&'a str, &'a str)], f64);

    fn read(table: &mut Table, at: i64, values: &[Put<'_>]) -> Vec<String> {
        table.begin();
        for (name, labels, value) in values {
            table.put(name, labels, *value);
        }
        let mut lines: Vec<String> = table
            .finish(Timestamp::from_millis(at))
            .into_iter()
            .map(|(labels, samples)| {
                let (at, value) = samples[0];
                let value = if series::is_stale(value) {
                    "stale".to_owned()
                } else {
                    value.to_string()
                };
                format!("{labels} {at} {value}")
            })
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn series_get_the_common_labels_and_end_with_a_marker() {
        let mut table = Table::new(&[("job", "lantern"), ("instance", "host")]);
        let first = read(
            &mut table,
            1,
            &[("a", &[("disk", "x")], 1.0), ("b", &[], 2.0)],
        );
        assert_eq!(
            first,
            [
                "a{disk=\"x\", instance=\"host\", job=\"lantern\"} 1 1",
                "b{instance=\"host\", job=\"lantern\"} 1 2",
            ]
        );
        let second = read(&mut table, 2, &[("b", &[], 3.0), ("b", &[], 4.0)]);
        assert_eq!(
            second,
            [
                "a{disk=\"x\", instance=\"host\", job=\"lantern\"} 2 stale",
                "b{instance=\"host\", job=\"lantern\"} 2 3",
            ]
        );
        assert_eq!(
            read(&mut table, 3, &[("b", &[], 5.0)]).len(),
            1,
            "stale once"
        );
    }

    #[test]
    fn a_label_of_its_own_wins_over_a_common_one() {
        let mut table = Table::new(&[("job", "lantern")]);
        let lines = read(&mut table, 1, &[("a", &[("job", "other")], 1.0)]);
        assert_eq!(lines, ["a{job=\"other\"} 1 1"]);
    }
}
