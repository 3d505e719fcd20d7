//! Records in, counts, rates, stamps and rows out.

use bytes::Bytes;
use record::{BatchBuilder, CheckedBatch, Compression};

use super::*;
use crate::compile::compile;

const BOARD: &str = "
apiVersion: lantern/v1
kind: Board
metadata: {name: b}
spec:
  lanes:
    - ticker: {topic: orders, rows: 3, subject: '{key}', text: '{value.amount:cents} {value.region|header.none}', levels: {paid: warning}}
    - ticker: {topic: orders, rows: 2, types: [paid]}
    - stats:
        stats:
          - {label: total, count: {topic: orders}}
          - {label: paid, count: {topic: orders, show: rate, types: [paid], window: 2s}}
";

fn plan() -> Plan {
    compile("b.yaml", BOARD).unwrap().remove(0)
}

fn batch(rows: &[(i64, &str, &str)]) -> CheckedBatch {
    let mut builder = BatchBuilder::new(Compression::None);
    for (at, kind, value) in rows {
        let headers = [
            ("ce_type", Some(kind.as_bytes())),
            ("ce_subject", Some(&b"s"[..])),
        ];
        builder.push(
            Timestamp::from_millis(*at),
            Some(b"o-1"),
            Some(value.as_bytes()),
            &headers,
        );
    }
    builder.build()
}

fn take(intake: &mut Intake, batch: &CheckedBatch, live: bool, now_ms: i64) {
    let records = batch.records().unwrap();
    let mut left = u64::from(batch.record_count());
    for record in &records {
        left -= 1;
        intake.take(&record.unwrap(), left, live, now_ms * 1_000_000);
    }
}

fn intake(plan: &Plan) -> Intake {
    Intake::new(plan, &plan.topics()[0])
}

#[test]
fn events_are_counted_with_the_time_they_were_sent() {
    let plan = plan();
    let mut intake = intake(&plan);
    assert_eq!(intake.history(), (3, Duration::from_secs(2)));
    intake.add_total(100);
    intake.add_total(11);
    take(&mut intake, &batch(&[(99_000, "paid", "")]), false, 100_000);
    assert_eq!(
        intake.drain(Timestamp::from_millis(100_000)).events,
        Events::default(),
        "history"
    );
    // In time; long ago; in the future.
    take(
        &mut intake,
        &batch(&[
            (99_990, "created", ""),
            (10, "paid", ""),
            (100_001, "paid", ""),
        ]),
        true,
        100_000,
    );
    let taken = intake.drain(Timestamp::from_millis(100_000));
    let expected = Events {
        count: 3,
        oldest_ns: 99_990_000_000,
        newest_ns: 100_000_000_000,
    };
    assert_eq!((taken.events, taken.total), (expected, Some(114)));
    assert_eq!(
        taken.rates,
        [(1, 1.5)],
        "one of history and two of now in two seconds"
    );
    assert_eq!(
        intake.drain(Timestamp::from_millis(200_000)).rates,
        [(1, 0.0)]
    );
}

#[test]
fn tickers_keep_the_newest_rows_in_order_of_time() {
    let plan = plan();
    let mut intake = intake(&plan);
    let rows: Vec<_> = (0..10)
        .map(|at| (at, if at % 4 == 0 { "paid" } else { "created" }, ""))
        .collect();
    take(&mut intake, &batch(&rows), true, 100);
    take(&mut intake, &batch(&[(5, "paid", "")]), true, 100);
    let taken = intake.drain(Timestamp::from_millis(100));
    let times = |at: usize| {
        taken.rows[at]
            .1
            .iter()
            .map(|row| row.timestamp.millis())
            .collect::<Vec<_>>()
    };
    assert_eq!(times(0), [5, 8, 9]);
    assert_eq!(times(1), [5, 8]);
}

#[test]
fn rows_are_written_as_the_board_says() {
    let plan = plan();
    let mut intake = intake(&plan);
    take(
        &mut intake,
        &batch(&[
            (
                1,
                "paid",
                r#"{"amount":1230,"region":"eu","list":[{"a":1}]}"#,
            ),
            (2, "created", "no json"),
            (3, "created", r#"{"amount":"12","region":null}"#),
        ]),
        true,
        100,
    );
    let taken = intake.drain(Timestamp::from_millis(100));
    let mut builder = RowBuilder::new(Timestamp::from_millis(1_000));
    let rows: Vec<_> = taken.rows[0]
        .1
        .iter()
        .map(|raw| builder.build(&plan.tickers[0], raw))
        .collect();
    let shown: Vec<_> = rows
        .iter()
        .map(|row| format!("{} {} {:?} {}", row.row_id, row.t_ms, row.level, row.text))
        .collect();
    assert_eq!(
        shown,
        [
            r#"256000 1 Warning {"subject":"o-1","text":"€ 12.30 eu","type":"paid"}"#,
            r#"256001 2 None {"subject":"o-1","text":"– –","type":"created"}"#,
            r#"256002 3 None {"subject":"o-1","text":"€ 0.12 –","type":"created"}"#,
        ]
    );
    let row = builder.build(&plan.tickers[1], &taken.rows[1].1[0]);
    assert_eq!(row.text, r#"{"subject":"s","text":"","type":"paid"}"#);
}

#[test]
fn a_column_has_an_end_and_a_huge_value_no_fields() {
    let plan = plan();
    let mut intake = intake(&plan);
    let long = format!(r#"{{"region":"{}"}}"#, "走".repeat(500));
    let huge = format!(r#"{{"region":"{}"}}"#, "a".repeat(20_000));
    take(
        &mut intake,
        &batch(&[(1, "x", &long), (2, "x", &huge)]),
        true,
        100,
    );
    let taken = intake.drain(Timestamp::from_millis(100));
    let mut builder = RowBuilder::new(Timestamp::from_millis(1));
    let text = |at: usize, builder: &mut RowBuilder| {
        let row = builder.build(&plan.tickers[0], &taken.rows[0].1[at]);
        serde_json::from_str::<serde_json::Value>(&row.text).unwrap()["text"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let shown = text(0, &mut builder);
    assert!(shown.ends_with("走…") && shown.chars().count() == 201);
    assert_eq!(text(1, &mut builder), "– –");
}

#[test]
fn bytes_that_are_no_text_are_shown_as_well_as_they_can() {
    let plan = plan();
    let mut intake = intake(&plan);
    let mut builder = BatchBuilder::new(Compression::Lz4);
    builder.push(Timestamp::from_millis(1), Some(&[0xff, b'a']), None, &[]);
    let batch = CheckedBatch::parse(Bytes::clone(builder.build().as_bytes()))
        .unwrap()
        .0;
    take(&mut intake, &batch, true, 100);
    let taken = intake.drain(Timestamp::from_millis(100));
    let row =
        RowBuilder::new(Timestamp::from_millis(1)).build(&plan.tickers[0], &taken.rows[0].1[0]);
    assert!(row.text.contains("\u{fffd}a"), "{}", row.text);
}
