//! The alerts about consumers and listeners that come with Lantern, fed with what Lantern measures.

use std::time::Duration;

use alerting::AlertState;

use crate::rig::Rig;

const RULES: &str = include_str!("../../../../rules/lantern.yaml");

/// A metric, a label, its value, and what is measured at a second.
type Fed<'a> = (&'a str, &'a str, &'a str, &'a dyn Fn(u64) -> f64);

/// Feeds values for as many seconds, one sample of each every ten.
async fn feed(rig: &Rig, seconds: u64, series: &[Fed<'_>]) {
    for at in (0..seconds).step_by(10) {
        for (metric, label, name, value) in series {
            let labels = [("__name__", *metric), (*label, *name)];
            rig.write(&labels, value(at)).await;
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
}

/// What fires now, as `alert of whom`.
fn firing(rig: &Rig) -> Vec<String> {
    let alerts = rig.handle.watch_alerts();
    let alerts = alerts.borrow();
    let firing = alerts
        .iter()
        .filter(|alert| alert.state == AlertState::Firing);
    let label = |name, labels: &series::Labels| labels.get(name).map(str::to_owned);
    let mut told: Vec<String> = firing
        .map(|alert| {
            let name = label("alertname", &alert.labels).unwrap_or_default();
            let group = label("consumergroup", &alert.labels);
            let whom = group.or_else(|| label("listener", &alert.labels));
            format!("{name} of {}", whom.unwrap_or_default())
        })
        .collect();
    told.sort();
    told
}

#[tokio::test(start_paused = true)]
async fn a_group_that_stands_still_fires_and_one_that_is_late_and_works_does_not() {
    let rig = Rig::new(RULES).await;
    let age = "lantern_delay_group_age_seconds";
    let still = |at: u64| at as f64;
    let late = |_| 900.0;
    let falling_behind = |at: u64| 600.0 + at as f64 / 2.0;
    let group = "consumergroup";
    let all: [Fed<'_>; 3] = [
        (age, group, "still", &still),
        (age, group, "late", &late),
        (age, group, "falling behind", &falling_behind),
    ];
    feed(&rig, 440, &all).await;
    assert_eq!(firing(&rig), Vec::<String>::new(), "5 minutes and 3 more");
    feed(&rig, 200, &[(age, group, "still", &|at| 440.0 + at as f64)]).await;
    assert_eq!(firing(&rig), ["ConsumerStandsStill of still"]);
    feed(&rig, 60, &[(age, group, "still", &|_| 0.0)]).await;
    assert_eq!(firing(&rig), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_a_listener_cannot_read_fires_until_it_can() {
    let rig = Rig::new(RULES).await;
    let metric = "lantern_dispatch_unreadable";
    feed(&rig, 90, &[(metric, "listener", "billing", &|_| 1.0)]).await;
    assert_eq!(firing(&rig), ["LanternPartitionUnreadable of billing"]);
    feed(&rig, 60, &[(metric, "listener", "billing", &|_| 0.0)]).await;
    assert_eq!(firing(&rig), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn partitions_without_a_disk_fire_at_once_and_until_it_is_back() {
    let rig = Rig::new(RULES).await;
    let metric = "lantern_broker_partitions_out_of_service";
    feed(&rig, 30, &[(metric, "instance", "here", &|_| 2.0)]).await;
    assert_eq!(firing(&rig), ["LanternPartitionsOutOfService of "]);
    feed(&rig, 30, &[(metric, "instance", "here", &|_| 0.0)]).await;
    assert_eq!(firing(&rig), Vec::<String>::new());
}
