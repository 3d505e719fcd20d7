//! DescribeConfigs, AlterConfigs and IncrementalAlterConfigs, for topics and this broker.
//!
//! Every key is described with its default. Topic configuration can be changed; the broker's own is
//! in `lantern.yaml` and can only be read.

mod alter;
mod node;

use broker::{ConfigEntry, ConfigKind};
use kafka_wire::messages::describe_configs_request::DescribeConfigsResource;
use kafka_wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_wire::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_wire::{ErrorCode, StrBytes};
use model::TopicName;

use super::topics::Refusal;
use crate::context::{Call, text};

pub(crate) use alter::{alter_configs, incremental_alter_configs};

/// Kafka's numbers for what can be configured.
mod resource {
    pub(super) const TOPIC: i8 = 2;
    pub(super) const BROKER: i8 = 4;
}

/// Kafka's numbers for where a value comes from.
const SOURCE_TOPIC: i8 = 1;
const SOURCE_STATIC_BROKER: i8 = 4;
const SOURCE_DEFAULT: i8 = 5;

/// Where a topic's value comes from.
pub(super) fn source(entry: &ConfigEntry) -> i8 {
    if entry.is_default {
        SOURCE_DEFAULT
    } else {
        SOURCE_TOPIC
    }
}

/// Kafka's number for what values of a key look like.
const fn kind(kind: ConfigKind) -> i8 {
    match kind {
        ConfigKind::Bool => 1,
        ConfigKind::Text | ConfigKind::Word(_) => 2,
        ConfigKind::Number { .. } => 5,
        ConfigKind::Fraction => 6,
        ConfigKind::Words(_) => 7,
    }
}

/// Serves DescribeConfigs.
pub(crate) fn describe_configs(
    call: &Call,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let show = Show {
        synonyms: request.include_synonyms,
        documentation: request.include_documentation,
    };
    let results = request.resources.into_iter().map(|asked| {
        let configs = describe(call, &asked, show);
        let result = DescribeConfigsResult::default()
            .with_resource_type(asked.resource_type)
            .with_resource_name(asked.resource_name);
        match configs {
            Ok(configs) => result.with_error_message(None).with_configs(configs),
            Err(refusal) => result
                .with_error_code(call.refuse(refusal.code))
                .with_error_message(Some(text(refusal.reason))),
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

#[derive(Clone, Copy)]
struct Show {
    synonyms: bool,
    documentation: bool,
}

/// One key with its value, as it is shown.
struct Line {
    name: &'static str,
    value: String,
    source: i8,
    read_only: bool,
    kind: i8,
    doc: &'static str,
    default: Option<&'static str>,
}

impl Line {
    fn show(self, show: Show) -> DescribeConfigsResourceResult {
        let synonym = |value: StrBytes, source: i8| {
            DescribeConfigsSynonym::default()
                .with_name(text(self.name))
                .with_value(Some(value))
                .with_source(source)
        };
        let mut synonyms = Vec::new();
        if show.synonyms {
            synonyms.push(synonym(text(&*self.value), self.source));
            if let Some(default) = self.default.filter(|_| self.source != SOURCE_DEFAULT) {
                synonyms.push(synonym(text(default), SOURCE_DEFAULT));
            }
        }
        DescribeConfigsResourceResult::default()
            .with_name(text(self.name))
            .with_value(Some(text(self.value)))
            .with_read_only(self.read_only)
            .with_config_source(self.source)
            .with_synonyms(synonyms)
            .with_config_type(self.kind)
            .with_documentation(show.documentation.then(|| text(self.doc)))
    }
}

fn describe(
    call: &Call,
    asked: &DescribeConfigsResource,
    show: Show,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let lines = match asked.resource_type {
        resource::TOPIC => topic_lines(call, &asked.resource_name)?,
        resource::BROKER => node::lines(call, &asked.resource_name)?,
        other => {
            let reason = format!("configuration of resource type {other} is not kept here");
            return Err(Refusal::new(ErrorCode::InvalidRequest, reason));
        }
    };
    // No list asks for everything; so does an empty one, as kafkajs sends it.
    let keys = asked.configuration_keys.as_deref().unwrap_or_default();
    let wanted = |line: &Line| keys.is_empty() || keys.iter().any(|key| **key == *line.name);
    Ok(lines
        .into_iter()
        .filter(wanted)
        .map(|line| line.show(show))
        .collect())
}

fn topic_lines(call: &Call, name: &str) -> Result<Vec<Line>, Refusal> {
    let topic = TopicName::new(name)
        .map_err(|error| Refusal::new(ErrorCode::InvalidTopicException, error.to_string()))?;
    let Some(info) = call.broker().topic(&topic) else {
        let reason = format!("topic '{topic}' does not exist");
        return Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, reason));
    };
    let line = |entry: ConfigEntry| Line {
        name: entry.key.name,
        source: source(&entry),
        read_only: false,
        kind: kind(entry.key.kind),
        doc: entry.key.doc,
        default: Some(entry.key.default),
        value: entry.value,
    };
    Ok(info.config.entries().into_iter().map(line).collect())
}
