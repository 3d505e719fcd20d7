//! Rules and alerts as Prometheus' API shows them.

use std::sync::Arc;

use alerting::{Alert, GroupStatus, RuleKind, RuleStatus};
use axum::extract::State;
use serde::Serialize;

use crate::Parts;
use crate::error::{ApiError, ApiResult, Success};
use crate::params::Params;

#[derive(Debug, Serialize)]
pub(crate) struct Groups {
    groups: Vec<GroupStatus>,
}

/// `/api/v1/rules`, all or by `type`, `rule_name[]`, `rule_group[]` and `file[]`.
pub(crate) async fn rules(State(parts): State<Arc<Parts>>, params: Params) -> ApiResult<Groups> {
    let kind = match params.get("type") {
        None | Some("") => None,
        Some("alert") => Some(RuleKind::Alerting),
        Some("record") => Some(RuleKind::Recording),
        Some(other) => {
            let text = format!("type is '{other}', must be alert or record");
            return Err(ApiError::bad_data(text));
        }
    };
    let one_of = |name: &str, value: &str| {
        let mut wanted = params.all(name).peekable();
        wanted.peek().is_none() || wanted.any(|wanted| wanted == value)
    };
    let shown = |rule: &RuleStatus| {
        kind.is_none_or(|kind| rule.kind() == kind) && one_of("rule_name[]", rule.name())
    };
    let mut groups = Vec::new();
    for group in parts.alerting.rules() {
        if !one_of("rule_group[]", group.name()) || !one_of("file[]", group.file()) {
            continue;
        }
        let mut group = GroupStatus::clone(&group);
        let all = group.rules.len();
        group.rules.retain(shown);
        // A group of which the filter leaves nothing is not shown; an empty one is.
        if !group.rules.is_empty() || all == 0 {
            groups.push(group);
        }
    }
    Ok(Success::new(Groups { groups }))
}

#[derive(Debug, Serialize)]
pub(crate) struct Alerts {
    alerts: Vec<Alert>,
}

/// `/api/v1/alerts`.
pub(crate) async fn alerts(State(parts): State<Arc<Parts>>) -> ApiResult<Alerts> {
    let alerts = parts.alerting.alerts();
    Ok(Success::new(Alerts { alerts }))
}

#[derive(Debug, Serialize)]
pub(crate) struct Alertmanagers {
    #[serde(rename = "activeAlertmanagers")]
    active: Vec<String>,
    #[serde(rename = "droppedAlertmanagers")]
    dropped: Vec<String>,
}

/// `/api/v1/alertmanagers`: webhooks are told directly, so there are none.
pub(crate) async fn alertmanagers() -> ApiResult<Alertmanagers> {
    let (active, dropped) = (Vec::new(), Vec::new());
    Ok(Success::new(Alertmanagers { active, dropped }))
}
