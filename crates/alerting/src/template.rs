//! Templates of labels and annotations: the part of Go's template language that Prometheus rules use.
//!
//! Parsed once, when the rule file is loaded; a misspelt variable or function is refused there.
//! `$labels`, `$value`, `$externalLabels` and `$externalURL` are there from the start, and `.` has
//! `.Labels`, `.Value`, `.ExternalLabels` and `.ExternalURL`.
//!
//! Invariants: expanding reads nothing but its [`Context`]; output and work are bounded.
//! Not here: `define`, `template`, `block`. Source: Go's `text/template`, Prometheus' `template`.

mod exec;
mod format;
mod functions;
mod lex;
mod parse;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;

use model::Timestamp;

pub(crate) use value::Value;

/// Variables every rule template has.
const VARIABLES: [&str; 4] = ["labels", "externalLabels", "externalURL", "value"];

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct ParseError {
    /// Byte in the template where the problem is.
    pub(crate) at: usize,
    /// What is wrong.
    pub(crate) reason: String,
}

impl ParseError {
    fn new(at: usize, reason: impl Into<String>) -> Self {
        Self {
            at,
            reason: reason.into(),
        }
    }
}

/// Why a template could not be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct ExecError {
    reason: String,
}

impl ExecError {
    fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

/// What `query` runs: an expression, to its results or the reason there are none.
pub(crate) type Query<'a> = &'a dyn Fn(&str) -> Result<Vec<Value>, String>;

/// What a template can see besides its data.
pub(crate) struct Context<'a> {
    /// Time of the evaluation.
    pub(crate) now: Timestamp,
    /// Where users reach Lantern, without a slash at the end.
    pub(crate) external_url: &'a str,
    /// Labels added to every alert that leaves.
    pub(crate) external_labels: Value,
    /// Runs the `query` function.
    pub(crate) query: Query<'a>,
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template {
    text: String,
    nodes: Option<Vec<parse::Node>>,
}

impl Template {
    /// Parses `text`.
    ///
    /// # Errors
    /// [`ParseError`] with the place in the text.
    pub(crate) fn parse(text: &str) -> Result<Self, ParseError> {
        let nodes = if text.contains("{{") {
            Some(parse::parse(text, &VARIABLES)?)
        } else {
            None
        };
        Ok(Self {
            text: text.to_owned(),
            nodes,
        })
    }

    /// A text without actions, whatever it looks like.
    pub(crate) fn literal(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            nodes: None,
        }
    }

    /// The text it was parsed from.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The text with its actions done, for a result with these `labels` and this `value`.
    ///
    /// # Errors
    /// [`ExecError`] when a function fails or a limit is reached.
    pub(crate) fn expand(
        &self,
        context: &Context<'_>,
        labels: &Value,
        value: f64,
    ) -> Result<String, ExecError> {
        let Some(nodes) = &self.nodes else {
            return Ok(self.text.clone());
        };
        let url = Value::text(context.external_url);
        let data = exec::rule_data([
            ("Labels", labels.clone()),
            ("ExternalLabels", context.external_labels.clone()),
            ("ExternalURL", url.clone()),
            ("Value", Value::Float(value)),
        ]);
        let variables = vec![
            ("$labels".to_owned(), labels.clone()),
            (
                "$externalLabels".to_owned(),
                context.external_labels.clone(),
            ),
            ("$externalURL".to_owned(), url),
            ("$value".to_owned(), Value::Float(value)),
        ];
        exec::Run::run(nodes, context, &data, variables)
    }
}
