//! A board as its YAML says it, before anything is checked beyond types.
//!
//! Values that a later check may refuse carry their place in the file. The reference for people is
//! `docs/operate/boards.md`. Not here: defaults, limits and meaning (`compile`).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;
use stdx::HumanDuration;

use crate::text::Text;
use crate::unit::Unit;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Resource {
    pub(crate) api_version: Spanned<String>,
    pub(crate) kind: Spanned<String>,
    pub(crate) metadata: Metadata,
    pub(crate) spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Metadata {
    pub(crate) name: Spanned<String>,
    #[serde(default, rename = "labels")]
    pub(crate) _labels: BTreeMap<String, String>,
    #[serde(default, rename = "annotations")]
    pub(crate) _annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spec {
    pub(crate) title: Option<Text>,
    pub(crate) beat: Option<Spanned<u32>>,
    #[serde(default)]
    pub(crate) theme: Theme,
    pub(crate) lanes: Spanned<Vec<Lane>>,
}

/// Colours of a board page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Theme {
    #[default]
    Auto,
    Light,
    Dark,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Lane {
    Marquee(Marquee),
    Charts(Charts),
    Stats(Stats),
    Alerts(Alerts),
    Ticker(Box<Ticker>),
    Table(Table),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Marquee {
    pub(crate) title: Option<Text>,
    pub(crate) visible: Option<Spanned<u32>>,
    pub(crate) items: Spanned<Vec<Item>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Item {
    pub(crate) name: Option<Spanned<String>>,
    pub(crate) label: Spanned<Text>,
    pub(crate) query: Option<Spanned<String>>,
    pub(crate) count: Option<Spanned<Count>>,
    #[serde(default)]
    pub(crate) unit: Unit,
    pub(crate) levels: Option<Spanned<Levels>>,
    pub(crate) detail: Option<Spanned<String>>,
    #[serde(default, rename = "with")]
    pub(crate) with: BTreeMap<String, Spanned<String>>,
    pub(crate) interval: Option<Spanned<HumanDuration>>,
    pub(crate) priority: Option<Spanned<u8>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stats {
    pub(crate) title: Option<Text>,
    pub(crate) stats: Spanned<Vec<Stat>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stat {
    pub(crate) label: Spanned<Text>,
    pub(crate) query: Option<Spanned<String>>,
    pub(crate) count: Option<Spanned<Count>>,
    #[serde(default)]
    pub(crate) unit: Unit,
    pub(crate) levels: Option<Spanned<Levels>>,
    pub(crate) detail: Option<Spanned<String>>,
    #[serde(default, rename = "with")]
    pub(crate) with: BTreeMap<String, Spanned<String>>,
}

/// Comparisons, the most severe that holds wins; `healthy` when none does.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Levels {
    pub(crate) info: Option<Spanned<String>>,
    pub(crate) warning: Option<Spanned<String>>,
    pub(crate) critical: Option<Spanned<String>>,
}

/// Events counted as they arrive in a topic.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Count {
    pub(crate) topic: Spanned<String>,
    #[serde(default)]
    pub(crate) show: Show,
    #[serde(default)]
    pub(crate) types: Vec<String>,
    pub(crate) window: Option<Spanned<HumanDuration>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Show {
    #[default]
    Total,
    Rate,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Charts {
    pub(crate) title: Option<Text>,
    pub(crate) charts: Spanned<Vec<Chart>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chart {
    pub(crate) title: Spanned<Text>,
    #[serde(default)]
    pub(crate) unit: Unit,
    pub(crate) window: Option<Spanned<HumanDuration>>,
    pub(crate) step: Option<Spanned<HumanDuration>>,
    #[serde(default)]
    pub(crate) stack: bool,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<Spanned<f64>>,
    pub(crate) query: Option<Spanned<String>>,
    pub(crate) legend: Option<Spanned<String>>,
    pub(crate) limit: Option<Spanned<u32>>,
    #[serde(default)]
    pub(crate) series: Vec<Series>,
    #[serde(default)]
    pub(crate) draw: Draw,
    pub(crate) delays: Option<Spanned<DelaySource>>,
    pub(crate) steps: Option<Spanned<Vec<f64>>>,
}

/// How a chart shows its series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Draw {
    /// A line each.
    #[default]
    Lines,
    /// A row each, coloured by value.
    Heatmap,
}

/// How late consumer groups are, by group and partition.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DelaySource {
    pub(crate) group: Option<Spanned<String>>,
    pub(crate) topic: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    pub(crate) title: Option<Text>,
    pub(crate) by: Spanned<Vec<String>>,
    pub(crate) label: Spanned<Text>,
    pub(crate) rows: Option<Spanned<u32>>,
    pub(crate) columns: Spanned<Vec<Column>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Column {
    pub(crate) label: Spanned<Text>,
    pub(crate) query: Spanned<String>,
    #[serde(default)]
    pub(crate) unit: Unit,
    pub(crate) levels: Option<Spanned<Levels>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Series {
    pub(crate) label: Text,
    pub(crate) query: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Alerts {
    pub(crate) title: Option<Text>,
    #[serde(default, rename = "match")]
    pub(crate) only: BTreeMap<String, String>,
    pub(crate) resolved: Option<Spanned<HumanDuration>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ticker {
    pub(crate) title: Option<Text>,
    pub(crate) topic: Spanned<String>,
    pub(crate) rows: Option<Spanned<u32>>,
    #[serde(default)]
    pub(crate) types: Vec<String>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<Spanned<String>>,
    pub(crate) subject: Option<Spanned<String>>,
    pub(crate) text: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) levels: BTreeMap<String, Spanned<String>>,
}
