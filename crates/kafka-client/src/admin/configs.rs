//! How topics are configured, and how many partitions they have.

use kafka_wire::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_wire::messages::describe_configs_request::DescribeConfigsResource;
use kafka_wire::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_wire::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, DescribeConfigsRequest,
    DescribeConfigsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use kafka_wire::{Api, StrBytes};
use model::TopicName;

use super::{ADMIN_TIMEOUT_MS, Admin, wire_name};
use crate::Error;
use crate::error::check;

/// Kafka's number for topics among what can be configured.
const TOPIC: i8 = 2;

/// Kafka's number for a value that is the topic's own.
const SOURCE_TOPIC: i8 = 1;

/// Kafka's numbers for what is done to a value.
const SET: i8 = 0;
const UNSET: i8 = 1;

/// One key of a topic's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigValue {
    /// Its name, e.g. `retention.ms`.
    pub name: String,
    /// Its value; none where the server keeps it secret.
    pub value: Option<String>,
    /// Whether it was set for this topic; otherwise it is the server's default.
    pub is_own: bool,
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

impl Admin {
    /// The configuration of a topic, by key.
    ///
    /// # Errors
    /// [`Error::Refused`]; those of [`crate::Connection::call`].
    pub async fn topic_config(&self, name: &TopicName) -> Result<Vec<ConfigValue>, Error> {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(name.as_str()))
            .with_configuration_keys(None);
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let answer: DescribeConfigsResponse =
            self.connection.call(Api::DescribeConfigs, &request).await?;
        let mut values = Vec::new();
        for result in answer.results {
            let message = result.error_message.as_deref();
            check(Api::DescribeConfigs, result.error_code, message)?;
            values.extend(result.configs.into_iter().map(|config| ConfigValue {
                name: config.name.to_string(),
                value: config.value.map(|value| value.to_string()),
                is_own: config.config_source == SOURCE_TOPIC,
            }));
        }
        values.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(values)
    }

    /// Sets keys of a topic's configuration, or (without a value) sets them back to the default.
    ///
    /// # Errors
    /// [`Error::Refused`], e.g. with `InvalidConfig`, and then nothing is changed; those of
    /// [`crate::Connection::call`].
    pub async fn configure_topic(
        &self,
        name: &TopicName,
        changes: &[(&str, Option<&str>)],
    ) -> Result<(), Error> {
        let configs = changes.iter().map(|(key, value)| {
            AlterableConfig::default()
                .with_name(text(key))
                .with_config_operation(if value.is_some() { SET } else { UNSET })
                .with_value(value.map(text))
        });
        let resource = AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(name.as_str()))
            .with_configs(configs.collect());
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let api = Api::IncrementalAlterConfigs;
        let answer: IncrementalAlterConfigsResponse = self.connection.call(api, &request).await?;
        for result in answer.responses {
            check(api, result.error_code, result.error_message.as_deref())?;
        }
        Ok(())
    }

    /// Grows a topic to `count` partitions in all.
    ///
    /// # Errors
    /// [`Error::Refused`], e.g. with `InvalidPartitions`; those of [`crate::Connection::call`].
    pub async fn grow_topic(&self, name: &TopicName, count: u32) -> Result<(), Error> {
        let topic = CreatePartitionsTopic::default()
            .with_name(wire_name(name))
            .with_count(i32::try_from(count).unwrap_or(i32::MAX))
            .with_assignments(None);
        let request = CreatePartitionsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(ADMIN_TIMEOUT_MS);
        let answer: CreatePartitionsResponse = self
            .connection
            .call(Api::CreatePartitions, &request)
            .await?;
        for result in answer.results {
            let message = result.error_message.as_deref();
            check(Api::CreatePartitions, result.error_code, message)?;
        }
        Ok(())
    }
}
