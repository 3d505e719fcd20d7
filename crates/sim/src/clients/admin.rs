//! The one administrator: makes the topics of a run, and changes what may change.

use std::pin::Pin;
use std::time::Duration;

use broker::{Broker, Durability, Error, TopicConfig, TopicSpec};
use model::{Offset, TopicName};
use stdx::ByteSize;

use super::{Client, TOPICS, at, is_compacted, name};
use crate::life::Life;
use crate::reading::offset;
use crate::world::Mood;

fn config(mood: Mood, topic: &str, segment_bytes: u64) -> TopicConfig {
    let mut config = TopicConfig {
        segment_bytes: ByteSize::from_bytes(segment_bytes),
        ..TopicConfig::default()
    };
    if topic == "written" {
        config.durability = Durability::Written;
    }
    if matches!(topic, "short" | "cache") {
        config.retention_bytes = Some(ByteSize::from_kib(3));
    }
    if is_compacted(topic) {
        let policy = if topic == "cache" {
            "compact,delete"
        } else {
            "compact"
        };
        for (key, value) in [
            ("cleanup.policy", policy),
            ("min.cleanable.dirty.ratio", mood.dirty),
        ] {
            let set = config.set(key, Some(value));
            set.unwrap_or_else(|error| panic!("{key} of '{topic}': {error:?}"));
        }
        config.cleanup.delete_retention = mood.tombstones;
    }
    config
}

/// Creates the topics that are always there.
pub(crate) async fn found(life: &Life<'_>) {
    for (topic, partitions) in TOPICS.into_iter().chain([("grow", 1)]) {
        let topic_name = name(topic);
        let spec = TopicSpec {
            name: topic_name.clone(),
            partitions,
            config: config(life.world.mood, topic, 1_024),
        };
        let created = life.call(life.broker.create_topic(spec)).await;
        let info = created.unwrap_or_else(|error| panic!("creating '{topic}': {error:?}"));
        let mut oracle = life.world.oracle.borrow_mut();
        oracle.topics.settle(&topic_name, Some(info.id));
        oracle
            .topics
            .set_partitions(&topic_name, partitions..=partitions);
    }
}

#[derive(Debug, Default)]
pub(crate) struct Admin;

impl Admin {
    async fn turn(life: &Life<'_>) {
        match life.world.dice.below(10) {
            0..3 => Self::create_or_delete(life).await,
            3..5 => Self::grow(life).await,
            5..7 => Self::configure(life).await,
            _ => Self::trim(life).await,
        }
    }

    async fn create_or_delete(life: &Life<'_>) {
        let churn = name("churn");
        let known = {
            let mut oracle = life.world.oracle.borrow_mut();
            let known = oracle.topics.get(&churn);
            oracle.topics.change(&churn);
            known
        };
        let there = life.broker.topic(&churn).is_some();
        assert!(
            known.changing || there == known.id.is_some(),
            "'churn' is there: {there}, known is {known:?}"
        );
        if there {
            let deleted = life.call(life.broker.delete_topic(&churn)).await;
            life.note("admin", format_args!("deletes churn {}", shown(&deleted)));
            Self::settle(life, &churn, deleted.map(|()| None));
        } else {
            let spec = TopicSpec {
                name: churn.clone(),
                partitions: 1,
                config: config(life.world.mood, "churn", 1_024),
            };
            let created = life.call(life.broker.create_topic(spec)).await;
            life.note("admin", format_args!("creates churn {}", shown(&created)));
            Self::settle(life, &churn, created.map(|info| Some(info.id)));
        }
    }

    fn settle(life: &Life<'_>, topic: &TopicName, became: Result<Option<model::TopicId>, Error>) {
        match became {
            Ok(id) => {
                let mut oracle = life.world.oracle.borrow_mut();
                oracle.forget_topic(topic);
                oracle.topics.settle(topic, id);
            }
            // It may have happened all the same.
            Err(Error::TopicExists { .. } | Error::UnknownTopic { .. }) => (),
            Err(error) => life.refused(&error),
        }
    }

    async fn grow(life: &Life<'_>) {
        let grow = name("grow");
        let Some(info) = life.broker.topic(&grow) else {
            return;
        };
        if info.partitions >= 4 {
            return;
        }
        let (least, most) = (info.partitions, info.partitions + 1);
        life.world
            .oracle
            .borrow_mut()
            .topics
            .set_partitions(&grow, least..=most);
        let grown = life.call(life.broker.add_partitions(&grow, most)).await;
        life.note("admin", format_args!("grows to {most} {}", shown(&grown)));
        match grown {
            Ok(_) => {
                let mut oracle = life.world.oracle.borrow_mut();
                oracle.topics.set_partitions(&grow, most..=most);
            }
            Err(error) => life.refused(&error),
        }
    }

    async fn configure(life: &Life<'_>) {
        let topic = *life.world.dice.of(&["a", "short", "tx", "table", "cache"]);
        let bytes = *life.world.dice.of(&[1_024, 1_500, 4_096]);
        let config = config(life.world.mood, topic, bytes);
        let topic = name(topic);
        let configured = life.call(life.broker.configure_topic(&topic, config)).await;
        life.note(
            "admin",
            format_args!("segments of {topic} {bytes} {}", shown(&configured)),
        );
        if let Err(error) = configured {
            life.refused(&error);
        }
    }

    async fn trim(life: &Life<'_>) {
        let of = at("trim", 0);
        let Ok(marks) = life.call(life.broker.marks(&of)).await else {
            return;
        };
        let (start, end) = (offset(marks.log_start), offset(marks.high_watermark));
        let until = start + life.world.dice.below(end.saturating_sub(start) + 1);
        life.world.oracle.borrow_mut().log(&of).ask_start(until);
        let deleted = life
            .call(life.broker.delete_records(&of, Offset::new(until).into()))
            .await;
        life.note(
            "admin",
            format_args!("deletes before {until} {}", shown(&deleted)),
        );
        match deleted {
            Ok(start) => {
                let mut oracle = life.world.oracle.borrow_mut();
                oracle.log(&of).started(&of, until, offset(start));
            }
            Err(error) => life.refused(&error),
        }
    }
}

fn shown<T>(answer: &Result<T, Error>) -> String {
    match answer {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string(),
    }
}

impl Client for Admin {
    fn live<'a>(&'a mut self, life: &'a Life<'_>) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                life.pause(400).await;
                Self::turn(life).await;
            }
        })
    }
}
