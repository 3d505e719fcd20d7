//! Items, stats, and the parts every lane uses: queries, templates, spans, topics.

use std::collections::BTreeMap;
use std::time::Duration;

use model::TopicName;
use promql::ValueKind;
use serde_saphyr::Spanned;
use stdx::HumanDuration;

use super::Compiler;
use crate::limits;
use crate::plan::{CountPlan, Source, Threshold, Thresholds, ValuePlan};
use crate::schema;
use crate::template::Template;
use crate::text::Text;
use crate::unit::Unit;

/// The parts that items and stats share.
pub(super) struct RawValue {
    pub(super) label: Spanned<Text>,
    pub(super) query: Option<Spanned<String>>,
    pub(super) count: Option<Spanned<schema::Count>>,
    pub(super) unit: Unit,
    pub(super) levels: Option<Spanned<schema::Levels>>,
    pub(super) detail: Option<Spanned<String>>,
    pub(super) with: BTreeMap<String, Spanned<String>>,
}

impl Compiler<'_> {
    pub(super) fn value(&mut self, path: &str, raw: RawValue) -> usize {
        let cell = self.id();
        if raw.label.value.is_empty() {
            self.problem(
                &format!("{path}.label"),
                raw.label.referenced,
                "must not be empty",
            );
        }
        let source = match (raw.query, raw.count) {
            (Some(query), None) => Source::Query(self.query(&format!("{path}.query"), &query)),
            (None, Some(count)) => Source::Count(self.counting(&format!("{path}.count"), count)),
            (None, None) => {
                if raw.detail.is_none() {
                    self.problem(
                        path,
                        raw.label.referenced,
                        "has no query, no count and no detail: nothing to show",
                    );
                }
                if let Some(levels) = &raw.levels {
                    self.problem(
                        &format!("{path}.levels"),
                        levels.referenced,
                        "needs a query or a count to compare",
                    );
                }
                Source::None
            }
            (Some(_), Some(count)) => {
                self.problem(
                    &format!("{path}.count"),
                    count.referenced,
                    "cannot stand beside a query: a value has one source",
                );
                Source::None
            }
        };
        let mut with = Vec::new();
        for (name, query) in &raw.with {
            let path = format!("{path}.with.{name}");
            if name == "value" || name.starts_with("label.") {
                self.problem(
                    &path,
                    query.referenced,
                    format!("'{name}' is the name of something else"),
                );
            }
            with.push((name.clone(), self.query(&path, query)));
        }
        let known = |name: &str| {
            (name == "value" && source != Source::None)
                || (name.starts_with("label.") && matches!(source, Source::Query(_)))
                || raw.with.contains_key(name)
        };
        let detail = raw.detail.and_then(|detail| {
            self.template(
                &format!("{path}.detail"),
                &detail,
                known,
                "value, label.NAME or a name under with",
            )
        });
        let levels = raw
            .levels
            .map(|levels| self.levels(&format!("{path}.levels"), levels));
        self.values.push(ValuePlan {
            cell,
            label: raw.label.value,
            unit: raw.unit,
            source,
            levels,
            detail,
            with,
        });
        self.values.len() - 1
    }

    pub(super) fn levels(&mut self, path: &str, levels: Spanned<schema::Levels>) -> Thresholds {
        let schema::Levels {
            info,
            warning,
            critical,
        } = levels.value;
        if info.is_none() && warning.is_none() && critical.is_none() {
            self.problem(
                path,
                levels.referenced,
                "names no level: info, warning or critical",
            );
        }
        let mut threshold = |level: &str, text: Option<Spanned<String>>| {
            let text = text?;
            let parsed = Threshold::parse(&text.value);
            parsed
                .map_err(|reason| self.problem(&format!("{path}.{level}"), text.referenced, reason))
                .ok()
        };
        Thresholds {
            info: threshold("info", info),
            warning: threshold("warning", warning),
            critical: threshold("critical", critical),
        }
    }

    /// Parses a query, or finds that the board has it already.
    pub(super) fn query(&mut self, path: &str, query: &Spanned<String>) -> usize {
        let text = query.value.trim();
        if let Some(known) = self.query_of.get(text) {
            return *known;
        }
        let expr = match promql::parse(text) {
            Ok(expr) => expr,
            Err(error) => {
                self.problem(path, query.referenced, error.to_string());
                return 0;
            }
        };
        if !matches!(expr.kind(), ValueKind::Vector | ValueKind::Scalar) {
            self.problem(
                path,
                query.referenced,
                "gives no number: a board shows scalars and instant vectors",
            );
            return 0;
        }
        if self.queries.len() == limits::QUERIES_MAX {
            let reason = format!(
                "is one query too many: a board has at most {}",
                limits::QUERIES_MAX
            );
            self.problem(path, query.referenced, reason);
            return 0;
        }
        self.queries.push(expr);
        self.query_of
            .insert(text.to_owned(), self.queries.len() - 1);
        self.queries.len() - 1
    }

    pub(super) fn counting(&mut self, path: &str, count: Spanned<schema::Count>) -> usize {
        let schema::Count {
            topic,
            show,
            types,
            window,
        } = count.value;
        if show == schema::Show::Total {
            let reason =
                "only a rate can: the total of some types is a query over a meter's series";
            if !types.is_empty() {
                self.problem(&format!("{path}.types"), count.referenced, reason);
            }
            if let Some(window) = &window {
                self.problem(
                    &format!("{path}.window"),
                    window.referenced,
                    "only a rate has a window",
                );
            }
        }
        let topic = self.topic(&format!("{path}.topic"), &topic);
        let default = Duration::from_secs(5);
        let window = self.span(
            &format!("{path}.window"),
            window,
            default,
            limits::RATE_WINDOW,
        );
        self.counts.push(CountPlan {
            topic,
            show,
            types,
            window,
        });
        self.counts.len() - 1
    }

    pub(super) fn topic(&mut self, path: &str, topic: &Spanned<String>) -> TopicName {
        TopicName::new(&topic.value).unwrap_or_else(|error| {
            self.problem(path, topic.referenced, error.to_string());
            TopicName::new("invalid").expect("the word is a topic name")
        })
    }

    pub(super) fn span(
        &mut self,
        path: &str,
        span: Option<Spanned<HumanDuration>>,
        default: Duration,
        (least, most): (Duration, Duration),
    ) -> Duration {
        let Some(span) = span else { return default };
        let found = span.value.get();
        if found < least || found > most {
            let (least, most) = (HumanDuration::from(least), HumanDuration::from(most));
            let reason = format!("{} is not between {least} and {most}", span.value);
            self.problem(path, span.referenced, reason);
            return default;
        }
        found
    }

    pub(super) fn template(
        &mut self,
        path: &str,
        text: &Spanned<String>,
        known: impl Fn(&str) -> bool,
        names: &str,
    ) -> Option<Template> {
        let template = match Template::parse(&text.value) {
            Ok(template) => template,
            Err(reason) => {
                self.problem(path, text.referenced, reason);
                return None;
            }
        };
        let unknown = template
            .names()
            .find(|name| !known(name))
            .map(str::to_owned);
        if let Some(name) = unknown {
            let reason = format!("'{name}' is not known here: it can be {names}");
            self.problem(path, text.referenced, reason);
        }
        Some(template)
    }
}
