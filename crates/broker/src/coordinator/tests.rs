//! Groups over an embedded broker on a simulated disk, in time that moves only when told.

use std::future::Future;
use std::task::Poll;

use bytes::Bytes;
use env::{Clock, DynDisk, SeededEntropy, SimDisk};
use groups::{InstanceId, MemberId, Protocol};
use model::{PartitionId, Position, Timestamp, TopicName};
use tokio::time::Instant;

use super::*;

mod consumers;
mod unused;

use crate::{Broker, Drive, EmbeddedBroker, Options, TopicConfig, TopicSpec};

/// Tokio's paused time as a clock.
#[derive(Debug)]
struct PausedClock {
    start: Instant,
}

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000).plus(self.start.elapsed())
    }

    fn unix_nanos(&self) -> i64 {
        self.now().millis() * 1_000_000
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

struct World {
    disk: SimDisk,
    clock: DynClock,
    broker: Arc<EmbeddedBroker>,
    groups: Arc<GroupCoordinator>,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
    pump: tokio::task::JoinHandle<()>,
}

impl World {
    async fn new() -> Self {
        let clock: DynClock = Arc::new(PausedClock {
            start: Instant::now(),
        });
        Self::open(SimDisk::new(1), clock, 10_000).await
    }

    async fn open(disk: SimDisk, clock: DynClock, records_max: u64) -> Self {
        Self::open_with(disk, clock, records_max, CoordinatorOptions::default()).await
    }

    async fn open_with(
        disk: SimDisk,
        clock: DynClock,
        records_max: u64,
        options: CoordinatorOptions,
    ) -> Self {
        let shared: DynDisk = disk.shared();
        let entropy: DynEntropy = Arc::new(SeededEntropy::new(disk.changes()));
        let broker = EmbeddedBroker::open(Options {
            drive: Drive::Manual,
            groups_records_max: records_max,
            ..Options::new("/data", shared, clock.clone(), entropy.clone())
        })
        .unwrap();
        // Never idle, so that paused time does not run ahead by itself while the disk works.
        let writer = Arc::downgrade(&broker);
        let pump = tokio::spawn(async move {
            while let Some(broker) = writer.upgrade() {
                broker.run_round();
                drop(broker);
                tokio::task::yield_now().await;
            }
        });
        let groups = GroupCoordinator::new(broker.clone(), clock.clone(), entropy, options);
        let stop = CancellationToken::new();
        let running = tokio::spawn(groups.clone().run(stop.clone()));
        while !groups.is_ready() {
            tokio::task::yield_now().await;
        }
        Self {
            disk,
            clock,
            broker,
            groups,
            stop,
            running,
            pump,
        }
    }

    /// The process dies; nothing is closed in order.
    async fn kill(self) -> (SimDisk, DynClock) {
        self.running.abort();
        self.pump.abort();
        let _ = tokio::join!(self.running, self.pump);
        self.disk.crash();
        drop((self.groups, self.broker));
        self.disk.restart();
        (self.disk, self.clock)
    }

    async fn kill_and_restart(self) -> Self {
        let (disk, clock) = self.kill().await;
        Self::open(disk, clock, 10_000).await
    }

    async fn topic(&self, topic: &str) {
        let name: TopicName = topic.parse().unwrap();
        let spec = TopicSpec {
            name,
            partitions: 2,
            config: TopicConfig::default(),
        };
        self.broker.create_topic(spec).await.unwrap();
    }

    async fn join(&self, member: &str, instance: Option<&str>) -> Result<JoinAnswer, GroupError> {
        self.groups.join(request(member, instance)).await
    }

    /// Two members in a stable generation; the first leads.
    async fn two_members(&self) -> (MemberRef, MemberRef) {
        let (first, second) = (request("", None), request("", None));
        let (first, second) = self
            .pass(
                Duration::from_secs(1),
                both(self.groups.join(first), self.groups.join(second)),
            )
            .await;
        let (first, second) = (first.unwrap(), second.unwrap());
        let (leader, follower) = if first.members.is_empty() {
            (second, first)
        } else {
            (first, second)
        };
        assert_eq!(leader.members.len(), 2);
        let work = |answer: &groups::JoinedMember| {
            (
                answer.member.clone(),
                Bytes::from(format!("for {}", answer.member)),
            )
        };
        let by = |answer: &JoinAnswer| by(answer.member.as_str(), answer.generation);
        let assignments = leader.members.iter().map(work).collect();
        let (mine, other) = both(
            self.groups.sync(sync(by(&leader), assignments)),
            self.groups.sync(sync(by(&follower), Vec::new())),
        )
        .await;
        assert_eq!(mine.unwrap().assignment, format!("for {}", leader.member));
        assert_eq!(
            other.unwrap().assignment,
            format!("for {}", follower.member)
        );
        (by(&leader), by(&follower))
    }

    /// Lets time pass in small steps while `work` goes on.
    async fn pass<T>(&self, span: Duration, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let step = Duration::from_millis(10);
        for _ in 0..span.as_millis() / step.as_millis() {
            let polled = std::future::poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
            if let Poll::Ready(done) = polled {
                return done;
            }
            tokio::time::advance(step).await;
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
        }
        work.await
    }

    async fn wait(&self, span: Duration) {
        let end = Instant::now() + span;
        let over = std::future::poll_fn(|_| {
            if Instant::now() >= end {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        self.pass(span + Duration::from_secs(1), over).await;
    }
}

async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    tokio::join!(a, b)
}

fn group() -> GroupId {
    "shop".parse().unwrap()
}

fn request(member: &str, instance: Option<&str>) -> JoinRequest {
    JoinRequest {
        group: group(),
        member: MemberId::new(member),
        instance: instance.map(InstanceId::new),
        client_id: "app".into(),
        client_host: "127.0.0.1".into(),
        session_timeout: Duration::from_secs(10),
        rebalance_timeout: Duration::from_secs(20),
        protocol_type: "consumer".into(),
        protocols: vec![Protocol {
            name: "range".into(),
            metadata: subscription("orders"),
        }],
        member_id_required: false,
        may_skip_assignment: false,
    }
}

/// A consumer's metadata that subscribes to one topic.
fn subscription(topic: &str) -> Bytes {
    let length = u16::try_from(topic.len()).unwrap().to_be_bytes();
    [&[0, 1, 0, 0, 0, 1][..], &length, topic.as_bytes()]
        .concat()
        .into()
}

fn sync(by: MemberRef, assignments: Vec<(MemberId, Bytes)>) -> SyncRequest {
    SyncRequest {
        by,
        protocol_type: None,
        protocol: None,
        assignments,
    }
}

fn by(member: &str, generation: i32) -> MemberRef {
    MemberRef {
        group: group(),
        member: MemberId::new(member),
        instance: None,
        generation,
    }
}

fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition::new(topic.parse().unwrap(), PartitionId::new(partition))
}

fn commit_of(position: u128) -> Commit {
    Commit {
        position: Position::from_bits(position),
        leader_epoch: None,
        metadata: String::new(),
        at: Timestamp::from_millis(1),
    }
}

fn refused<T>(result: Result<T, GroupError>) -> groups::Error {
    match result {
        Err(GroupError::Refused(error)) => error,
        Err(other) => panic!("{other:?} is no refusal"),
        Ok(_) => panic!("it was not refused"),
    }
}

#[tokio::test(start_paused = true)]
async fn members_share_the_work_and_their_commits_count() {
    let world = World::new().await;
    world.topic("orders").await;
    let (leader, follower) = world.two_members().await;
    world.groups.heartbeat(&leader).unwrap();
    let unknown = world
        .groups
        .commit(
            &follower,
            vec![
                (at("orders", 1), commit_of(42)),
                (at("orders", 2), commit_of(1)),
                (at("gone", 0), commit_of(1)),
            ],
        )
        .await
        .unwrap();
    assert_eq!(unknown, [at("orders", 2), at("gone", 0)]);
    let committed = world.groups.committed(&group(), None).await.unwrap();
    assert_eq!(committed, [(at("orders", 1), Some(commit_of(42)))]);

    let stale = by(follower.member.as_str(), 0);
    let error = refused(world.groups.commit(&stale, Vec::new()).await);
    assert!(matches!(
        error,
        groups::Error::IllegalGeneration {
            asked: 0,
            current: 1,
            ..
        }
    ));

    let description = world.groups.describe(&group()).await.unwrap();
    assert_eq!(
        (description.state, &*description.protocol),
        (GroupState::Stable, "range")
    );
    assert_eq!(description.members.len(), 2);
    let listed = world.groups.list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(world.groups.census().1, 2);
}

#[tokio::test(start_paused = true)]
async fn a_killed_coordinator_resumes_its_groups() {
    let world = World::new().await;
    world.topic("orders").await;
    let (leader, follower) = world.two_members().await;
    let before = world.groups.describe(&group()).await.unwrap();

    let world = world.kill_and_restart().await;
    assert_eq!(world.groups.describe(&group()).await.unwrap(), before);
    world.groups.heartbeat(&leader).unwrap();
    world.groups.heartbeat(&follower).unwrap();
    let commits = vec![(at("orders", 0), commit_of(7))];
    world.groups.commit(&follower, commits).await.unwrap();
    let again = world
        .groups
        .sync(sync(follower.clone(), Vec::new()))
        .await
        .unwrap();
    assert_eq!(again.assignment, format!("for {}", follower.member));

    // One of them died with the machine: it is missed after its session, not before.
    for _ in 0..2 {
        world.wait(Duration::from_secs(4)).await;
        world.groups.heartbeat(&leader).unwrap();
    }
    world.wait(Duration::from_secs(3)).await;
    let error = refused(world.groups.heartbeat(&leader));
    assert!(
        matches!(error, groups::Error::RebalanceInProgress { .. }),
        "{error}"
    );
    let joined = world.join(leader.member.as_str(), None).await.unwrap();
    assert_eq!((joined.generation, joined.members.len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_static_member_that_came_back_is_known_after_a_crash() {
    let world = World::new().await;
    let first = world
        .pass(Duration::from_secs(1), world.join("", Some("desk-1")))
        .await
        .unwrap();
    let me = MemberRef {
        instance: Some("desk-1".into()),
        ..by(first.member.as_str(), first.generation)
    };
    let assignments = vec![(first.member.clone(), Bytes::from_static(b"all"))];
    world
        .groups
        .sync(sync(me.clone(), assignments))
        .await
        .unwrap();
    let second = world.join("", Some("desk-1")).await.unwrap();
    assert_eq!(second.generation, first.generation);

    let world = world.kill_and_restart().await;
    let error = refused(world.groups.heartbeat(&me));
    assert!(
        matches!(error, groups::Error::FencedInstance { .. }),
        "{error}"
    );
    let me = MemberRef {
        member: second.member,
        ..me
    };
    world.groups.heartbeat(&me).unwrap();
    let answer = world.groups.sync(sync(me, Vec::new())).await.unwrap();
    assert_eq!(answer.assignment, "all");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_group_stays_deleted() {
    let world = World::new().await;
    world.topic("orders").await;
    let (leader, follower) = world.two_members().await;
    world
        .groups
        .commit(&leader, vec![(at("orders", 0), commit_of(3))])
        .await
        .unwrap();
    let error = refused(world.groups.delete(&group()).await);
    assert!(matches!(error, groups::Error::NotEmpty { .. }), "{error}");

    let leaving = [leader, follower].map(|m| Leaving {
        member: m.member,
        instance: None,
    });
    let left = world.groups.leave(&group(), &leaving).unwrap();
    assert_eq!(left, [Ok(()), Ok(())]);
    assert_eq!(
        world.groups.describe(&group()).await.unwrap().state,
        GroupState::Empty
    );
    world.groups.delete(&group()).await.unwrap();

    let world = world.kill_and_restart().await;
    assert_eq!(world.groups.list().await.unwrap(), []);
    let error = refused(world.groups.describe(&group()).await);
    assert!(
        matches!(error, groups::Error::UnknownGroup { .. }),
        "{error}"
    );
    let error = refused(world.groups.delete(&group()).await);
    assert!(
        matches!(error, groups::Error::UnknownGroup { .. }),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_group_that_only_commits_is_empty_and_can_be_deleted() {
    let world = World::new().await;
    world.topic("orders").await;
    let simple = by("", -1);
    let commits = vec![
        (at("orders", 0), commit_of(3)),
        (at("orders", 1), commit_of(4)),
    ];
    world.groups.commit(&simple, commits).await.unwrap();
    let description = world.groups.describe(&group()).await.unwrap();
    assert_eq!(
        (description.state, description.generation),
        (GroupState::Empty, 0)
    );
    assert_eq!(world.groups.list().await.unwrap().len(), 1);
    let results = world
        .groups
        .delete_offsets(&group(), vec![at("orders", 0)])
        .await
        .unwrap();
    assert_eq!(results, [Ok(())]);
    let left = world.groups.committed(&group(), None).await.unwrap();
    assert_eq!(left, [(at("orders", 1), Some(commit_of(4)))]);
    world.groups.delete(&group()).await.unwrap();
    assert_eq!(world.groups.list().await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn offsets_of_a_topic_that_members_read_are_kept() {
    let world = World::new().await;
    world.topic("orders").await;
    world.topic("other").await;
    let (leader, _) = world.two_members().await;
    let commits = vec![
        (at("orders", 0), commit_of(3)),
        (at("other", 0), commit_of(4)),
    ];
    world.groups.commit(&leader, commits).await.unwrap();
    let asked = vec![at("orders", 0), at("other", 0)];
    let results = world.groups.delete_offsets(&group(), asked).await.unwrap();
    assert!(matches!(
        results[0],
        Err(groups::Error::SubscribedToTopic { .. })
    ));
    assert_eq!(results[1], Ok(()));
    let left = world.groups.committed(&group(), None).await.unwrap();
    assert_eq!(left, [(at("orders", 0), Some(commit_of(3)))]);
}

#[tokio::test(start_paused = true)]
async fn compaction_keeps_the_groups() {
    let world = World::new().await;
    let (disk, clock) = world.kill().await;
    let world = World::open(disk, clock, 50).await;
    world.topic("orders").await;
    let (leader, follower) = world.two_members().await;
    for position in 0..200 {
        world
            .groups
            .commit(&leader, vec![(at("orders", 0), commit_of(position))])
            .await
            .unwrap();
    }
    let marks = world.broker.marks(&table::partition()).await.unwrap();
    assert!(
        marks.log_start > Position::default(),
        "compacted at least once"
    );

    let world = world.kill_and_restart().await;
    world.groups.heartbeat(&leader).unwrap();
    world.groups.heartbeat(&follower).unwrap();
    let committed = world.groups.committed(&group(), None).await.unwrap();
    assert_eq!(committed, [(at("orders", 0), Some(commit_of(199)))]);
}

#[tokio::test(start_paused = true)]
async fn an_assignment_that_cannot_be_stored_is_refused() {
    let world = World::new().await;
    let joined = world
        .pass(Duration::from_secs(1), world.join("", None))
        .await
        .unwrap();
    world.disk.set_capacity(Some(world.disk.used()));
    let me = by(joined.member.as_str(), joined.generation);
    let large = vec![(joined.member.clone(), Bytes::from(noise(1 << 20)))];
    let error = refused(world.groups.sync(sync(me.clone(), large.clone())).await);
    assert!(
        matches!(error, groups::Error::NotAvailable { .. }),
        "{error}"
    );

    world.disk.set_capacity(None);
    let joined = world.join(me.member.as_str(), None).await.unwrap();
    let me = by(joined.member.as_str(), joined.generation);
    let answer = world.groups.sync(sync(me, large)).await.unwrap();
    assert_eq!(answer.assignment.len(), 1 << 20);
}

/// Bytes that do not compress.
fn noise(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    env::Entropy::fill(&SeededEntropy::new(9), &mut bytes);
    bytes
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_when_the_coordinator_stops() {
    let world = World::new().await;
    let groups = world.groups.clone();
    let waiting = tokio::spawn(async move { groups.join(request("", None)).await });
    while world.groups.census().1 == 0 {
        tokio::task::yield_now().await;
    }
    world.stop.cancel();
    assert!(matches!(waiting.await.unwrap(), Err(GroupError::Stopping)));
    world.running.await.unwrap();
    assert!(matches!(
        world.groups.heartbeat(&by("x", 1)),
        Err(GroupError::Stopping)
    ));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_served_before_the_groups_are_loaded() {
    let world = World::new().await;
    let options = CoordinatorOptions::default();
    let entropy: DynEntropy = Arc::new(SeededEntropy::new(2));
    let fresh = GroupCoordinator::new(world.broker.clone(), world.clock.clone(), entropy, options);
    let error = fresh.join(request("", None)).await.unwrap_err();
    assert!(matches!(error, GroupError::Loading));
    assert!(error.is_transient());
}

#[tokio::test(start_paused = true)]
async fn what_happens_is_counted() {
    let world = World::new().await;
    let mut registry = prometheus_client::registry::Registry::default();
    world.groups.register(&mut registry);
    let _members = world.two_members().await;
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        "lantern_broker_group_rebalances_total{reason=\"member joined\"} 1",
        "lantern_broker_group_generations_total 1",
        "lantern_broker_group_stores_total 1",
        "lantern_broker_group_members 2",
        "lantern_broker_group_groups{state=\"Stable\",protocol=\"classic\"} 1",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
}
