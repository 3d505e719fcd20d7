//! The way to a server: the flag that names it, and errors that name it.

use clap::Args;
use kafka_client::{Cluster, ErrorCode, Metadata, Options, TopicDetail};
use model::{PartitionId, TopicName, TopicPartition};

use crate::error::Error;
use crate::names::{did_you_mean, like};

/// Where the server is.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerFlags {
    /// A Kafka server, or several of one cluster separated by commas
    #[arg(
        long,
        short = 'b',
        alias = "kafka",
        value_name = "HOST:PORT",
        env = "LANTERN_BROKER",
        default_value = "127.0.0.1:9092"
    )]
    pub(crate) broker: String,
}

impl ServerFlags {
    /// Connects, or says in one line why not.
    pub(crate) async fn connect(&self) -> Result<Cluster, Error> {
        self.connect_with(Options::default()).await
    }

    pub(crate) async fn connect_with(&self, options: Options) -> Result<Cluster, Error> {
        for address in self.broker.split(',') {
            let port = address.trim().rsplit_once(':').map(|(_, port)| port);
            if port.is_none_or(|port| port.parse::<u16>().is_err()) {
                return Err(Error::bad_use(format!(
                    "--broker '{}' is no HOST:PORT: write for example 127.0.0.1:9092",
                    address.trim()
                )));
            }
        }
        let connected = Cluster::connect(&self.broker, options).await;
        connected.map_err(|error| self.explain(error))
    }

    fn explain(&self, error: kafka_client::Error) -> Error {
        use kafka_client::Error as E;
        let address = self.broker.clone();
        match error {
            E::Connect { source, .. } => Error::Unreachable {
                address,
                reason: source.to_string(),
            },
            E::Closed | E::Io(_) | E::Wire(_) => Error::NotKafka { address },
            other => Error::failed(format!("talk to {address}"), other),
        }
    }
}

/// Topics that exist, with their partitions.
pub(crate) async fn topics(
    cluster: &Cluster,
    names: &[TopicName],
) -> Result<Vec<TopicDetail>, Error> {
    let found = cluster.metadata(Some(names)).await;
    let found = found.map_err(|error| Error::failed("ask for topics", error))?;
    let mut topics = Vec::with_capacity(names.len());
    for topic in found.topics {
        match topic.error {
            // One without a leader exists all the same.
            None | Some(ErrorCode::LeaderNotAvailable) => topics.push(topic),
            Some(ErrorCode::UnknownTopicOrPartition) => {
                return Err(unknown_topic(cluster, &topic.name).await);
            }
            Some(code) => {
                let refused = kafka_client::Error::Refused {
                    api: kafka_client::Api::Metadata,
                    code,
                    message: String::new(),
                };
                return Err(Error::failed(
                    format!("use topic '{}'", topic.name),
                    refused,
                ));
            }
        }
    }
    Ok(topics)
}

/// One topic that exists.
pub(crate) async fn topic(cluster: &Cluster, name: &TopicName) -> Result<TopicDetail, Error> {
    let mut found = topics(cluster, std::slice::from_ref(name)).await?;
    found.pop().ok_or_else(|| Error::UnknownTopic {
        topic: name.clone(),
        hint: String::new(),
    })
}

/// The error about a topic that is not there, with those that are like it.
pub(crate) async fn unknown_topic(cluster: &Cluster, name: &TopicName) -> Error {
    let all = cluster.metadata(None).await.ok();
    let all: Vec<TopicName> = all
        .into_iter()
        .flat_map(|found: Metadata| found.topics)
        .map(|topic| topic.name)
        .collect();
    let near = like(name.as_str(), all.iter().map(TopicName::as_str));
    let hint = did_you_mean(&near).unwrap_or_else(|| {
        format!(
            ": `lantern topic list` shows those that are, `lantern topic create {name}` makes it"
        )
    });
    Error::UnknownTopic {
        topic: name.clone(),
        hint,
    }
}

/// The partitions of a topic: these, or all.
pub(crate) fn partitions(topic: &TopicDetail, only: &[u32]) -> Result<Vec<TopicPartition>, Error> {
    let at = |id: PartitionId| TopicPartition::new(topic.name.clone(), id);
    if only.is_empty() {
        return Ok(topic.partitions.iter().map(|one| at(one.id)).collect());
    }
    let mut chosen = Vec::with_capacity(only.len());
    for number in only {
        let id = PartitionId::new(*number);
        if !topic.partitions.iter().any(|one| one.id == id) {
            return Err(Error::UnknownPartition {
                topic: topic.name.clone(),
                partition: *number,
                count: topic.partitions.len(),
            });
        }
        chosen.push(at(id));
    }
    chosen.sort();
    chosen.dedup();
    Ok(chosen)
}
