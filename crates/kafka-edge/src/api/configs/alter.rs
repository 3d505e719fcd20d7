//! Changing a topic's configuration: whole (AlterConfigs) or key by key (IncrementalAlterConfigs).
//!
//! Invariant: one resource changes all or nothing; two changes at once do not undo each other.

use std::collections::BTreeSet;

use broker::{ConfigKind, TopicConfig, config_key};
use kafka_wire::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, alter_configs_response, incremental_alter_configs_request,
    incremental_alter_configs_response,
};
use kafka_wire::{ErrorCode, StrBytes};
use model::TopicName;
use model::limits::METRICS_TOPIC;

use super::resource;
use crate::api::topics::Refusal;
use crate::context::{Call, text};

/// Serves AlterConfigs: what is not named goes back to its default.
pub(crate) async fn alter_configs(
    call: &Call,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for asked in request.resources {
        let defaults = call.shared.options.topic_defaults.clone();
        let change = |_: &TopicConfig| {
            let mut config = defaults;
            for entry in &asked.configs {
                config.set(&entry.name, entry.value.as_deref())?;
            }
            Ok(config)
        };
        let (kind, name) = (asked.resource_type, &asked.resource_name);
        let changed = alter(call, kind, name, request.validate_only, change).await;
        let (error_code, message) = outcome(call, changed);
        responses.push(
            alter_configs_response::AlterConfigsResourceResponse::default()
                .with_error_code(error_code)
                .with_error_message(message)
                .with_resource_type(asked.resource_type)
                .with_resource_name(asked.resource_name),
        );
    }
    AlterConfigsResponse::default().with_responses(responses)
}

/// Serves IncrementalAlterConfigs: what is not named stays.
pub(crate) async fn incremental_alter_configs(
    call: &Call,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for asked in request.resources {
        let change = |config: &TopicConfig| apply(config, &asked.configs);
        let (kind, name) = (asked.resource_type, &asked.resource_name);
        let changed = alter(call, kind, name, request.validate_only, change).await;
        let (error_code, message) = outcome(call, changed);
        responses.push(
            incremental_alter_configs_response::AlterConfigsResourceResponse::default()
                .with_error_code(error_code)
                .with_error_message(message)
                .with_resource_type(asked.resource_type)
                .with_resource_name(asked.resource_name),
        );
    }
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

fn outcome(call: &Call, changed: Result<(), Refusal>) -> (i16, Option<StrBytes>) {
    match changed {
        Ok(()) => (0, None),
        Err(refusal) => (call.refuse(refusal.code), Some(text(refusal.reason))),
    }
}

async fn alter(
    call: &Call,
    kind: i8,
    name: &str,
    validate_only: bool,
    change: impl FnOnce(&TopicConfig) -> Result<TopicConfig, Refusal>,
) -> Result<(), Refusal> {
    match kind {
        resource::TOPIC => (),
        resource::BROKER => {
            let reason = "the broker is configured in lantern.yaml, not over this protocol";
            return Err(Refusal::new(ErrorCode::InvalidRequest, reason));
        }
        other => {
            let reason = format!("configuration of resource type {other} is not kept here");
            return Err(Refusal::new(ErrorCode::InvalidRequest, reason));
        }
    }
    let topic = TopicName::new(name)
        .map_err(|error| Refusal::new(ErrorCode::InvalidTopicException, error.to_string()))?;
    // As with records, that of metrics is for clients, too.
    if topic.is_internal() && topic.as_str() != METRICS_TOPIC {
        let reason = format!("topic '{topic}' is Lantern's own, which keeps it as it needs it");
        return Err(Refusal::new(ErrorCode::TopicAuthorizationFailed, reason));
    }
    let _one_at_a_time = call.shared.configuring.lock().await;
    let Some(info) = call.broker().topic(&topic) else {
        let reason = format!("topic '{topic}' does not exist");
        return Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, reason));
    };
    let config = change(&info.config)?;
    if !validate_only {
        call.broker().configure_topic(&topic, config).await?;
    }
    Ok(())
}

fn apply(
    config: &TopicConfig,
    changes: &[incremental_alter_configs_request::AlterableConfig],
) -> Result<TopicConfig, Refusal> {
    const SET: i8 = 0;
    const DELETE: i8 = 1;
    const APPEND: i8 = 2;
    const SUBTRACT: i8 = 3;

    let mut config = config.clone();
    let mut seen = BTreeSet::new();
    for change in changes {
        let name = &*change.name;
        if !seen.insert(name) {
            let reason = format!("{name} is named more than once");
            return Err(Refusal::new(ErrorCode::InvalidRequest, reason));
        }
        let value = change.value.as_deref();
        match (change.config_operation, value) {
            (DELETE, _) => config.set(name, None)?,
            (SET, Some(value)) => config.set(name, Some(value))?,
            (APPEND, Some(value)) => {
                let mut words = list(&config, name)?;
                for word in split(value) {
                    if !words.contains(&word) {
                        words.push(word);
                    }
                }
                config.set(name, Some(&words.join(",")))?;
            }
            (SUBTRACT, Some(value)) => {
                let gone = split(value);
                let mut words = list(&config, name)?;
                words.retain(|word| !gone.contains(word));
                config.set(name, Some(&words.join(",")))?;
            }
            (SET | APPEND | SUBTRACT, None) => {
                let reason = format!("the value of {name} is null");
                return Err(Refusal::new(ErrorCode::InvalidConfig, reason));
            }
            (other, _) => {
                let reason = format!("there is no configuration operation {other}");
                return Err(Refusal::new(ErrorCode::InvalidRequest, reason));
            }
        }
    }
    Ok(config)
}

/// The words of a key that has a list of them.
fn list(config: &TopicConfig, name: &str) -> Result<Vec<String>, Refusal> {
    let is_list = config_key(name).is_some_and(|key| matches!(key.kind, ConfigKind::Words(_)));
    if !is_list {
        let reason = format!("{name} is no list: nothing can be added to it or taken from it");
        return Err(Refusal::new(ErrorCode::InvalidConfig, reason));
    }
    let entry = config
        .entries()
        .into_iter()
        .find(|entry| entry.key.name == name);
    Ok(entry.map_or_else(Vec::new, |entry| split(&entry.value)))
}

fn split(words: &str) -> Vec<String> {
    let words = words.split(',').map(str::trim);
    words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use incremental_alter_configs_request::AlterableConfig;

    use super::*;

    fn change(name: &'static str, operation: i8, value: Option<&'static str>) -> AlterableConfig {
        AlterableConfig::default()
            .with_name(StrBytes::from_static_str(name))
            .with_config_operation(operation)
            .with_value(value.map(StrBytes::from_static_str))
    }

    fn value(config: &TopicConfig, name: &str) -> String {
        let mut entries = config.entries().into_iter();
        entries.find(|entry| entry.key.name == name).unwrap().value
    }

    #[test]
    fn keys_are_set_taken_back_added_to_and_taken_from() {
        let config = TopicConfig::default();
        let both = apply(
            &config,
            &[
                change("retention.ms", 0, Some("5")),
                change("cleanup.policy", 2, Some("compact")),
            ],
        );
        let both = both.unwrap_or_else(|refusal| panic!("{}", refusal.reason));
        assert_eq!(value(&both, "retention.ms"), "5");
        assert_eq!(value(&both, "cleanup.policy"), "delete,compact");
        let back = apply(
            &both,
            &[
                change("retention.ms", 1, None),
                change("cleanup.policy", 3, Some("compact")),
            ],
        );
        assert_eq!(
            back.unwrap_or_else(|refusal| panic!("{}", refusal.reason)),
            config
        );
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_code() {
        let code = |changes: &[AlterableConfig]| {
            apply(&TopicConfig::default(), changes)
                .err()
                .map(|refusal| refusal.code)
        };
        let set = |name, value| change(name, 0, value);
        assert_eq!(
            code(&[set("no.such.key", Some("1"))]),
            Some(ErrorCode::InvalidConfig)
        );
        assert_eq!(
            code(&[set("retention.ms", None)]),
            Some(ErrorCode::InvalidConfig)
        );
        assert_eq!(
            code(&[change("retention.ms", 2, Some("1"))]),
            Some(ErrorCode::InvalidConfig)
        );
        assert_eq!(
            code(&[change("retention.ms", 9, Some("1"))]),
            Some(ErrorCode::InvalidRequest)
        );
        let twice = [
            set("retention.ms", Some("1")),
            set("retention.ms", Some("2")),
        ];
        assert_eq!(code(&twice), Some(ErrorCode::InvalidRequest));
    }
}
