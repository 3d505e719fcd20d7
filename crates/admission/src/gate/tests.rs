//! The line: order, room, who goes away, who comes too late.

use std::collections::BTreeMap;

use stdx::{ByteSize, HumanDuration};
use test_kit::clock::TokioClock;

use super::*;
use crate::{ClientQuota, Limit, Quotas};

const MS: Duration = Duration::from_millis(1);
const KIB: u64 = 1 << 10;
const LONG: Duration = Duration::from_hours(1);

/// Room for 100 KiB, which is 25 appends of nothing.
fn narrow() -> Arc<Admission> {
    let limit = Limit {
        min: ByteSize::from_kib(100),
        max: ByteSize::from_kib(100),
        latency: HumanDuration::new(MS * 50),
        ..Limit::default()
    };
    Admission::new(
        Options {
            limit,
            ..Options::default()
        },
        TokioClock::start(),
    )
}

async fn turn(admission: &Arc<Admission>, kib: u64) -> Permit {
    admission.admit("test", kib * KIB, LONG).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn turns_come_in_order_when_there_is_room() {
    let admission = narrow();
    let first = turn(&admission, 90).await;
    let mut waiting = Vec::new();
    for (name, kib) in [("large", 80), ("small", 1)] {
        let admission = Arc::clone(&admission);
        waiting.push(tokio::spawn(async move {
            let permit = turn(&admission, kib).await;
            (name, permit.waited())
        }));
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(MS * 30).await;
    assert!(admission.is_short());
    assert!(
        waiting.iter().all(|task| !task.is_finished()),
        "the small one does not pass"
    );
    first.finish(Outcome::Succeeded);
    for (task, expected) in waiting.into_iter().zip(["large", "small"]) {
        let (name, waited) = task.await.unwrap();
        assert_eq!((name, waited), (expected, MS * 30));
    }
    let line = admission.line();
    assert_eq!((line.in_flight, line.waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_takes_no_room_along_not_even_with_the_turn_in_hand() {
    let admission = narrow();
    for after_the_turn in [false, true] {
        let first = turn(&admission, 90).await;
        let mut gone = Box::pin(admission.admit("gone", 90 * KIB, LONG));
        assert!(once(&mut gone).await.is_none());
        if after_the_turn {
            first.finish(Outcome::Succeeded);
            drop(gone);
        } else {
            drop(gone);
            first.finish(Outcome::Succeeded);
        }
        assert_eq!(admission.line().in_flight, 0);
        assert!(!admission.is_short());
    }
}

/// Polls once.
async fn once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        let polled = std::pin::Pin::new(&mut *future).poll(context);
        std::task::Poll::Ready(match polled {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn who_cannot_wait_so_long_is_told_at_once_and_when_to_come_again() {
    let admission = narrow();
    // 50 KiB are done each 100 ms: half a MiB a second.
    for _ in 0..20 {
        let permit = turn(&admission, 46).await;
        tokio::time::sleep(MS * 100).await;
        permit.finish(Outcome::Succeeded);
    }
    let _busy = turn(&admission, 90).await;
    let mut line: Vec<_> = (0..10)
        .map(|_| Box::pin(admission.admit("patient", 96 * KIB, LONG)))
        .collect();
    for waiting in &mut line {
        assert!(once(waiting).await.is_none());
    }
    let before = tokio::time::Instant::now();
    let refused = admission.admit("hasty", KIB, MS * 500).await.unwrap_err();
    assert_eq!(refused.reason, Reason::Busy);
    assert!(
        (MS * 1_500..MS * 3_000).contains(&refused.retry_after),
        "{refused}"
    );
    assert_eq!(before.elapsed(), Duration::ZERO, "it was plain to see");
    assert!(refused.to_string().contains("come again in"), "{refused}");
    // The others wait as long as they said.
    drop(line);
    let refused = admission
        .admit("patient", 96 * KIB, MS * 500)
        .await
        .unwrap_err();
    assert_eq!((refused.reason, before.elapsed()), (Reason::Busy, MS * 500));
}

#[tokio::test(start_paused = true)]
async fn the_line_has_an_end() {
    let admission = narrow();
    let busy = turn(&admission, 96).await;
    let mut line: Vec<_> = (0..LINE_MAX)
        .map(|_| Box::pin(admission.admit("many", KIB, LONG)))
        .collect();
    for waiting in &mut line {
        assert!(once(waiting).await.is_none());
    }
    let refused = admission.admit("one more", KIB, LONG).await.unwrap_err();
    assert_eq!(refused.reason, Reason::Crowded);
    // Places of those who went away are free again.
    line.truncate(10);
    let mut more = Box::pin(admission.admit("one more", KIB, LONG));
    assert!(once(&mut more).await.is_none());
    busy.finish(Outcome::Succeeded);
    for waiting in line {
        waiting.await.unwrap().finish(Outcome::Succeeded);
    }
    more.await.unwrap().finish(Outcome::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_debt_is_told_as_a_pause_and_a_large_one_as_a_refusal() {
    let quota = ClientQuota {
        producer_byte_rate: Some(ByteSize::from_bytes(1_000)),
        ..ClientQuota::default()
    };
    let quotas = Quotas {
        clients: BTreeMap::from([("loader".to_owned(), quota)]),
        ..Quotas::default()
    };
    let admission = Admission::new(
        Options {
            quotas,
            ..Options::default()
        },
        TokioClock::start(),
    );
    let charge = |client, bytes| admission.charge(Flow::In, client, [("orders", bytes)]);
    assert_eq!(charge("other", 1 << 30), Duration::ZERO);
    assert_eq!(charge("loader", 1_000), Duration::ZERO);
    assert_eq!(charge("loader", 50_000), Duration::from_secs(50));
    assert!(admission.check_debt("loader", ["orders"]).is_ok());
    assert_eq!(
        charge("loader", 50_000),
        PAUSE_MAX,
        "no longer pause is told"
    );
    let refused = admission.check_debt("loader", ["orders"]).unwrap_err();
    assert_eq!(
        (refused.reason, refused.retry_after),
        (Reason::Quota, Duration::from_secs(40))
    );
    assert!(admission.check_debt("other", ["orders"]).is_ok());
    let refused = admission.try_charge("loader", "orders", 1).unwrap_err();
    assert_eq!(refused.retry_after, Duration::from_secs(100));
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(admission.try_charge("loader", "orders", 1).is_ok());
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_everybody_comes_in() {
    let limit = Limit {
        enabled: false,
        ..Limit::default()
    };
    let admission = Admission::new(
        Options {
            limit,
            ..Options::default()
        },
        TokioClock::start(),
    );
    let mut permits = Vec::new();
    for _ in 0..100 {
        permits.push(turn(&admission, 1 << 20).await);
    }
    assert_eq!(admission.line().in_flight, 0);
}
