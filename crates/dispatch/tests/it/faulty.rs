//! A broker whose calls fail or panic when a test says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker::{
    Broker, BrokerFuture, Capabilities, Commit, Demand, Durability, DynBroker, Error, Fetched,
    Found, Kept, Marks, Place, ReadLimit, TopicConfig, TopicInfo, TopicSpec, TransactionalLog,
    Wanted, Wish,
};
use model::{GroupId, Position, TopicName, TopicPartition};
use parking_lot::Mutex;
use record::CheckedBatch;
use tokio::sync::watch;

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Append,
    Read,
    Commit,
    Delete,
    Marks,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Fails,
    Panics,
}

type Plan = dyn Fn(Op, &str) -> Option<Fault> + Send + Sync;

/// Calls go on to another broker unless the plan says otherwise of their topic.
pub(crate) struct Faulty {
    inner: DynBroker,
    plan: Mutex<Option<Arc<Plan>>>,
}

impl std::fmt::Debug for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faulty")
    }
}

impl Faulty {
    pub(crate) fn new(inner: DynBroker) -> Arc<Self> {
        let plan = Mutex::default();
        Arc::new(Self { inner, plan })
    }

    pub(crate) fn plan(&self, plan: impl Fn(Op, &str) -> Option<Fault> + Send + Sync + 'static) {
        *self.plan.lock() = Some(Arc::new(plan));
    }

    /// Nothing fails any more.
    pub(crate) fn heal(&self) {
        *self.plan.lock() = None;
    }

    fn check(&self, op: Op, of: &TopicPartition) -> Result<(), Error> {
        let plan = self.plan.lock().clone();
        match plan.and_then(|plan| plan(op, of.topic.as_str())) {
            None => Ok(()),
            Some(Fault::Fails) => Err(Error::Corrupt {
                partition: of.clone(),
                reason: "a test says so".into(),
                until: None,
            }),
            Some(Fault::Panics) => panic!("this panic is wanted"),
        }
    }
}

impl Broker for Faulty {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn topics(&self) -> Arc<BTreeMap<TopicName, Arc<TopicInfo>>> {
        self.inner.topics()
    }

    fn create_topic(&self, spec: TopicSpec) -> BrokerFuture<'_, Arc<TopicInfo>> {
        self.inner.create_topic(spec)
    }

    fn delete_topic<'a>(&'a self, name: &'a TopicName) -> BrokerFuture<'a, ()> {
        self.inner.delete_topic(name)
    }

    fn add_partitions<'a>(
        &'a self,
        name: &'a TopicName,
        count: u32,
    ) -> BrokerFuture<'a, Arc<TopicInfo>> {
        self.inner.add_partitions(name, count)
    }

    fn configure_topic<'a>(
        &'a self,
        name: &'a TopicName,
        config: TopicConfig,
    ) -> BrokerFuture<'a, Arc<TopicInfo>> {
        self.inner.configure_topic(name, config)
    }

    fn append<'a>(
        &'a self,
        to: &'a TopicPartition,
        batches: Vec<CheckedBatch>,
        durability: Durability,
    ) -> BrokerFuture<'a, broker::Appended> {
        Box::pin(async move {
            self.check(Op::Append, to)?;
            self.inner.append(to, batches, durability).await
        })
    }

    fn read<'a>(
        &'a self,
        at: &'a TopicPartition,
        from: Position,
        limit: ReadLimit,
    ) -> BrokerFuture<'a, Fetched> {
        Box::pin(async move {
            self.check(Op::Read, at)?;
            self.inner.read(at, from, limit).await
        })
    }

    fn marks<'a>(&'a self, of: &'a TopicPartition) -> BrokerFuture<'a, Marks> {
        Box::pin(async move {
            self.check(Op::Marks, of)?;
            self.inner.marks(of).await
        })
    }

    fn kept(&self, of: &TopicPartition) -> Option<Kept> {
        self.inner.kept(of)
    }

    fn want(&self, of: &TopicPartition, wish: Wish, demand: &Arc<Demand>) -> Result<Wanted, Error> {
        self.inner.want(of, wish, demand)
    }

    fn watch(&self, of: &TopicPartition) -> Result<watch::Receiver<Position>, Error> {
        self.inner.watch(of)
    }

    fn find<'a>(&'a self, at: &'a TopicPartition, place: Place) -> BrokerFuture<'a, Option<Found>> {
        self.inner.find(at, place)
    }

    fn delete_records<'a>(
        &'a self,
        of: &'a TopicPartition,
        until: Position,
    ) -> BrokerFuture<'a, Position> {
        Box::pin(async move {
            self.check(Op::Delete, of)?;
            self.inner.delete_records(of, until).await
        })
    }

    fn commit<'a>(
        &'a self,
        group: &'a GroupId,
        commits: Vec<(TopicPartition, Commit)>,
    ) -> BrokerFuture<'a, ()> {
        Box::pin(async move {
            for (of, _) in &commits {
                self.check(Op::Commit, of)?;
            }
            self.inner.commit(group, commits).await
        })
    }

    fn committed<'a>(
        &'a self,
        group: &'a GroupId,
        of: Option<Vec<TopicPartition>>,
    ) -> BrokerFuture<'a, Vec<(TopicPartition, Option<Commit>)>> {
        self.inner.committed(group, of)
    }

    fn committed_groups(&self) -> BrokerFuture<'_, Vec<GroupId>> {
        self.inner.committed_groups()
    }

    fn forget_group<'a>(
        &'a self,
        group: &'a GroupId,
        of: Option<Vec<TopicPartition>>,
    ) -> BrokerFuture<'a, ()> {
        self.inner.forget_group(group, of)
    }

    fn new_producer_id(&self) -> BrokerFuture<'_, i64> {
        self.inner.new_producer_id()
    }

    /// With a plan there are none, so that all reads are seen.
    fn transactional(&self) -> Option<&dyn TransactionalLog> {
        if self.plan.lock().is_some() {
            return None;
        }
        self.inner.transactional()
    }
}
