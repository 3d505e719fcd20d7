//! Where in a partition: `beginning`, `end`, an offset, `-N` from the end, or a time.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use kafka_client::{Cluster, Isolation, Place};
use model::{Offset, Timestamp, TopicPartition};
use stdx::HumanDuration;

/// A place as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spot {
    /// The oldest record kept.
    Beginning,
    /// After the newest record.
    End,
    /// This offset.
    Offset(u64),
    /// So many records before the end.
    Last(u64),
    /// The first record at this time or later.
    At(Timestamp),
    /// The first record that is no older than this.
    Ago(Duration),
}

/// Why a text is no place.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "write beginning, end, an offset (42), -N for N records before the end, a time \
     (2026-05-01T12:00:00Z, or @ and Unix milliseconds) or how long ago (10m)"
)]
pub(crate) struct NoSpot;

impl FromStr for Spot {
    type Err = NoSpot;

    fn from_str(text: &str) -> Result<Self, NoSpot> {
        match text {
            "beginning" | "earliest" | "start" | "oldest" => return Ok(Self::Beginning),
            "end" | "latest" | "newest" | "now" => return Ok(Self::End),
            _ => (),
        }
        if let Some(last) = text.strip_prefix('-') {
            if let Ok(count) = last.parse() {
                return Ok(Self::Last(count));
            }
            let ago: HumanDuration = last.parse().map_err(|_| NoSpot)?;
            return Ok(Self::Ago(ago.get()));
        }
        if let Some(millis) = text.strip_prefix('@') {
            let millis = millis.parse().map_err(|_| NoSpot)?;
            return Ok(Self::At(Timestamp::from_millis(millis)));
        }
        if let Ok(offset) = text.parse() {
            return Ok(Self::Offset(offset));
        }
        if let Ok(ago) = text.parse::<HumanDuration>() {
            return Ok(Self::Ago(ago.get()));
        }
        let time: jiff::Timestamp = text.parse().map_err(|_| NoSpot)?;
        Ok(Self::At(Timestamp::from_millis(time.as_millisecond())))
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beginning => f.write_str("beginning"),
            Self::End => f.write_str("end"),
            Self::Offset(offset) => write!(f, "{offset}"),
            Self::Last(count) => write!(f, "-{count}"),
            Self::At(time) => f.write_str(&crate::units::time(*time)),
            Self::Ago(span) => write!(f, "{}", HumanDuration::new(*span)),
        }
    }
}

/// The first and the last offset of partitions, as they were asked for once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bounds {
    pub(crate) start: BTreeMap<TopicPartition, Offset>,
    pub(crate) end: BTreeMap<TopicPartition, Offset>,
}

impl Bounds {
    /// Of partitions that exist.
    pub(crate) async fn of(
        cluster: &Cluster,
        partitions: &[TopicPartition],
        isolation: Isolation,
    ) -> Result<Self, kafka_client::Error> {
        let start = cluster
            .offsets(partitions, Place::Earliest, isolation)
            .await?;
        let end = cluster
            .offsets(partitions, Place::Latest, isolation)
            .await?;
        let known = |found: BTreeMap<TopicPartition, Option<Offset>>| {
            let found = found.into_iter();
            found
                .map(|(at, offset)| (at, offset.unwrap_or_default()))
                .collect()
        };
        Ok(Self {
            start: known(start),
            end: known(end),
        })
    }

    pub(crate) fn start_of(&self, at: &TopicPartition) -> Offset {
        self.start.get(at).copied().unwrap_or_default()
    }

    pub(crate) fn end_of(&self, at: &TopicPartition) -> Offset {
        self.end.get(at).copied().unwrap_or_default()
    }

    /// Records in a partition, counted by offsets.
    pub(crate) fn records_of(&self, at: &TopicPartition) -> u64 {
        self.end_of(at).since(self.start_of(at))
    }
}

impl Spot {
    /// The offset of this place in each of `partitions`, within what each has.
    pub(crate) async fn resolve(
        self,
        cluster: &Cluster,
        partitions: &[TopicPartition],
        bounds: &Bounds,
        now: Timestamp,
    ) -> Result<BTreeMap<TopicPartition, Offset>, kafka_client::Error> {
        let time = match self {
            Self::At(time) => Some(time),
            Self::Ago(span) => Some(now.minus(span)),
            Self::Beginning | Self::End | Self::Offset(_) | Self::Last(_) => None,
        };
        let by_time = match time {
            Some(time) if !partitions.is_empty() => {
                let place = Place::Time(time);
                cluster
                    .offsets(partitions, place, Isolation::Uncommitted)
                    .await?
            }
            _ => BTreeMap::new(),
        };
        let found = partitions.iter().map(|at| {
            let by_time = by_time.get(at).copied().flatten();
            let offset = self.within(bounds.start_of(at), bounds.end_of(at), by_time);
            (at.clone(), offset)
        });
        Ok(found.collect())
    }

    /// The offset between `start` and `end`; `by_time` is what the server found for a time.
    fn within(self, start: Offset, end: Offset, by_time: Option<Offset>) -> Offset {
        let wanted = match self {
            Self::Beginning => start,
            Self::End => end,
            Self::Offset(offset) => Offset::new(offset),
            Self::Last(count) => Offset::new(end.get().saturating_sub(count)),
            // No record at or after this time: it will be the next one.
            Self::At(_) | Self::Ago(_) => by_time.unwrap_or(end),
        };
        wanted.clamp(start, end.max(start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_as_people_write_them() {
        let read = |text: &str| text.parse::<Spot>();
        let minutes = |count| Duration::from_mins(count);
        for (text, spot) in [
            ("beginning", Spot::Beginning),
            ("earliest", Spot::Beginning),
            ("end", Spot::End),
            ("0", Spot::Offset(0)),
            ("42", Spot::Offset(42)),
            ("-5", Spot::Last(5)),
            ("10m", Spot::Ago(minutes(10))),
            ("-10m", Spot::Ago(minutes(10))),
            ("1h30m", Spot::Ago(minutes(90))),
            (
                "@1700000000000",
                Spot::At(Timestamp::from_millis(1_700_000_000_000)),
            ),
            (
                "2023-11-14T22:13:20Z",
                Spot::At(Timestamp::from_millis(1_700_000_000_000)),
            ),
            (
                "2023-11-15T00:13:20.5+02:00",
                Spot::At(Timestamp::from_millis(1_700_000_000_500)),
            ),
        ] {
            assert_eq!(read(text), Ok(spot), "{text}");
            assert_eq!(read(&spot.to_string()), Ok(spot), "{spot}");
        }
        for text in ["", "middle", "-", "--5", "5x", "2023-11-14", "@", "1.5"] {
            assert_eq!(read(text), Err(NoSpot), "{text}");
        }
    }

    #[test]
    fn a_place_outside_is_the_nearest_inside() {
        let within = |spot: Spot, by_time: Option<u64>| {
            let by_time = by_time.map(Offset::new);
            spot.within(Offset::new(10), Offset::new(20), by_time).get()
        };
        assert_eq!(within(Spot::Beginning, None), 10);
        assert_eq!(within(Spot::End, None), 20);
        assert_eq!(within(Spot::Offset(3), None), 10);
        assert_eq!(within(Spot::Offset(15), None), 15);
        assert_eq!(within(Spot::Offset(99), None), 20);
        assert_eq!(within(Spot::Last(4), None), 16);
        assert_eq!(within(Spot::Last(400), None), 10);
        assert_eq!(within(Spot::Ago(Duration::ZERO), Some(13)), 13);
        assert_eq!(within(Spot::Ago(Duration::ZERO), None), 20);
    }
}
