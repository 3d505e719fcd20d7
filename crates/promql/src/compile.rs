//! From promql-parser's syntax tree to ours; whatever is not covered is refused here, by name.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use promql_parser::label as syntax_label;
use promql_parser::parser as syntax;
use promql_parser::parser::token;
use series::{LabelsBuilder, METRIC_NAME, MatchOp, Matcher};

use crate::Error;
use crate::functions::{Instant, Named, by_name};
use crate::scan::{self, DEPTH_MAX};
use crate::tree::{
    Aggregate, Aggregation, At, Binary, Call, Cardinality, Function, Grouping, Kind, LabelJoin,
    LabelReplace, Matching, Node, Operator, Plan, Selector, Subquery, When,
};

/// The stack that a text may need which the scan took for flat and the parser does not: each byte a level, in all of
/// [`scan::TEXT_BYTES_MAX`]. Memory is taken as it is used.
const STACK_BYTES: usize = 256 << 20;

pub(crate) fn compile(text: &str) -> Result<Plan, Error> {
    scan::check(text)?;
    compile_checked(text)
}

/// The parser's tree is walked and dropped by recursion, and an exhausted stack ends the process. The scan bounds the tree, but is a second reading
/// of what the parser reads: long texts, which alone could go so deep, are not staked on their agreement.
fn compile_checked(text: &str) -> Result<Plan, Error> {
    if text.len() <= scan::STRUCTURE_MAX {
        return compile_here(text);
    }
    let failed = || Error::Syntax {
        message: "there is no memory to read so long an expression".to_owned(),
    };
    thread::scope(|scope| {
        let reader = thread::Builder::new()
            .name("promql".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || compile_here(text))
            .map_err(|_| failed())?;
        reader.join().unwrap_or_else(|_| Err(failed()))
    })
}

fn compile_here(text: &str) -> Result<Plan, Error> {
    // The parser is a library, and anybody's text reaches it: should it panic, the text is refused.
    let parsed = std::panic::catch_unwind(|| syntax::parse(text))
        .unwrap_or_else(|_| Err("the parser failed on it".to_owned()))
        .map_err(|message| refine(text, message))?;
    let mut compiler = Compiler::default();
    let root = compiler.node(&parsed, 0)?;
    let kind = compiler.kind(&root);
    Ok(Plan {
        text: text.to_owned(),
        root,
        kind,
        selectors: compiler.selectors,
        subqueries: compiler.subqueries,
        caches: compiler.caches,
    })
}

/// Names what is known not to be covered, where the parser only says that it cannot read it.
fn refine(text: &str, message: String) -> Error {
    let has_word = |word: &str| {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .any(|w| w == word)
    };
    for (word, feature) in [
        ("anchored", "the modifier 'anchored'"),
        ("smoothed", "the modifier 'smoothed'"),
        ("info", "the function 'info'"),
    ] {
        if has_word(word) {
            return unsupported(feature);
        }
    }
    if let Some(operator) = ["</", ">/"]
        .into_iter()
        .find(|operator| text.contains(operator))
    {
        return unsupported(format!("the operator '{operator}'"));
    }
    if message.starts_with("unexpected character inside brackets") || has_computed_offset(text) {
        return unsupported("a computed duration");
    }
    let message = match scan::mistake(text) {
        Some(mistake) => mistake,
        // All the parser says of most of the others.
        None if message == "invalid promql query" => "this is not PromQL".to_owned(),
        None => message,
    };
    Error::Syntax { message }
}

/// Whether an `offset` is followed by an expression instead of a duration.
fn has_computed_offset(text: &str) -> bool {
    text.split("offset").skip(1).any(|rest| {
        let rest = rest.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '+' | '-'));
        let word = rest
            .split(|c: char| !c.is_ascii_alphabetic() && c != '_')
            .next();
        let word = word.unwrap_or_default().to_ascii_lowercase();
        rest.starts_with('(') || matches!(&*word, "step" | "range" | "min_of" | "max_of")
    })
}

fn unsupported(feature: impl Into<String>) -> Error {
    Error::Unsupported {
        feature: feature.into(),
    }
}

#[derive(Default)]
struct Compiler {
    selectors: Vec<Selector>,
    subqueries: usize,
    caches: usize,
}

impl Compiler {
    fn cache(&mut self) -> usize {
        self.caches += 1;
        self.caches - 1
    }

    fn node(&mut self, expr: &syntax::Expr, depth: usize) -> Result<Node, Error> {
        if depth > DEPTH_MAX {
            return Err(scan::too_deep());
        }
        let depth = depth + 1;
        Ok(match expr {
            syntax::Expr::NumberLiteral(number) => Node::Number(number.val),
            syntax::Expr::StringLiteral(text) => Node::Text(text.val.clone()),
            syntax::Expr::Paren(paren) => self.node(&paren.expr, depth)?,
            syntax::Expr::VectorSelector(selector) => self.selector(selector, None)?,
            syntax::Expr::MatrixSelector(matrix) => {
                self.selector(&matrix.vs, Some(millis(matrix.range)))?
            }
            syntax::Expr::Subquery(subquery) => self.subquery(subquery, depth)?,
            syntax::Expr::Unary(unary) => match self.node(&unary.expr, depth)? {
                Node::Number(number) => Node::Number(-number),
                expr => Node::Negate {
                    expr: Box::new(expr),
                    cache: self.cache(),
                },
            },
            syntax::Expr::Binary(binary) => self.binary(binary, depth)?,
            syntax::Expr::Aggregate(aggregate) => self.aggregate(aggregate, depth)?,
            syntax::Expr::Call(call) => self.call(call, depth)?,
            syntax::Expr::Extension(_) => return Err(unsupported("an extension")),
        })
    }

    fn selector(
        &mut self,
        selector: &syntax::VectorSelector,
        range: Option<i64>,
    ) -> Result<Node, Error> {
        if !selector.matchers.or_matchers.is_empty() {
            return Err(unsupported("'or' between label matchers"));
        }
        let mut matchers = Vec::new();
        if let Some(name) = &selector.name {
            matchers.push(Matcher::equal(METRIC_NAME, name));
        }
        for matcher in &selector.matchers.matchers {
            let op = match matcher.op {
                syntax_label::MatchOp::Equal => MatchOp::Equal,
                syntax_label::MatchOp::NotEqual => MatchOp::NotEqual,
                syntax_label::MatchOp::Re(_) => MatchOp::Regex,
                syntax_label::MatchOp::NotRe(_) => MatchOp::NotRegex,
            };
            let matcher = Matcher::new(op, &matcher.name, &matcher.value)?;
            if !matchers.contains(&matcher) {
                matchers.push(matcher);
            }
        }
        self.selectors.push(Selector {
            matchers,
            when: when(selector.at.as_ref(), selector.offset.as_ref()),
            range,
        });
        Ok(Node::Select(self.selectors.len() - 1))
    }

    fn subquery(&mut self, subquery: &syntax::SubqueryExpr, depth: usize) -> Result<Node, Error> {
        let expr = self.node(&subquery.expr, depth)?;
        self.subqueries += 1;
        Ok(Node::Subquery(Box::new(Subquery {
            expr,
            id: self.subqueries - 1,
            range: millis(subquery.range),
            step: subquery.step.map(millis).filter(|step| *step > 0),
            when: when(subquery.at.as_ref(), subquery.offset.as_ref()),
        })))
    }

    fn binary(&mut self, binary: &syntax::BinaryExpr, depth: usize) -> Result<Node, Error> {
        let op = operator(binary.op.id())
            .ok_or_else(|| unsupported(format!("the operator '{}'", binary.op)))?;
        let lhs = self.node(&binary.lhs, depth)?;
        let rhs = self.node(&binary.rhs, depth)?;
        let modifier = binary.modifier.as_ref();
        let (cardinality, include) = match modifier.map(|m| &m.card) {
            Some(syntax::VectorMatchCardinality::ManyToOne(labels)) => {
                (Cardinality::ManyToOne, labels.labels.clone())
            }
            Some(syntax::VectorMatchCardinality::OneToMany(labels)) => {
                (Cardinality::OneToMany, labels.labels.clone())
            }
            Some(
                syntax::VectorMatchCardinality::OneToOne
                | syntax::VectorMatchCardinality::ManyToMany,
            )
            | None => (Cardinality::OneToOne, Vec::new()),
        };
        Ok(Node::Binary(Box::new(Binary {
            op,
            lhs,
            rhs,
            return_bool: modifier.is_some_and(|m| m.return_bool),
            matching: Matching {
                grouping: grouping(modifier.and_then(|m| m.matching.as_ref()), false),
                cardinality,
                include,
                fill_left: modifier.and_then(|m| m.fill_values.lhs),
                fill_right: modifier.and_then(|m| m.fill_values.rhs),
            },
            signatures: self.cache(),
            results: self.cache(),
        })))
    }

    fn aggregate(
        &mut self,
        aggregate: &syntax::AggregateExpr,
        depth: usize,
    ) -> Result<Node, Error> {
        let op = aggregation(aggregate.op.id())
            .ok_or_else(|| unsupported(format!("the aggregation '{}'", aggregate.op)))?;
        let param = aggregate.param.as_ref();
        Ok(Node::Aggregate(Box::new(Aggregate {
            op,
            expr: self.node(&aggregate.expr, depth)?,
            param: param.map(|param| self.node(param, depth)).transpose()?,
            grouping: grouping(aggregate.modifier.as_ref(), true),
            cache: self.cache(),
        })))
    }

    fn call(&mut self, call: &syntax::Call, depth: usize) -> Result<Node, Error> {
        let name = call.func.name;
        let named = by_name(name).ok_or_else(|| unsupported(format!("the function '{name}'")))?;
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args.args {
            args.push(self.node(arg, depth)?);
        }
        let function = match named {
            Named::Math(math) => Function::Math(math),
            Named::Over(over) => Function::Over(over),
            Named::Instant(instant) => {
                // Only what stands between quotes is a label.
                let labels = match instant {
                    Instant::SortByLabel | Instant::SortByLabelDesc => &args[1..],
                    Instant::HistogramQuantiles => &args[1..2],
                    _ => &[],
                };
                texts(labels, name)?;
                Function::Instant(instant)
            }
            Named::Absent => Function::Absent(self.absent_labels(args.first())),
            Named::LabelReplace => Function::LabelReplace(Box::new(label_replace(&args)?)),
            Named::LabelJoin => Function::LabelJoin(Box::new(label_join(&args)?)),
        };
        Ok(Node::Call(Box::new(Call {
            function,
            args,
            cache: self.cache(),
        })))
    }

    /// The labels `absent` can tell from its selector: those with one `=` matcher and no other.
    fn absent_labels(&self, arg: Option<&Node>) -> series::Labels {
        let mut labels = LabelsBuilder::default();
        let Some(Node::Select(selector)) = arg else {
            return labels.build();
        };
        let matchers = &self.selectors[*selector].matchers;
        for matcher in matchers.iter().filter(|m| m.name() != METRIC_NAME) {
            let alone = matchers
                .iter()
                .filter(|m| m.name() == matcher.name())
                .count()
                == 1;
            if matcher.op() == MatchOp::Equal && alone {
                labels.set(matcher.name(), matcher.value());
            }
        }
        labels.build()
    }

    fn kind(&self, node: &Node) -> Kind {
        match node {
            Node::Number(_) => Kind::Scalar,
            Node::Text(_) => Kind::String,
            Node::Select(at) => match self.selectors[*at].range {
                Some(_) => Kind::Matrix,
                None => Kind::Vector,
            },
            Node::Subquery(_) => Kind::Matrix,
            Node::Negate { .. } | Node::Binary(_) | Node::Aggregate(_) | Node::Call(_) => {
                if is_scalar(node) {
                    Kind::Scalar
                } else {
                    Kind::Vector
                }
            }
        }
    }
}

/// Whether `node` gives one number without labels.
pub(crate) fn is_scalar(node: &Node) -> bool {
    match node {
        Node::Number(_) => true,
        Node::Text(_) | Node::Select(_) | Node::Subquery(_) | Node::Aggregate(_) => false,
        Node::Negate { expr, .. } => is_scalar(expr),
        Node::Binary(binary) => is_scalar(&binary.lhs) && is_scalar(&binary.rhs),
        Node::Call(call) => match call.function {
            Function::Instant(instant) => instant.is_scalar(),
            _ => false,
        },
    }
}

/// The texts of literal arguments.
fn texts(args: &[Node], function: &str) -> Result<Vec<String>, Error> {
    let text = |arg: &Node| match arg {
        Node::Text(text) => Ok(text.clone()),
        _ => Err(Error::Syntax {
            message: format!("{function}() wants text between quotes here"),
        }),
    };
    args.iter().map(text).collect()
}

fn label_replace(args: &[Node]) -> Result<LabelReplace, Error> {
    let texts = texts(&args[1..], "label_replace")?;
    let [target, replacement, source, pattern] = texts.as_slice() else {
        return Err(Error::Syntax {
            message: "label_replace() wants five arguments".to_owned(),
        });
    };
    if target.is_empty() {
        return Err(Error::Argument {
            message: format!("invalid destination label name in label_replace(): {target}"),
        });
    }
    let Ok(compiled) = series::anchored_pattern(pattern) else {
        return Err(Error::Argument {
            message: format!("invalid regular expression in label_replace(): {pattern}"),
        });
    };
    Ok(LabelReplace {
        target: target.clone(),
        replacement: replacement.clone(),
        source: source.clone(),
        pattern: compiled,
    })
}

fn label_join(args: &[Node]) -> Result<LabelJoin, Error> {
    let texts = texts(&args[1..], "label_join")?;
    let [target, separator, sources @ ..] = texts.as_slice() else {
        return Err(Error::Syntax {
            message: "label_join() wants at least three arguments".to_owned(),
        });
    };
    if target.is_empty() {
        return Err(Error::Argument {
            message: format!("invalid destination label name in label_join(): {target}"),
        });
    }
    if sources.iter().any(String::is_empty) {
        return Err(Error::Argument {
            message: "invalid source label name in label_join(): ".to_owned(),
        });
    }
    Ok(LabelJoin {
        target: target.clone(),
        separator: separator.clone(),
        sources: sources.to_vec(),
    })
}

fn grouping(modifier: Option<&syntax::LabelModifier>, aggregates: bool) -> Grouping {
    match modifier {
        Some(syntax::LabelModifier::Include(labels)) => Grouping {
            names: labels.labels.clone(),
            only: true,
        },
        Some(syntax::LabelModifier::Exclude(labels)) => Grouping {
            names: labels.labels.clone(),
            only: false,
        },
        // An aggregation without a modifier is one over everything: `by ()`.
        None => Grouping {
            names: Vec::new(),
            only: aggregates,
        },
    }
}

fn when(at: Option<&syntax::AtModifier>, offset: Option<&syntax::Offset>) -> When {
    When {
        at: at.map(|at| match at {
            syntax::AtModifier::Start => At::Start,
            syntax::AtModifier::End => At::End,
            syntax::AtModifier::At(time) => At::Millis(unix_millis(*time)),
        }),
        offset: match offset {
            Some(syntax::Offset::Pos(back)) => millis(*back),
            Some(syntax::Offset::Neg(ahead)) => -millis(*ahead),
            None => 0,
        },
    }
}

fn unix_millis(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => rounded_millis(since),
        Err(before) => -rounded_millis(before.duration()),
    }
}

fn rounded_millis(span: Duration) -> i64 {
    i64::try_from((span.as_micros() + 500) / 1_000).unwrap_or(i64::MAX)
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn operator(id: token::TokenId) -> Option<Operator> {
    Some(match id {
        token::T_ADD => Operator::Add,
        token::T_SUB => Operator::Sub,
        token::T_MUL => Operator::Mul,
        token::T_DIV => Operator::Div,
        token::T_MOD => Operator::Mod,
        token::T_POW => Operator::Pow,
        token::T_ATAN2 => Operator::Atan2,
        token::T_EQLC => Operator::Equal,
        token::T_NEQ => Operator::NotEqual,
        token::T_GTR => Operator::Greater,
        token::T_LSS => Operator::Less,
        token::T_GTE => Operator::GreaterEqual,
        token::T_LTE => Operator::LessEqual,
        token::T_LAND => Operator::And,
        token::T_LOR => Operator::Or,
        token::T_LUNLESS => Operator::Unless,
        _ => return None,
    })
}

fn aggregation(id: token::TokenId) -> Option<Aggregation> {
    Some(match id {
        token::T_SUM => Aggregation::Sum,
        token::T_AVG => Aggregation::Avg,
        token::T_MIN => Aggregation::Min,
        token::T_MAX => Aggregation::Max,
        token::T_COUNT => Aggregation::Count,
        token::T_GROUP => Aggregation::Group,
        token::T_STDDEV => Aggregation::Stddev,
        token::T_STDVAR => Aggregation::Stdvar,
        token::T_TOPK => Aggregation::Topk,
        token::T_BOTTOMK => Aggregation::Bottomk,
        token::T_LIMITK => Aggregation::Limitk,
        token::T_QUANTILE => Aggregation::Quantile,
        token::T_COUNT_VALUES => Aggregation::CountValues,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let error = compile(text).expect_err("refused");
        assert_eq!(error.to_string(), expected, "{text}");
    }

    #[test]
    fn what_is_not_covered_is_refused_by_name() {
        refused(
            "histogram_count(x)",
            "the function 'histogram_count' is not supported",
        );
        refused("info(x)", "the function 'info' is not supported");
        refused(
            "info(x, {data=~\".*\"})",
            "the function 'info' is not supported",
        );
        refused(
            "limit_ratio(0.5, x)",
            "the aggregation 'limit_ratio' is not supported",
        );
        refused("rate(x[5m * 2])", "a computed duration is not supported");
        refused("x offset step()", "a computed duration is not supported");
        refused("x </ 5", "the operator '</' is not supported");
        refused(
            "{a=\"1\" or a=\"2\"}",
            "'or' between label matchers is not supported",
        );
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = format!("{}1{}", "(".repeat(300), ")".repeat(300));
        assert!(compile(&deep).is_err());
        let quoted = format!(
            "label_replace(x, \"a\", \"{}\", \"b\", \"c\") # {}",
            "+".repeat(2_000),
            "(".repeat(2_000)
        );
        assert!(compile(&quoted).is_ok(), "texts and comments do not nest");
        for chain in [
            "-".repeat(60_000) + "x",
            "1+".repeat(30_000) + "x",
            "1^".repeat(30_000) + "x",
            "x or ".repeat(12_000) + "x",
            format!("x{}", "[1s:]".repeat(12_000)),
            "abs(".repeat(15_000),
            "{".repeat(60_000),
            "[".repeat(60_000),
            "-".repeat(999) + "x",
            "1+".repeat(999) + "x",
            "1^".repeat(999) + "x",
            format!("x{}", "[1s:]".repeat(999)),
            "(".repeat(999) + "x" + &")".repeat(999),
        ] {
            assert!(compile(&chain).is_err(), "{chain:.20}");
        }
    }

    #[test]
    fn what_the_scan_would_overlook_ends_no_process() {
        for deep in [
            "-".repeat(40_000) + "x",
            "1+".repeat(5_000) + "1",
            "(".repeat(5_000) + "x" + &")".repeat(10_000),
            "x or ".repeat(5_000) + "x",
        ] {
            assert!(compile_checked(&deep).is_err(), "{deep:.20}");
        }
    }

    #[test]
    fn selectors_are_told_with_their_names() {
        let plan = compile("sum(rate(x{job=~\"a|b\"}[5m])) / on () y offset 1h").unwrap();
        let told: Vec<String> = plan
            .selectors
            .iter()
            .map(|s| format!("{:?}", s.matchers))
            .collect();
        assert_eq!(told, [r#"[__name__="x", job=~"a|b"]"#, r#"[__name__="y"]"#]);
        assert_eq!(
            (plan.selectors[0].range, plan.selectors[1].when.offset),
            (Some(300_000), 3_600_000)
        );
    }
}
