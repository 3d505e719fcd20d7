//! An expression as the evaluator walks it: typed, checked, with selectors and caches numbered.
//!
//! Not here: syntax (`compile` makes the tree out of promql-parser's).

use series::Matcher;

use crate::functions::{Instant, Math, Over};

/// When a selector or subquery looks, relative to the evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct When {
    pub(crate) at: Option<At>,
    /// Milliseconds back; negative looks ahead.
    pub(crate) offset: i64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum At {
    Start,
    End,
    Millis(i64),
}

#[derive(Debug, Clone)]
pub(crate) struct Selector {
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) when: When,
    /// Milliseconds of a range selector; `None` for an instant one.
    pub(crate) range: Option<i64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Subquery {
    pub(crate) expr: Node,
    /// Number of the subquery in its expression.
    pub(crate) id: usize,
    pub(crate) range: i64,
    /// `None`: the default step.
    pub(crate) step: Option<i64>,
    pub(crate) when: When,
}

/// What an expression gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Scalar,
    Vector,
    Matrix,
    String,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
            Self::String => "string",
        }
    }
}

/// One node. `cache` numbers the label cache a node that changes labels keeps.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Number(f64),
    Text(String),
    /// An instant or a range selector, by number.
    Select(usize),
    Subquery(Box<Subquery>),
    Negate {
        expr: Box<Node>,
        cache: usize,
    },
    Binary(Box<Binary>),
    Aggregate(Box<Aggregate>),
    Call(Box<Call>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    And,
    Or,
    Unless,
}

impl Operator {
    pub(crate) const fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::NotEqual
                | Self::Greater
                | Self::Less
                | Self::GreaterEqual
                | Self::LessEqual
        )
    }

    pub(crate) const fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Binary {
    pub(crate) op: Operator,
    pub(crate) lhs: Node,
    pub(crate) rhs: Node,
    pub(crate) return_bool: bool,
    pub(crate) matching: Matching,
    /// Signatures of both sides.
    pub(crate) signatures: usize,
    /// Labels of results.
    pub(crate) results: usize,
}

/// Labels named by `on`, `by`, `ignoring` or `without`.
#[derive(Debug, Clone)]
pub(crate) struct Grouping {
    pub(crate) names: Vec<String>,
    /// `on` and `by`; else `ignoring` and `without`.
    pub(crate) only: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cardinality {
    OneToOne,
    ManyToOne,
    OneToMany,
}

#[derive(Debug, Clone)]
pub(crate) struct Matching {
    pub(crate) grouping: Grouping,
    pub(crate) cardinality: Cardinality,
    /// Labels taken over from the "one" side.
    pub(crate) include: Vec<String>,
    /// The value of a left side that is not there.
    pub(crate) fill_left: Option<f64>,
    /// The value of a right side that is not there.
    pub(crate) fill_right: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aggregation {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    Limitk,
    Quantile,
    CountValues,
}

#[derive(Debug, Clone)]
pub(crate) struct Aggregate {
    pub(crate) op: Aggregation,
    pub(crate) expr: Node,
    pub(crate) param: Option<Node>,
    pub(crate) grouping: Grouping,
    pub(crate) cache: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) function: Function,
    pub(crate) args: Vec<Node>,
    pub(crate) cache: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum Function {
    /// One value in, one value out.
    Math(Math),
    /// A run of samples in, one value out.
    Over(Over),
    /// Everything else.
    Instant(Instant),
    /// `absent` and `absent_over_time`, with the labels their selector asks for.
    Absent(series::Labels),
    /// `label_replace`, with its pattern compiled.
    LabelReplace(Box<LabelReplace>),
    /// `label_join`.
    LabelJoin(Box<LabelJoin>),
}

#[derive(Debug, Clone)]
pub(crate) struct LabelReplace {
    pub(crate) target: String,
    pub(crate) replacement: String,
    pub(crate) source: String,
    pub(crate) pattern: regex::Regex,
}

#[derive(Debug, Clone)]
pub(crate) struct LabelJoin {
    pub(crate) target: String,
    pub(crate) separator: String,
    pub(crate) sources: Vec<String>,
}

/// A whole expression.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) text: String,
    pub(crate) root: Node,
    pub(crate) kind: Kind,
    pub(crate) selectors: Vec<Selector>,
    pub(crate) subqueries: usize,
    pub(crate) caches: usize,
}
