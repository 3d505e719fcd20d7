//! What a display must know before the first frame: the plan as JSON.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::channel::Layout;
use crate::plan::{ChartPlan, LaneContent, LanePlan, Lines, MarqueeItem, Plan};

/// The control message that announces `plan`.
pub(crate) fn layout(plan: &Plan, generation: u32) -> Layout {
    let message = json!({ "type": "layout", "generation": generation, "board": board(plan) });
    Layout {
        generation,
        message: Bytes::from(message.to_string()),
    }
}

fn board(plan: &Plan) -> Value {
    json!({
        "name": plan.name,
        "title": plan.title,
        "beat_hz": plan.beat.hertz(),
        "theme": plan.theme,
        "lanes": plan.lanes.iter().map(|it| lane(plan, it)).collect::<Vec<_>>(),
    })
}

fn lane(plan: &Plan, lane: &LanePlan) -> Value {
    let (kind, key, content) = match &lane.content {
        LaneContent::Marquee { items, .. } => (
            "marquee",
            "items",
            items.iter().map(|it| item(plan, it)).collect(),
        ),
        LaneContent::Charts(charts) => (
            "charts",
            "charts",
            charts.iter().map(|at| chart(&plan.charts[*at])).collect(),
        ),
        LaneContent::Stats(stats) => (
            "stats",
            "stats",
            stats.iter().map(|at| stat(plan, *at)).collect(),
        ),
        LaneContent::Alerts(at) => ("alerts", "cell", json!(plan.alerts[*at].cell)),
        LaneContent::Ticker(at) => ("ticker", "cell", json!(plan.tickers[*at].cell)),
        LaneContent::Table(at) => ("table", "cell", json!(plan.tables[*at].cell)),
    };
    let mut value = json!({ "id": lane.id, "kind": kind, "title": lane.title, key: content });
    match &lane.content {
        LaneContent::Marquee { visible, .. } => value["visible"] = json!(visible),
        LaneContent::Ticker(at) => value["rows"] = json!(plan.tickers[*at].rows),
        LaneContent::Table(at) => {
            let table = &plan.tables[*at];
            value["label"] = json!(table.label);
            let columns = table.columns.iter();
            let columns = columns.map(|it| json!({ "label": it.label, "unit": it.unit }));
            value["columns"] = columns.collect();
        }
        LaneContent::Charts(_) | LaneContent::Stats(_) | LaneContent::Alerts(_) => (),
    }
    value
}

fn item(plan: &Plan, item: &MarqueeItem) -> Value {
    let value = &plan.values[item.value];
    json!({
        "id": item.id,
        "cell": value.cell,
        "label": value.label,
        "unit": value.unit,
        "priority": item.entry.priority,
        "interval_ms": u64::try_from(item.entry.interval.as_millis()).unwrap_or(u64::MAX),
    })
}

fn stat(plan: &Plan, at: usize) -> Value {
    let value = &plan.values[at];
    json!({ "cell": value.cell, "label": value.label, "unit": value.unit })
}

fn chart(chart: &ChartPlan) -> Value {
    let series: Vec<Value> = match &chart.lines {
        Lines::Dynamic { .. } | Lines::Delays { .. } => Vec::new(),
        Lines::Fixed(lines) => lines
            .iter()
            .map(|line| json!({ "cell": line.cell, "label": line.label }))
            .collect(),
    };
    let mut value = json!({
        "id": chart.id,
        "title": chart.title,
        "unit": chart.unit,
        "window_ms": u64::try_from(chart.window.as_millis()).unwrap_or(u64::MAX),
        "stack": chart.stack,
        "series": series,
        "dynamic": chart.lines.come_and_go(),
    });
    if let Some(steps) = &chart.steps {
        value["draw"] = json!("heatmap");
        value["steps"] = json!(steps);
        value["step_ms"] = json!(u64::try_from(chart.step.as_millis()).unwrap_or(u64::MAX));
    }
    for (key, bound) in [("min", chart.min), ("max", chart.max)] {
        if let Some(bound) = bound {
            value[key] = json!(bound);
        }
    }
    value
}
