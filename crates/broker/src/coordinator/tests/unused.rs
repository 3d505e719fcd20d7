//! Offsets that nobody uses go after `offsets_retention`, here a minute; all others stay.

use model::Producer;

use super::*;

async fn world() -> World {
    let clock: DynClock = Arc::new(PausedClock {
        start: Instant::now(),
    });
    let options = CoordinatorOptions {
        offsets_retention: Duration::from_mins(1),
        ..CoordinatorOptions::default()
    };
    let world = World::open_with(SimDisk::new(1), clock, 10_000, options).await;
    world.topic("orders").await;
    world
}

impl World {
    async fn commit_now(&self, by: &MemberRef, position: u128) -> Result<(), GroupError> {
        let commit = Commit {
            at: self.clock.now(),
            ..commit_of(position)
        };
        let commits = vec![(at("orders", 0), commit)];
        self.groups.commit(by, commits).await.map(|_| ())
    }

    /// Where the group is after a look for unused ones.
    async fn position(&self) -> Option<u128> {
        self.groups.forget_unused().await.unwrap();
        let committed = self.groups.committed(&group(), None).await.unwrap();
        let commit = committed.into_iter().find_map(|(_, commit)| commit);
        commit.map(|commit| commit.position.bits())
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_that_only_commits_is_judged_by_its_newest_commit() {
    let world = world().await;
    let simple = by("", -1);
    world.commit_now(&simple, 3).await.unwrap();
    world.wait(Duration::from_secs(40)).await;
    world.commit_now(&simple, 4).await.unwrap();
    world.wait(Duration::from_secs(59)).await;
    assert_eq!(world.position().await, Some(4));
    world.wait(Duration::from_secs(2)).await;
    assert_eq!(world.position().await, None);

    world.commit_now(&simple, 5).await.unwrap();
    let world = world.kill_and_restart().await;
    assert_eq!(world.position().await, Some(5), "it begins anew");
}

#[tokio::test(start_paused = true)]
async fn members_keep_offsets_and_so_does_the_time_after_them() {
    let world = world().await;
    let (leader, follower) = world.two_members().await;
    world.commit_now(&leader, 3).await.unwrap();
    for _ in 0..20 {
        world.wait(Duration::from_secs(5)).await;
        world.groups.heartbeat(&leader).unwrap();
        world.groups.heartbeat(&follower).unwrap();
    }
    assert_eq!(world.position().await, Some(3));
    let leaving = [leader, follower].map(|m| Leaving {
        member: m.member,
        instance: None,
    });
    world.groups.leave(&group(), &leaving).unwrap();
    world.wait(Duration::from_secs(59)).await;
    assert_eq!(world.position().await, Some(3));
    world.wait(Duration::from_secs(2)).await;
    assert_eq!(world.position().await, None);
    assert_eq!(world.groups.list().await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_look_comes_by_itself() {
    let world = world().await;
    world.commit_now(&by("", -1), 3).await.unwrap();
    world.wait(Duration::from_mins(11)).await;
    let committed = world.groups.committed(&group(), None).await.unwrap();
    assert_eq!(committed, []);
}

#[tokio::test(start_paused = true)]
async fn a_commit_on_its_way_keeps_its_group_and_one_that_is_late_is_sent_again() {
    let world = world().await;
    let simple = by("", -1);
    world.commit_now(&simple, 3).await.unwrap();
    world.wait(Duration::from_secs(61)).await;
    let (committed, looked) =
        both(world.commit_now(&simple, 4), world.groups.forget_unused()).await;
    committed.unwrap();
    looked.unwrap();
    assert_eq!(world.position().await, Some(4));

    world.wait(Duration::from_secs(61)).await;
    let (looked, committed) =
        both(world.groups.forget_unused(), world.commit_now(&simple, 5)).await;
    looked.unwrap();
    let error = committed.unwrap_err();
    assert!(error.is_transient(), "{error}");
    world.commit_now(&simple, 5).await.unwrap();
    assert_eq!(world.position().await, Some(5));
}

#[tokio::test(start_paused = true)]
async fn what_is_staged_and_what_lantern_commits_itself_stays() {
    let world = world().await;
    let own: GroupId = "lantern-listener-billing".parse().unwrap();
    let old = vec![(at("orders", 0), commit_of(3))];
    world.broker.commit(&own, old.clone()).await.unwrap();
    world.broker.commit(&group(), old.clone()).await.unwrap();
    let log = world.broker.transactional().unwrap();
    let producer = Producer::new(7, 0);
    log.stage(producer, &group(), old).await.unwrap();
    assert_eq!(world.position().await, Some(3));
    log.settle(7, model::Outcome::Abort).await.unwrap();
    assert_eq!(world.position().await, None);
    let kept = world.groups.committed(&own, None).await.unwrap();
    assert_eq!(kept.len(), 1);
}
