//! Several servers as one: who leads which partition, who coordinates which group, and how to reach them.
//!
//! Invariants: a connection that ended is never handed out again; what is asked of a cluster in passing
//! trouble (an election, a restart) is asked again for [`PATIENCE`] before it fails.
//! Not here: what is asked ([`Admin`]), reading ([`crate::Reader`]), writing ([`crate::Sender`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_wire::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_wire::{Api, StrBytes};
use model::{GroupId, Offset, TopicName, TopicPartition};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::error::check;
use crate::metadata::{self, Metadata};
use crate::{Admin, Connection, Error, GroupListing, Isolation, Options, Place};

/// How long passing trouble of a cluster is waited out.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait before asking again.
pub(crate) const BACKOFF: Duration = Duration::from_millis(200);

/// The first version of FindCoordinator that asks about several groups at once.
const SEVERAL_COORDINATORS_SINCE: i16 = 4;

/// A Kafka cluster, or a single server, by the address of any of its servers. Clones share all.
#[derive(Debug, Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    bootstrap: Vec<String>,
    options: Options,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// To whichever server answered first.
    any: Option<Connection>,
    addresses: BTreeMap<i32, String>,
    controller: Option<i32>,
    connections: BTreeMap<i32, Connection>,
}

impl Cluster {
    /// Connects to the first of `bootstrap` (`host:port`, several separated by commas) that answers.
    ///
    /// # Errors
    /// Those of [`Connection::open`] for the last of them.
    pub async fn connect(bootstrap: &str, options: Options) -> Result<Self, Error> {
        let addresses = bootstrap.split(',').map(|one| one.trim().to_owned());
        let cluster = Self {
            shared: Arc::new(Shared {
                bootstrap: addresses.collect(),
                options,
                state: Mutex::default(),
            }),
        };
        cluster.metadata(Some(&[])).await?;
        Ok(cluster)
    }

    /// A connection to any server.
    ///
    /// # Errors
    /// Those of [`Connection::open`] for the last one tried.
    pub async fn any(&self) -> Result<Connection, Error> {
        let mut state = self.shared.state.lock().await;
        if let Some(open) = state.any.as_ref().filter(|open| !open.is_closed()) {
            return Ok(open.clone());
        }
        let known: Vec<String> = state.addresses.values().cloned().collect();
        let mut failure = Error::Closed;
        for (index, address) in self.shared.bootstrap.iter().chain(&known).enumerate() {
            match Connection::open(address, self.shared.options.clone()).await {
                Ok(open) => {
                    state.any = Some(open.clone());
                    return Ok(open);
                }
                // The address that was asked for is the one to name.
                Err(error) if index == 0 => failure = error,
                Err(_) => (),
            }
        }
        Err(failure)
    }

    /// Servers and these topics, or all topics. None is created by asking.
    ///
    /// # Errors
    /// Those of [`Connection::call`].
    pub async fn metadata(&self, names: Option<&[TopicName]>) -> Result<Metadata, Error> {
        let found = metadata::ask(&self.any().await?, names).await?;
        let mut state = self.shared.state.lock().await;
        state.controller = found.controller;
        let addresses = found.brokers.iter();
        state.addresses = addresses
            .map(|broker| (broker.id, broker.address.clone()))
            .collect();
        Ok(found)
    }

    /// The shared connection to one server.
    ///
    /// # Errors
    /// [`Error::Advertised`].
    pub async fn broker(&self, id: i32) -> Result<Connection, Error> {
        let mut state = self.shared.state.lock().await;
        let open = state.connections.get(&id).filter(|open| !open.is_closed());
        if let Some(open) = open {
            return Ok(open.clone());
        }
        let open = self
            .open_at(&state, id, self.shared.options.clone())
            .await?;
        state.connections.insert(id, open.clone());
        Ok(open)
    }

    /// A connection to one server for the caller alone, e.g. for fetches that wait there.
    ///
    /// # Errors
    /// [`Error::Advertised`].
    pub async fn open(&self, id: i32, options: Options) -> Result<Connection, Error> {
        let state = self.shared.state.lock().await;
        self.open_at(&state, id, options).await
    }

    /// How its connections behave.
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    async fn open_at(&self, state: &State, id: i32, options: Options) -> Result<Connection, Error> {
        let Some(address) = state.addresses.get(&id) else {
            return Err(Error::Answer {
                api: Api::Metadata,
                reason: "it names a broker that is not among the brokers",
            });
        };
        let opened = Connection::open(address, options).await;
        opened.map_err(|source| {
            if self.shared.bootstrap.contains(address) {
                return source;
            }
            Error::Advertised {
                id,
                address: address.clone(),
                source: Box::new(source),
            }
        })
    }

    /// The server that takes changes of topics.
    ///
    /// # Errors
    /// Those of [`Cluster::broker`].
    pub async fn controller(&self) -> Result<Admin, Error> {
        let controller = self.shared.state.lock().await.controller;
        let connection = match controller {
            Some(id) => self.broker(id).await?,
            None => self.any().await?,
        };
        Ok(Admin::new(connection))
    }

    /// The number of the server that coordinates `group`.
    ///
    /// # Errors
    /// [`Error::Refused`]; those of [`Connection::call`].
    pub async fn coordinator_of(&self, group: &GroupId) -> Result<i32, Error> {
        patiently(async || {
            let connection = self.any().await?;
            let key = StrBytes::from_string(group.to_string());
            let several = connection.version(Api::FindCoordinator)? >= SEVERAL_COORDINATORS_SINCE;
            let request = if several {
                FindCoordinatorRequest::default().with_coordinator_keys(vec![key])
            } else {
                FindCoordinatorRequest::default().with_key(key)
            };
            let answer: FindCoordinatorResponse =
                connection.call(Api::FindCoordinator, &request).await?;
            let (id, host, port, code) = match answer.coordinators.into_iter().next() {
                Some(found) => (found.node_id.0, found.host, found.port, found.error_code),
                None => (
                    answer.node_id.0,
                    answer.host,
                    answer.port,
                    answer.error_code,
                ),
            };
            check(Api::FindCoordinator, code, None)?;
            let mut state = self.shared.state.lock().await;
            let address = metadata::address(&host, port);
            state.addresses.entry(id).or_insert(address);
            Ok(id)
        })
        .await
    }

    /// The server that coordinates `group`.
    ///
    /// # Errors
    /// Those of [`Cluster::coordinator_of`] and [`Cluster::broker`].
    pub async fn coordinator(&self, group: &GroupId) -> Result<Admin, Error> {
        let id = self.coordinator_of(group).await?;
        Ok(Admin::new(self.broker(id).await?))
    }

    /// Asks the server that coordinates `group`, again while that one starts or moves.
    ///
    /// # Errors
    /// What `ask` answers last; those of [`Cluster::coordinator`].
    pub async fn at_coordinator<T>(
        &self,
        group: &GroupId,
        mut ask: impl AsyncFnMut(Admin) -> Result<T, Error>,
    ) -> Result<T, Error> {
        patiently(async || ask(self.coordinator(group).await?).await).await
    }

    /// The groups of all servers, by name.
    ///
    /// # Errors
    /// Those of [`Admin::list_groups`] and [`Cluster::broker`].
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>, Error> {
        patiently(async || {
            let mut all = Vec::new();
            for admin in self.every_broker().await? {
                all.extend(admin.list_groups().await?);
            }
            all.sort();
            all.dedup_by(|a, b| a.group == b.group);
            Ok(all)
        })
        .await
    }

    /// Every server.
    ///
    /// # Errors
    /// Those of [`Cluster::broker`].
    pub async fn every_broker(&self) -> Result<Vec<Admin>, Error> {
        let ids: Vec<i32> = {
            let state = self.shared.state.lock().await;
            state.addresses.keys().copied().collect()
        };
        let mut all = Vec::with_capacity(ids.len());
        for id in ids {
            all.push(Admin::new(self.broker(id).await?));
        }
        Ok(all)
    }

    /// Bytes of every partition, once for each server that keeps it.
    ///
    /// # Errors
    /// Those of [`Admin::sizes`] and [`Cluster::broker`].
    pub async fn sizes(&self) -> Result<BTreeMap<TopicPartition, u64>, Error> {
        let mut sizes: BTreeMap<TopicPartition, u64> = BTreeMap::new();
        for admin in self.every_broker().await? {
            for (at, size) in admin.sizes().await? {
                *sizes.entry(at).or_default() += size;
            }
        }
        Ok(sizes)
    }

    /// Who leads each of these partitions.
    ///
    /// # Errors
    /// [`Error::Refused`] for a topic that does not exist; [`Error::NoLeader`], also for a partition
    /// that does not exist; those of [`Connection::call`].
    pub async fn leaders(
        &self,
        of: impl IntoIterator<Item = &TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, i32>, Error> {
        let asked: Vec<&TopicPartition> = of.into_iter().collect();
        let mut names: Vec<TopicName> = asked.iter().map(|of| of.topic.clone()).collect();
        names.sort();
        names.dedup();
        let found = self.metadata(Some(&names)).await?;
        let mut leaders = BTreeMap::new();
        for topic in &found.topics {
            if let Some(code) = topic.error {
                check(Api::Metadata, code.code(), Some(topic.name.as_str()))?;
            }
            for partition in &topic.partitions {
                let at = TopicPartition::new(topic.name.clone(), partition.id);
                leaders.extend(partition.leader.map(|leader| (at, leader)));
            }
        }
        let mut wanted = BTreeMap::new();
        for of in asked {
            let leader = leaders.get(of).ok_or_else(|| Error::NoLeader {
                partition: of.clone(),
            })?;
            wanted.insert(of.clone(), *leader);
        }
        Ok(wanted)
    }

    /// The offsets of a place in many partitions; none where there is no record at or after the time
    /// asked for.
    ///
    /// # Errors
    /// [`Error::Refused`]; those of [`Cluster::leaders`] and [`Connection::call`].
    pub async fn offsets(
        &self,
        of: &[TopicPartition],
        place: Place,
        isolation: Isolation,
    ) -> Result<BTreeMap<TopicPartition, Option<Offset>>, Error> {
        patiently(async || {
            let mut by_leader: BTreeMap<i32, Vec<TopicPartition>> = BTreeMap::new();
            for (partition, leader) in self.leaders(of).await? {
                by_leader.entry(leader).or_default().push(partition);
            }
            let mut found = BTreeMap::new();
            for (leader, partitions) in by_leader {
                let admin = Admin::new(self.broker(leader).await?);
                found.extend(admin.offsets(&partitions, place, isolation).await?);
            }
            Ok(found)
        })
        .await
    }
}

/// Asks again while trouble may pass, for [`PATIENCE`]. Nobody to talk to at all is told at once.
pub(crate) async fn patiently<T>(
    mut ask: impl AsyncFnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let began = Instant::now();
    loop {
        let error = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let unknown = error.code() == Some(kafka_wire::ErrorCode::UnknownTopicOrPartition);
        let nobody = matches!(error, Error::Connect { .. } | Error::Advertised { .. });
        if !error.is_passing() || unknown || nobody || began.elapsed() >= PATIENCE {
            return Err(error);
        }
        sleep(BACKOFF).await;
    }
}
