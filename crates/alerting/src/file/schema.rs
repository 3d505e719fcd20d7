//! A rule file as its YAML says it. Values a later check may refuse carry their place.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;
use stdx::HumanDuration;

pub(super) type Pairs = BTreeMap<String, Spanned<String>>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    pub(super) name: Spanned<String>,
    pub(super) interval: Option<Spanned<HumanDuration>>,
    #[serde(default)]
    pub(super) limit: usize,
    pub(super) query_offset: Option<HumanDuration>,
    #[serde(default)]
    pub(super) labels: Pairs,
    pub(super) early_evaluation: Option<bool>,
    #[serde(default)]
    pub(super) rules: Vec<Spanned<Rule>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) record: Option<Spanned<String>>,
    pub(super) alert: Option<Spanned<String>>,
    pub(super) expr: Option<Spanned<String>>,
    #[serde(rename = "for")]
    pub(super) wait: Option<Spanned<HumanDuration>>,
    pub(super) keep_firing_for: Option<Spanned<HumanDuration>>,
    #[serde(default)]
    pub(super) labels: Pairs,
    #[serde(default)]
    pub(super) annotations: Pairs,
}
