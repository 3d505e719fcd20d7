//! What a record's headers say about its delivery.

use std::time::Duration;

use delivery::{Hlc, Offer, Priority, SourceId};
use model::{Position, Timestamp};
use record::Record;

use crate::headers;
use crate::spec::{Ordering, Spec};

/// A deadline that is computed from a timeout leaves at least this, so that a record that was long on its way
/// gets one try.
const REMAINING_MIN: Duration = Duration::from_millis(100);

/// This moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) wall: Timestamp,
    pub(crate) monotonic: Duration,
}

impl Now {
    /// A wall-clock time on the monotonic clock; what is past is now.
    fn at(self, millis: i64) -> Duration {
        let ahead = Timestamp::from_millis(millis).since(self.wall);
        self.monotonic.saturating_add(ahead)
    }
}

/// The last header of this name as a number.
fn number(record: &Record<'_>, name: &str) -> Option<i64> {
    let value = record.headers.get(name)??;
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

/// When a record may be delivered, Unix milliseconds, if it says so.
fn deliver_at(record: &Record<'_>) -> Option<i64> {
    number(record, headers::DELIVER_AT)
}

/// Until when nothing happens to a record that says when it may be delivered, Unix milliseconds: until then, or until
/// its own deadline passes.
pub(crate) fn waits_until(record: &Record<'_>) -> Option<i64> {
    let due = deliver_at(record)?;
    Some(own_deadline(record).map_or(due, |deadline| due.min(deadline)))
}

/// The deadline that the record's headers give.
fn own_deadline(record: &Record<'_>) -> Option<i64> {
    let computed = || {
        let asked = number(record, headers::REQUEST_TIMEOUT)?;
        Some(number(record, headers::ARRIVAL)?.saturating_add(asked.max(0)))
    };
    number(record, headers::DEADLINE).or_else(computed)
}

/// Whether the record is meant for another listener than `name`.
pub(crate) fn is_for_another(record: &Record<'_>, name: &str) -> bool {
    let only = record.headers.get(headers::LISTENER).flatten();
    only.is_some_and(|only| only != name.as_bytes())
}

/// The hybrid logical time of a record: its header's, or its timestamp.
pub(crate) fn hlc(record: &Record<'_>) -> Hlc {
    let header = record.headers.get(Hlc::HEADER).flatten();
    header
        .and_then(|text| std::str::from_utf8(text).ok()?.parse().ok())
        .unwrap_or_else(|| Hlc::from(record.timestamp))
}

/// The record as the queue takes it.
pub(crate) fn offer<T>(
    record: &Record<'_>,
    payload: T,
    source: SourceId,
    spec: &Spec,
    now: Now,
) -> Offer<T> {
    let offer = Offer::new(source, Position::from(record.offset), payload);
    let offer = match (spec.ordering, record.key) {
        (Ordering::Partition, _) => offer.with_key(b""),
        (Ordering::Key, Some(key)) => offer.with_key(key),
        (Ordering::Key, None) | (Ordering::None, _) => offer,
    };
    let priority = number(record, headers::PRIORITY)
        .and_then(|number| Priority::new(u8::try_from(number).ok()?));
    let due = deliver_at(record).filter(|due| *due > now.wall.millis());
    Offer {
        priority: priority.unwrap_or(spec.priority),
        time: hlc(record).millis,
        due: due.map(|due| now.at(due)),
        deadline: deadline(record, spec, now),
        ..offer
    }
}

fn deadline(record: &Record<'_>, spec: &Spec, now: Now) -> Option<Duration> {
    if let Some(own) = own_deadline(record) {
        let computed = number(record, headers::DEADLINE).is_none();
        let least = if computed {
            now.monotonic + REMAINING_MIN
        } else {
            Duration::ZERO
        };
        return Some(now.at(own).max(least));
    }
    let timeout = i64::try_from(spec.deadline?.as_millis()).unwrap_or(i64::MAX);
    // What waited for its time is not late because of that.
    let begin = record
        .timestamp
        .millis()
        .max(deliver_at(record).unwrap_or(i64::MIN));
    Some(now.at(begin.saturating_add(timeout)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use delivery::{Policy, Queue};
    use record::{BatchBuilder, Compression, SharedRecord};

    use super::*;
    use crate::ListenerFile;

    const NOW: Now = Now {
        wall: Timestamp::from_millis(10_000),
        monotonic: Duration::from_secs(3),
    };

    fn check(spec: &str, given: &[(&str, &str)]) -> Offer<SharedRecord> {
        let text = format!(
            "apiVersion: lantern/v1\nkind: Listener\nmetadata: {{name: l}}\nspec: {{topics: t, native: n, {spec}}}"
        );
        let file = ListenerFile {
            path: "l".into(),
            text,
        };
        let given: Vec<_> = given
            .iter()
            .map(|(name, value)| (*name, Some(value.as_bytes())))
            .collect();
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(Timestamp::from_millis(9_000), Some(b"k"), None, &given);
        let records = Arc::new(builder.build().records().unwrap());
        let shared = SharedRecord::all(&records).next().unwrap();
        let source = Queue::<()>::new(Policy::default()).add_source();
        offer(
            &shared.get().unwrap(),
            shared.clone(),
            source,
            &file.parse().unwrap(),
            NOW,
        )
    }

    #[test]
    fn a_deadline_is_the_records_own_or_the_listeners() {
        let left =
            |offer: Offer<SharedRecord>| offer.deadline.map(|at| at.saturating_sub(NOW.monotonic));
        let ms = |millis| Some(Duration::from_millis(millis));
        let timeout = "deadline: {timeout: 5s}";
        assert_eq!(left(check("", &[])), None);
        assert_eq!(left(check(timeout, &[])), ms(4_000));
        assert_eq!(left(check(timeout, &[("x-deadline-ms", "10700")])), ms(700));
        assert_eq!(left(check(timeout, &[("x-deadline-ms", "9999")])), ms(0));
        assert_eq!(
            left(check(timeout, &[("x-deadline-ms", "soon")])),
            ms(4_000)
        );
        let asked = |arrival| {
            [
                ("x-request-timeout-ms", "2000"),
                ("x-arrival-timestamp", arrival),
            ]
        };
        assert_eq!(left(check(timeout, &asked("9500"))), ms(1_500));
        assert_eq!(left(check("", &asked("7950"))), ms(100));
    }

    #[test]
    fn urgency_time_and_order() {
        let plain = check("priority: 7", &[]);
        assert_eq!(
            (plain.priority.get(), plain.time, plain.due),
            (7, 9_000, None)
        );
        assert!(plain.key.is_some());
        assert!(check("ordering: none", &[]).key.is_none());
        let urgent = check("", &[("x-priority", "0"), ("x-hlc", "9400-3")]);
        assert_eq!((urgent.priority.get(), urgent.time), (0, 9_400));
        assert_eq!(check("", &[("x-priority", "12")]).priority.get(), 5);
        let later = check("", &[("x-deliver-at-ms", "10250")]);
        assert_eq!(later.due, Some(NOW.monotonic + Duration::from_millis(250)));
        assert_eq!(check("", &[("x-deliver-at-ms", "9000")]).due, None);
    }
}
