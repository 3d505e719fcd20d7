//! Groups of the second protocol over the same simulated disk: what a kill leaves of them.

use groups::consumer::{Assignment, ConsumerAnswer, ConsumerHeartbeat, ConsumerState, LEAVES};

use super::*;

/// A first heartbeat, or a whole one.
fn whole(member: &str, epoch: i32) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        rebalance_timeout: Some(Duration::from_secs(30)),
        names: Some(vec!["orders".into()]),
        owned: Some(Assignment::new()),
        ..beat(member, epoch)
    }
}

/// A heartbeat that says nothing new.
fn beat(member: &str, epoch: i32) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        group: group(),
        member: MemberId::new(member),
        epoch,
        instance: None,
        rack: None,
        client_id: "app".into(),
        client_host: "127.0.0.1".into(),
        rebalance_timeout: None,
        names: None,
        regex: None,
        assignor: None,
        owned: None,
        may_lack_id: false,
    }
}

fn numbers(answer: &ConsumerAnswer) -> Option<Vec<u32>> {
    let assignment = answer.assignment.as_ref()?;
    Some(assignment.iter().map(|(_, number)| number.get()).collect())
}

impl World {
    async fn beat(&self, request: ConsumerHeartbeat) -> ConsumerAnswer {
        self.groups.consumer_heartbeat(request).await.unwrap()
    }

    /// Two members with a partition each.
    async fn two_consumers(&self) -> i32 {
        self.topic("orders").await;
        self.beat(whole("one", 0)).await;
        self.beat(whole("two", 0)).await;
        let kept = self.beat(beat("one", 1)).await.assignment;
        let gave = ConsumerHeartbeat {
            owned: kept,
            ..beat("one", 1)
        };
        let epoch = self.beat(gave).await.epoch;
        let given = self.beat(beat("two", epoch)).await;
        assert_eq!(numbers(&given), Some(vec![1]));
        epoch
    }

    fn state(&self) -> ConsumerState {
        self.groups.describe_consumer(&group()).unwrap().0.state
    }
}

#[tokio::test(start_paused = true)]
async fn members_go_on_after_a_kill_with_the_epochs_they_know() {
    let world = World::new().await;
    let epoch = world.two_consumers().await;
    let before = world.groups.describe_consumer(&group()).unwrap();
    let world = world.kill_and_restart().await;
    assert_eq!(world.groups.describe_consumer(&group()).unwrap(), before);
    for member in ["one", "two"] {
        let answer = world.beat(beat(member, epoch)).await;
        assert_eq!((answer.epoch, numbers(&answer)), (epoch, None), "{member}");
    }
    let two = by("two", epoch);
    let commits = vec![(at("orders", 1), commit_of(5))];
    world.groups.commit(&two, commits).await.unwrap();

    // Who does not come back is missed a session after the start.
    world.wait(Duration::from_secs(40)).await;
    world.beat(beat("one", epoch)).await;
    world.wait(Duration::from_secs(10)).await;
    let all = world.beat(beat("one", epoch)).await;
    assert_eq!(numbers(&all), Some(vec![0, 1]));
}

#[tokio::test(start_paused = true)]
async fn topics_that_grow_reach_members_that_say_nothing_new() {
    let world = World::new().await;
    let epoch = world.two_consumers().await;
    let name: TopicName = "orders".parse().unwrap();
    world.broker.add_partitions(&name, 4).await.unwrap();
    let one = world.beat(beat("one", epoch)).await;
    let two = world.beat(beat("two", epoch)).await;
    assert_eq!(
        (numbers(&one), numbers(&two)),
        (Some(vec![0, 2]), Some(vec![1, 3]))
    );
    world.broker.delete_topic(&name).await.unwrap();
    let left = world.beat(beat("one", one.epoch)).await;
    assert_eq!(numbers(&left), Some(vec![]));
}

#[tokio::test(start_paused = true)]
async fn compaction_keeps_members_and_forgets_those_that_left() {
    let world = World::new().await;
    let (disk, clock) = world.kill().await;
    let world = World::open(disk, clock, 50).await;
    let mut epoch = world.two_consumers().await;
    for round in 0..40 {
        let guest = format!("guest {round}");
        let joined = world.beat(whole(&guest, 0)).await;
        assert_eq!(numbers(&joined), Some(vec![]));
        world.beat(beat(&guest, LEAVES)).await;
        epoch = world.beat(beat("one", epoch)).await.epoch;
        world.beat(beat("two", joined.epoch - 1)).await;
    }
    let marks = world.broker.marks(&table::partition()).await.unwrap();
    assert!(
        marks.log_start > Position::default(),
        "compacted at least once"
    );
    let before = world.groups.describe_consumer(&group()).unwrap();
    assert_eq!(before.0.members.len(), 2);
    let world = world.kill_and_restart().await;
    assert_eq!(world.groups.describe_consumer(&group()).unwrap(), before);
    assert_eq!(world.beat(beat("one", epoch)).await.epoch, epoch);
    assert_eq!(world.state(), ConsumerState::Stable);
}

#[tokio::test(start_paused = true)]
async fn a_group_is_of_its_last_protocol_after_a_kill() {
    let world = World::new().await;
    world.topic("orders").await;
    let (leader, follower) = world.two_members().await;
    for member in [&leader, &follower] {
        let leaving = Leaving {
            member: member.member.clone(),
            instance: None,
        };
        world.groups.leave(&group(), &[leaving]).unwrap();
    }
    world.beat(whole("one", 0)).await;
    let world = world.kill_and_restart().await;
    let all = world.beat(beat("one", 1)).await;
    assert_eq!((all.epoch, numbers(&all)), (1, None));

    world.beat(beat("one", LEAVES)).await;
    let (leader, _) = world.two_members().await;
    let world = world.kill_and_restart().await;
    world.groups.heartbeat(&leader).unwrap();
    assert!(world.groups.describe_consumer(&group()).is_err());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_stored_is_not_told_and_comes_with_the_next_heartbeat() {
    let world = World::new().await;
    world.topic("orders").await;
    world.beat(whole("one", 0)).await;
    world.disk.set_capacity(Some(world.disk.used()));
    let large = ConsumerHeartbeat {
        client_id: String::from_utf8_lossy(&noise(1 << 20)).as_ref().into(),
        ..whole("two", 0)
    };
    let error = refused(world.groups.consumer_heartbeat(large.clone()).await);
    assert!(
        matches!(error, groups::Error::NotAvailable { .. }),
        "{error}"
    );
    world.disk.set_capacity(None);
    let joined = world.beat(large).await;
    assert_eq!((joined.epoch, numbers(&joined)), (2, Some(vec![])));
    let world = world.kill_and_restart().await;
    let known = world.groups.describe_consumer(&group()).unwrap().0;
    assert_eq!((known.epoch, known.members.len()), (2, 2));
}
