//! The rules one by one, as a client meets them.

use std::time::Duration;

use model::{GroupId, Outcome, PartitionId, Producer, Timestamp, TopicPartition};
use transactions::{Begin, End, Error, Init, Options, Phase, Transaction};

const TIMEOUT: Duration = Duration::from_secs(10);

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn orders(partition: u32) -> TopicPartition {
    TopicPartition::new("orders".parse().unwrap(), PartitionId::new(partition))
}

fn init(
    current: Option<&Transaction>,
    expected: Option<Producer>,
    fresh: Option<i64>,
) -> Result<Begin, Error> {
    let ask = Init {
        timeout: TIMEOUT,
        expected,
    };
    Transaction::init(current, at(0), &ask, fresh, &Options::default())
}

fn stored(begin: Result<Begin, Error>) -> Transaction {
    match begin {
        Ok(Begin::Store(state)) => state,
        other => panic!("{other:?}"),
    }
}

fn new() -> Transaction {
    stored(init(None, None, Some(7)))
}

fn open() -> Transaction {
    let new = new();
    let added = new.add_partitions(at(0), new.producer(), [orders(0)]);
    added.unwrap().unwrap()
}

fn ended(state: &Transaction, outcome: Outcome) -> Transaction {
    match state.end(at(1), state.producer(), outcome) {
        Ok(End::Store(ending)) => ending.finished(at(2)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_comes_back_gets_the_next_epoch_and_fences_the_old_one() {
    let first = new();
    let second = stored(init(Some(&first), None, None));
    assert_eq!(second.producer(), Producer::new(7, 1));
    let fenced = second.add_partitions(at(0), first.producer(), [orders(0)]);
    assert!(matches!(fenced, Err(Error::Fenced { .. })));
    let other = second.add_partitions(at(0), Producer::new(8, 1), [orders(0)]);
    assert_eq!(other, Err(Error::WrongProducer { asked: 8 }));
}

#[test]
fn a_takeover_aborts_what_is_open_in_an_epoch_the_old_producer_lacks() {
    let open = open();
    let Ok(Begin::AbortFirst(ending)) = init(Some(&open), None, None) else {
        panic!("it is open");
    };
    assert_eq!(ending.phase(), Phase::Ending(Outcome::Abort));
    assert_eq!(ending.producer(), Producer::new(7, 1));
    assert_eq!(init(Some(&ending), None, None), Err(Error::Busy));
    let next = stored(init(Some(&ending.finished(at(3))), None, None));
    assert_eq!(next.producer(), Producer::new(7, 2));
    let late = open.producer();
    assert!(matches!(
        next.end(at(4), late, Outcome::Commit),
        Err(Error::Fenced { .. })
    ));
}

#[test]
fn a_producer_that_asks_for_its_next_epoch_twice_gets_the_same_one() {
    let first = new();
    let asked = Some(first.producer());
    let second = stored(init(Some(&first), asked, None));
    assert_eq!(second.producer().epoch, 1);
    assert_eq!(
        init(Some(&second), asked, None),
        Ok(Begin::Again(second.producer()))
    );
    let third = stored(init(Some(&second), Some(second.producer()), None));
    assert!(matches!(
        init(Some(&third), asked, None),
        Err(Error::Fenced { .. })
    ));
}

#[test]
fn when_epochs_run_out_a_new_id_begins_at_zero() {
    let mut state = new();
    while !Transaction::needs_id(Some(&state)) {
        state = stored(init(Some(&state), None, None));
    }
    assert_eq!(state.producer().epoch, i16::MAX - 1);
    let old = state.producer();
    let fresh = stored(init(Some(&state), Some(old), Some(8)));
    assert_eq!(fresh.producer(), Producer::new(8, 0));
    assert_eq!(
        init(Some(&fresh), Some(old), None),
        Ok(Begin::Again(fresh.producer()))
    );
}

#[test]
fn an_end_is_repeated_but_never_changed() {
    let committed = ended(&open(), Outcome::Commit);
    let by = committed.producer();
    assert_eq!(committed.end(at(3), by, Outcome::Commit), Ok(End::Done));
    assert!(matches!(
        committed.end(at(3), by, Outcome::Abort),
        Err(Error::WrongPhase { .. })
    ));
    assert!(matches!(
        new().end(at(3), by, Outcome::Abort),
        Err(Error::WrongPhase {
            phase: Phase::Empty
        })
    ));
}

#[test]
fn time_runs_from_the_first_partition_and_ends_only_what_is_open() {
    let new = new();
    assert_eq!(new.timed_out(at(1_000_000)), None);
    let open = new.add_partitions(at(5), new.producer(), [orders(0)]);
    let open = open.unwrap().unwrap();
    let more = open.add_partitions(at(9_000), open.producer(), [orders(1)]);
    let more = more.unwrap().unwrap();
    assert_eq!(more.timed_out(at(10_004)), None);
    let ending = more.timed_out(at(10_005)).unwrap();
    assert_eq!(ending.phase(), Phase::Ending(Outcome::Abort));
    assert_eq!(ending.partitions().len(), 2);
    let late = more.producer();
    assert!(matches!(
        ending.end(at(10_006), late, Outcome::Commit),
        Err(Error::Fenced { .. })
    ));
    let after = ending.finished(at(10_007));
    assert!(
        matches!(
            init(Some(&after), Some(late), None),
            Err(Error::Fenced { .. })
        ),
        "it must begin anew"
    );
}

#[test]
fn offsets_come_only_from_groups_that_were_let_in() {
    let (shop, other) = (
        GroupId::new("shop").unwrap(),
        GroupId::new("other").unwrap(),
    );
    let new = new();
    let by = new.producer();
    assert!(new.may_stage(by, &shop).is_err());
    let open = new.add_group(at(0), by, shop.clone()).unwrap().unwrap();
    assert_eq!(open.add_group(at(1), by, shop.clone()), Ok(None));
    assert_eq!(open.may_stage(by, &shop), Ok(()));
    assert!(open.may_stage(by, &other).is_err());
    assert!(ended(&open, Outcome::Commit).may_stage(by, &shop).is_err());
}

#[test]
fn a_timeout_has_bounds_and_an_id_is_kept_while_it_is_of_use() {
    for timeout in [Duration::ZERO, Duration::from_mins(16)] {
        let ask = Init {
            timeout,
            expected: None,
        };
        let refused = Transaction::init(None, at(0), &ask, Some(1), &Options::default());
        assert!(matches!(refused, Err(Error::Timeout { .. })));
    }
    let options = Options::default();
    let week = i64::try_from(options.id_expiry.as_millis()).unwrap();
    assert!(!new().is_forgettable(at(week - 1), &options));
    assert!(new().is_forgettable(at(week), &options));
    assert!(!open().is_forgettable(at(2 * week), &options));
}
