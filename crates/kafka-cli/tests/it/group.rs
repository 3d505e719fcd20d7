//! `lantern group`, with groups that `lantern consume` makes.

use insta::assert_snapshot;

use crate::support::{Server, lines};

async fn orders(server: &Server, partitions: u32) {
    server
        .type_in(&format!("topic create orders -p {partitions}"))
        .await
        .ok();
    let lines = lines(0..100, |n| {
        let partition = n % i64::from(partitions);
        format!("{{\"value\":\"{n}\",\"partition\":{partition}}}")
    });
    server
        .typed("produce orders -i json -q", lines.leak().as_bytes())
        .await
        .ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_reads_on_where_it_stopped() {
    let server = Server::start().await;
    orders(&server, 1).await;
    let read = server
        .type_in("consume orders -g billing -o value -n 60")
        .await
        .ok();
    assert_eq!(read.lines().count(), 60);
    assert_snapshot!(server.type_in("group list").await.ok(), @r"
    GROUP    STATE  KIND
    billing  Empty  classic
    ");
    assert_snapshot!(server.type_in("group lag billing").await.ok(), @r"
    billing  Empty, 0 members
    TOPIC   PARTITION  COMMITTED  END  LAG  CLIENT
    orders          0         60  100   40
    Total lag: 40 records.
    ");
    assert_snapshot!(server.type_in("group lag").await.ok(), @r"
    GROUP    STATE  MEMBERS  LAG
    billing  Empty        0   40
    ");
    let read = server
        .type_in("consume orders -g billing -o value")
        .await
        .ok();
    let expected = lines(60..100, |n| n.to_string());
    assert_eq!(read, expected);

    assert_snapshot!(server.type_in("group reset billing --to 10 -t orders:0 --dry-run").await.ok(), @r"
    TOPIC   PARTITION  FROM  TO
    orders          0   100  10
    Nothing was changed: this was a dry run.
    ");
    let line = server
        .type_in("group reset billing --to -5 --all-topics -o json")
        .await
        .ok();
    assert_snapshot!(line, @r#"{"group":"billing","topic":"orders","partition":0,"from":100,"to":95,"dry_run":false}"#);
    let read = server
        .type_in("consume orders -g billing -o value")
        .await
        .ok();
    assert_eq!(read, "95\n96\n97\n98\n99\n");
    let done = server
        .type_in("group reset billing --to 500 -t orders")
        .await;
    assert!(
        done.err.contains("the nearest to 500 is taken"),
        "{}",
        done.err
    );

    assert_snapshot!(server.type_in("group delete billing --yes").await.ok(), @"Group 'billing' deleted.");
    assert_snapshot!(server.type_in("group lag billing").await.failed(), @"there is no group 'billing': `lantern group list` shows those that are");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_and_a_group_in_use_is_not_changed() {
    let server = Server::start().await;
    orders(&server, 4).await;
    let nothing = || Box::new(std::io::empty());
    let first = server.begin("consume orders -g billing -f -F %p:%s\\n", nothing());
    first.says("3:99\n").await;
    let second = server.begin("consume orders -g billing -f -F %p:%s\\n", nothing());
    // Until both are in, with two partitions each.
    let described = loop {
        let described = server.type_in("group describe billing -o json").await.ok();
        if described.contains("Stable") && described.matches(r#""client""#).count() == 2 {
            break described;
        }
    };
    assert_eq!(
        described.matches(r#""topic":"orders""#).count(),
        4,
        "{described}"
    );
    let error = server
        .type_in("group reset billing --to beginning -t orders")
        .await
        .failed();
    assert_snapshot!(error, @"group 'billing' has 2 members (state Stable): stop them first, then reset it");
    let error = server.type_in("group delete billing -y").await.failed();
    assert_snapshot!(error, @"group 'billing' has 2 members (state Stable): stop them first, then delete it");
    let text = server.type_in("group describe billing").await.ok();
    assert!(
        text.contains("orders:0-1") && text.contains("orders:2-3"),
        "{text}"
    );

    server
        .typed(
            "produce orders -i json",
            b"{\"value\":\"a\",\"partition\":0}\n{\"value\":\"b\",\"partition\":3}\n",
        )
        .await
        .ok();
    let one = async {
        first.says(":a\n").await;
        second.says(":b\n").await;
    };
    let other = async {
        first.says(":b\n").await;
        second.says(":a\n").await;
    };
    tokio::select! {
        () = one => (),
        () = other => (),
    }
    // The one that stays gets everything, and nothing that the other has committed.
    first.stop.cancel();
    let first = first.end().await.ok();
    server
        .typed(
            "produce orders -i json",
            b"{\"value\":\"c\",\"partition\":0}\n{\"value\":\"d\",\"partition\":3}\n",
        )
        .await
        .ok();
    second.says("0:c\n").await;
    second.says("3:d\n").await;
    second.stop.cancel();
    let second = second.end().await.ok();
    let mut all: Vec<&str> = first.lines().chain(second.lines()).collect();
    all.sort_unstable();
    let count = all.len();
    all.dedup();
    assert_eq!((count, all.len()), (104, 104), "each record once");
    let lag = server.type_in("group lag billing -o json").await.ok();
    assert!(lag.contains(r#""lag":0,"partitions""#), "{lag}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_is_watched_with_rates() {
    let server = Server::start().await;
    orders(&server, 1).await;
    server
        .type_in("consume orders -g billing -o value -n 60")
        .await
        .ok();
    let watching = server.begin(
        "group lag billing --watch --interval 50ms --count 3",
        Box::new(std::io::empty()),
    );
    let text = watching.end().await.ok();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "2026-05-01T12:00:00.000Z  billing  lag 40  consumed -/s  produced -/s  measuring"
    );
    assert_eq!(
        lines[2],
        "2026-05-01T12:00:00.000Z  billing  lag 40  consumed 0/s  produced 0/s  not catching up"
    );
    let json = server
        .type_in("group lag --watch --interval 20ms --count 1 -o json")
        .await
        .ok();
    assert!(json.starts_with(r#"{"time":"2026-05-01T12:00:00.000Z","group":"billing","state":"Empty","members":0,"lag":40,"#), "{json}");
    let done = server.type_in("group lag billing --count 2").await;
    assert!(done.result.unwrap_err().is_bad_use());
}
