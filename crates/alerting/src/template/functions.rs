//! The functions a template can call: Go's own and those Prometheus adds.
//!
//! Invariants: no function reads a clock or the network; `query` goes through the [`Context`].
//! Not here: `call`, `tmpl` and HTML escaping, which text templates of rules have no use for.
//! Source: Go's `text/template`, Prometheus' `template/template.go`.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::sync::Arc;

use regex::Regex;

use super::{Context, ExecError, Value, format};

/// Most results of one `query` inside a template.
const QUERY_RESULTS_MAX: usize = 10_000;

macro_rules! functions {
    ($($variant:ident $name:literal $least:literal $most:literal,)*) => {
        /// A function by name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Function { $($variant,)* }

        impl Function {
            /// The function with this name, if there is one.
            pub(super) fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Fewest and most arguments.
            const fn arity(self) -> (usize, usize) {
                match self { $(Self::$variant => ($least, $most),)* }
            }
        }
    };
}

functions! {
    And "and" 1 99,
    Or "or" 1 99,
    Not "not" 1 1,
    Eq "eq" 2 99,
    Ne "ne" 2 2,
    Lt "lt" 2 2,
    Le "le" 2 2,
    Gt "gt" 2 2,
    Ge "ge" 2 2,
    Len "len" 1 1,
    Index "index" 1 99,
    Slice "slice" 1 3,
    Print "print" 0 99,
    Printf "printf" 1 99,
    Println "println" 0 99,
    Html "html" 0 99,
    Js "js" 0 99,
    UrlQuery "urlquery" 0 99,
    Query "query" 1 1,
    First "first" 1 1,
    Label "label" 2 2,
    ValueOf "value" 1 1,
    StrValue "strvalue" 1 1,
    SortByLabel "sortByLabel" 2 2,
    Args "args" 0 99,
    ReReplaceAll "reReplaceAll" 3 3,
    SafeHtml "safeHtml" 1 1,
    Match "match" 2 2,
    Title "title" 1 1,
    ToUpper "toUpper" 1 1,
    ToLower "toLower" 1 1,
    Join "join" 2 2,
    GraphLink "graphLink" 1 1,
    TableLink "tableLink" 1 1,
    StripPort "stripPort" 1 1,
    StripDomain "stripDomain" 1 1,
    UrlQueryEscape "urlQueryEscape" 1 1,
    Humanize "humanize" 1 1,
    Humanize1024 "humanize1024" 1 1,
    HumanizeDuration "humanizeDuration" 1 1,
    HumanizePercentage "humanizePercentage" 1 1,
    HumanizeTimestamp "humanizeTimestamp" 1 1,
    ToTime "toTime" 1 1,
    ToDuration "toDuration" 1 1,
    Now "now" 0 0,
    ParseDuration "parseDuration" 1 1,
    PathPrefix "pathPrefix" 0 0,
    ExternalUrl "externalURL" 0 0,
}

/// Calls `function`.
pub(super) fn call(
    function: Function,
    arguments: &[Value],
    context: &Context<'_>,
) -> Result<Value, ExecError> {
    let (least, most) = function.arity();
    if arguments.len() < least || arguments.len() > most {
        return Err(ExecError::new(format!(
            "wrong number of arguments for {}: {}",
            function.name(),
            arguments.len()
        )));
    }
    run(function, arguments, context)
        .map_err(|error| ExecError::new(format!("error calling {}: {error}", function.name())))
}

fn run(function: Function, arguments: &[Value], context: &Context<'_>) -> Result<Value, ExecError> {
    let float = |at: usize| number(&arguments[at]);
    let string = |at: usize| text(&arguments[at]);
    Ok(match function {
        Function::And | Function::Or => arguments.last().cloned().unwrap_or(Value::Nil),
        Function::Not => Value::Bool(!arguments[0].is_true()),
        Function::Eq => {
            let mut equal = false;
            for other in &arguments[1..] {
                equal |= compare(&arguments[0], other)? == Some(Ordering::Equal);
            }
            Value::Bool(equal)
        }
        Function::Ne => {
            Value::Bool(compare(&arguments[0], &arguments[1])? != Some(Ordering::Equal))
        }
        Function::Lt => ordered(arguments, |order| order == Ordering::Less)?,
        Function::Le => ordered(arguments, |order| order != Ordering::Greater)?,
        Function::Gt => ordered(arguments, |order| order == Ordering::Greater)?,
        Function::Ge => ordered(arguments, |order| order != Ordering::Less)?,
        Function::Len => length(&arguments[0])?,
        Function::Index => index(arguments)?,
        Function::Slice => slice(arguments)?,
        Function::Print => Value::text(print(arguments)),
        Function::Println => {
            let words: Vec<String> = arguments.iter().map(Value::printed).collect();
            Value::text(format!("{}\n", words.join(" ")))
        }
        Function::Printf => Value::text(format::printf(string(0)?, &arguments[1..])),
        Function::Html => Value::text(escape_html(&print(arguments))),
        Function::Js => Value::text(escape_js(&print(arguments))),
        Function::UrlQuery => Value::text(escape_query(&print(arguments))),
        Function::UrlQueryEscape => Value::text(escape_query(string(0)?)),
        Function::Query => {
            let results = (context.query)(string(0)?).map_err(ExecError::new)?;
            if results.len() > QUERY_RESULTS_MAX {
                return Err(ExecError::new(format!(
                    "more than {QUERY_RESULTS_MAX} results"
                )));
            }
            Value::List(results.into())
        }
        Function::First => match list(&arguments[0])?.first() {
            Some(first) => first.clone(),
            None => return Err(ExecError::new("first() called on vector with no elements")),
        },
        Function::Label => label(string(0)?, &arguments[1])?,
        Function::ValueOf => field(&arguments[0], "Value")?,
        Function::StrValue => label("__value__", &arguments[0])?,
        Function::SortByLabel => {
            let name = string(0)?;
            let mut samples = list(&arguments[1])?.to_vec();
            samples.sort_by_cached_key(|sample| {
                label(name, sample).map_or_else(|_| String::new(), |value| value.printed())
            });
            Value::List(samples.into())
        }
        Function::Args => {
            let named = arguments.iter().enumerate();
            Value::Map(Arc::new(
                named
                    .map(|(at, value)| (format!("arg{at}"), value.clone()))
                    .collect(),
            ))
        }
        Function::ReReplaceAll => Value::text(
            pattern(string(0)?)?
                .replace_all(string(2)?, string(1)?)
                .into_owned(),
        ),
        Function::Match => Value::Bool(pattern(string(0)?)?.is_match(string(1)?)),
        Function::SafeHtml => Value::text(string(0)?),
        Function::Title => Value::text(title(string(0)?)),
        Function::ToUpper => Value::text(string(0)?.to_uppercase()),
        Function::ToLower => Value::text(string(0)?.to_lowercase()),
        Function::Join => {
            let words: Vec<String> = list(&arguments[1])?.iter().map(Value::printed).collect();
            Value::text(words.join(string(0)?))
        }
        Function::GraphLink => Value::text(graph_link(string(0)?, "0")),
        Function::TableLink => Value::text(graph_link(string(0)?, "1")),
        Function::StripPort => Value::text(strip_port(string(0)?)),
        Function::StripDomain => Value::text(strip_domain(string(0)?)),
        Function::Humanize => Value::text(format::humanize(float(0)?)),
        Function::Humanize1024 => Value::text(format::humanize_1024(float(0)?)),
        Function::HumanizeDuration => Value::text(format::humanize_duration(float(0)?)),
        Function::HumanizePercentage => Value::text(format::humanize_percentage(float(0)?)),
        Function::HumanizeTimestamp => Value::text(format::time(float(0)?)),
        Function::ToTime => Value::Time(float(0)?),
        Function::ToDuration => Value::Span(float(0)?),
        Function::Now => Value::Float(context.now.seconds()),
        Function::ParseDuration => match string(0)?.parse::<stdx::HumanDuration>() {
            Ok(span) => Value::Float(span.get().as_secs_f64()),
            Err(error) => return Err(ExecError::new(error.to_string())),
        },
        Function::PathPrefix => Value::text(path_of(context.external_url)),
        Function::ExternalUrl => Value::text(context.external_url),
    })
}

fn number(value: &Value) -> Result<f64, ExecError> {
    match value {
        Value::Float(value) | Value::Span(value) | Value::Time(value) => Ok(*value),
        Value::Int(value) => Ok(*value as f64),
        Value::Str(text) => text
            .parse()
            .map_err(|_| ExecError::new(format!("{} is not a number", format::quote(text)))),
        other => Err(ExecError::new(format!(
            "can't convert {} to float",
            other.kind()
        ))),
    }
}

fn text(value: &Value) -> Result<&str, ExecError> {
    match value {
        Value::Str(text) => Ok(text),
        other => Err(ExecError::new(format!(
            "expected string, found {}",
            other.kind()
        ))),
    }
}

fn list(value: &Value) -> Result<&[Value], ExecError> {
    match value {
        Value::List(values) => Ok(values),
        other => Err(ExecError::new(format!(
            "expected list, found {}",
            other.kind()
        ))),
    }
}

fn field(value: &Value, name: &str) -> Result<Value, ExecError> {
    match value {
        Value::Record(fields) => fields
            .get(name)
            .cloned()
            .ok_or_else(|| ExecError::new(format!("there is no field .{name}"))),
        other => Err(ExecError::new(format!(
            "expected sample, found {}",
            other.kind()
        ))),
    }
}

fn label(name: &str, sample: &Value) -> Result<Value, ExecError> {
    match field(sample, "Labels")? {
        Value::Map(labels) => Ok(labels.get(name).cloned().unwrap_or_else(|| Value::text(""))),
        other => Err(ExecError::new(format!(
            "expected labels, found {}",
            other.kind()
        ))),
    }
}

/// `None` when one of them is not a number (NaN).
fn compare(left: &Value, right: &Value) -> Result<Option<Ordering>, ExecError> {
    Ok(match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Str(left), Value::Str(right)) => Some(left.cmp(right)),
        (Value::Nil, Value::Nil) => Some(Ordering::Equal),
        (
            Value::Int(_) | Value::Float(_) | Value::Span(_) | Value::Time(_),
            Value::Int(_) | Value::Float(_) | Value::Span(_) | Value::Time(_),
        ) => number(left)?.partial_cmp(&number(right)?),
        _ => return Err(ExecError::new("incompatible types for comparison")),
    })
}

fn ordered(arguments: &[Value], holds: fn(Ordering) -> bool) -> Result<Value, ExecError> {
    Ok(Value::Bool(
        compare(&arguments[0], &arguments[1])?.is_some_and(holds),
    ))
}

fn length(value: &Value) -> Result<Value, ExecError> {
    let length = match value {
        Value::Str(text) => text.len(),
        Value::List(values) => values.len(),
        Value::Map(values) => values.len(),
        other => return Err(ExecError::new(format!("len of type {}", other.kind()))),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

fn index(arguments: &[Value]) -> Result<Value, ExecError> {
    let mut value = arguments[0].clone();
    for key in &arguments[1..] {
        value = match (&value, key) {
            (Value::Map(map), Value::Str(name)) => {
                map.get(&**name).cloned().unwrap_or_else(|| Value::text(""))
            }
            (Value::List(values), Value::Int(at)) => usize::try_from(*at)
                .ok()
                .and_then(|at| values.get(at).cloned())
                .ok_or_else(|| ExecError::new(format!("index out of range: {at}")))?,
            (value, key) => {
                return Err(ExecError::new(format!(
                    "cannot index {} with {}",
                    value.kind(),
                    key.kind()
                )));
            }
        };
    }
    Ok(value)
}

fn slice(arguments: &[Value]) -> Result<Value, ExecError> {
    let end = match length(&arguments[0])? {
        Value::Int(length) => usize::try_from(length).unwrap_or(0),
        _ => 0,
    };
    let bound = |at: usize, otherwise: usize| match arguments.get(at) {
        None => Ok(otherwise),
        Some(Value::Int(bound)) => usize::try_from(*bound)
            .ok()
            .filter(|bound| *bound <= end)
            .ok_or_else(|| ExecError::new(format!("index out of range: {bound}"))),
        Some(other) => Err(ExecError::new(format!(
            "cannot index with {}",
            other.kind()
        ))),
    };
    let (from, to) = (bound(1, 0)?, bound(2, end)?);
    if from > to {
        return Err(ExecError::new(format!(
            "invalid slice index: {from} > {to}"
        )));
    }
    match &arguments[0] {
        Value::Str(text) => text
            .get(from..to)
            .map(Value::text)
            .ok_or_else(|| ExecError::new("slice cuts a character")),
        Value::List(values) => Ok(Value::List(values[from..to].into())),
        other => Err(ExecError::new(format!("cannot slice a {}", other.kind()))),
    }
}

/// Go's `Sprint`: a space between two operands when neither is text.
fn print(arguments: &[Value]) -> String {
    let mut out = String::new();
    let mut spaced = false;
    for value in arguments {
        let is_text = matches!(value, Value::Str(_));
        if spaced && !is_text {
            out.push(' ');
        }
        value.print(&mut out);
        spaced = !is_text;
    }
    out
}

fn pattern(text: &str) -> Result<Regex, ExecError> {
    regex::RegexBuilder::new(text)
        .size_limit(1 << 20)
        .build()
        .map_err(|_| {
            ExecError::new(format!(
                "{} is not a regular expression",
                format::quote(text)
            ))
        })
}

fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut starts = true;
    for c in text.chars() {
        if starts {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        starts = !(c.is_alphanumeric() || matches!(c, '_' | '\''));
    }
    out
}

fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

fn escape_js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' => drop(write!(out, "\\u{:04X}", u32::from(c))),
            c if c < ' ' => drop(write!(out, "\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// Text as a value in the query of a URL (Go's `url.QueryEscape`).
pub(crate) fn escape_query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            byte => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

/// The path under which an expression can be looked at, as Prometheus has it.
fn graph_link(expression: &str, tab: &str) -> String {
    format!("/graph?g0.expr={}&g0.tab={tab}", escape_query(expression))
}

fn strip_port(address: &str) -> &str {
    if let Some(inside) = address.strip_prefix('[') {
        return inside.split_once(']').map_or(address, |(host, _)| host);
    }
    match address.split_once(':') {
        Some((host, port)) if !port.contains(':') => host,
        _ => address,
    }
}

fn strip_domain(address: &str) -> String {
    let host = strip_port(address);
    let port = address.strip_prefix(host).unwrap_or("");
    if host.parse::<std::net::IpAddr>().is_ok() {
        return address.to_owned();
    }
    format!("{}{port}", host.split('.').next().unwrap_or(host))
}

fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("", |at| &rest[at..])
}
