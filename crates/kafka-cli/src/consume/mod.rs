//! `lantern consume`: records of topics, from a place to a place, filtered, in several forms.
//!
//! Read first: [`session`], the loop. What fits is decided in `filter` and `condition`, how it looks in
//! `print` and `format`.

mod condition;
mod filter;
mod format;
mod print;
mod session;

use clap::{Args, ValueEnum};
use kafka_client::Isolation;
use model::{GroupId, TopicName};

use self::condition::Condition;
use self::filter::{Filter, HeaderWanted};
use self::format::Format;
use self::print::{Look, Printer};
use crate::connect::ServerFlags;
use crate::error::Error;
use crate::place::Spot;
use crate::stage::Stage;

/// Flags of `consume`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lantern consume orders\n  lantern consume orders -f\n  lantern consume orders --from 10m --value-match refund\n  lantern consume orders payments --from 2026-05-01T12:00:00Z --until 2026-05-01T13:00:00Z\n  lantern consume orders --where '.amount > 100' --output json | jq .key\n  lantern consume orders --group billing --follow\n  lantern consume orders --format '%p %o %k: %s\\n'\n\nWithout --follow it ends where the topic ended when it began to read.\n\nConditions of --where: .field.inner[0] with == != < <= > >= =~ (matches) !~ and a JSON value or\na bare word, or the field alone (it is there and not null). A record whose value is no JSON, or\nlacks the field, does not fit.\n\nEscapes of --format, as kcat has them: %t topic, %p partition, %o offset, %T timestamp in\nmilliseconds, %k key, %K its length, %s value, %S its length, %h headers, %% percent,\n\\n \\r \\t \\xHH. Lengths of null are -1."
)]
pub struct ConsumeFlags {
    /// The topics
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<TopicName>,
    /// beginning, end, an offset, -N (N before the end), a time or how long ago (10m), in each partition
    /// [default: beginning, or end with --follow]; with --group only where nothing is committed
    /// [default: beginning]
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    from: Option<Spot>,
    /// Stop there: a place as in --from, looked up at the start
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    until: Option<Spot>,
    /// Go on with what comes
    #[arg(long, short = 'f', conflicts_with = "until")]
    follow: bool,
    /// Only this partition; may be repeated
    #[arg(long, short = 'p', value_name = "NUMBER", conflicts_with = "group")]
    partition: Vec<u32>,
    /// Stop after so many records that fit
    #[arg(long, short = 'n', value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Join this consumer group, share the partitions with its members, and commit what was printed
    #[arg(long, short = 'g', value_name = "GROUP")]
    group: Option<GroupId>,
    /// Only records whose key matches this regular expression
    #[arg(long, short = 'k', value_name = "REGEX")]
    key_match: Option<regex::bytes::Regex>,
    /// Only records whose value matches this regular expression
    #[arg(long, short = 'm', value_name = "REGEX")]
    value_match: Option<regex::bytes::Regex>,
    /// Only records with this header, of any value or of this one; may be repeated
    #[arg(long = "header", short = 'H', value_name = "NAME[=VALUE]")]
    headers: Vec<HeaderWanted>,
    /// Only records whose value is JSON that fits, e.g. '.amount > 100'; may be repeated
    #[arg(long = "where", short = 'w', value_name = "CONDITION", value_parser = condition::read)]
    conditions: Vec<Condition>,
    /// How records are printed
    #[arg(long, short = 'o', value_enum, default_value_t = Look::Text)]
    output: Look,
    /// How records are printed, with %-escapes
    #[arg(long, short = 'F', value_name = "FORMAT", conflicts_with = "output")]
    format: Option<Format>,
    /// Do not shorten long keys and values on a terminal
    #[arg(long)]
    full: bool,
    /// Which records of transactions are read
    #[arg(long, value_enum, default_value_t = IsolationFlag::Committed, value_name = "LEVEL")]
    isolation: IsolationFlag,
    #[command(flatten)]
    server: ServerFlags,
}

/// Which records of transactions are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum IsolationFlag {
    /// Those that are committed
    Committed,
    /// All, open and aborted ones too
    Uncommitted,
}

pub(crate) async fn run(flags: ConsumeFlags, stage: &mut Stage) -> Result<(), Error> {
    let filter = Filter {
        key: flags.key_match.clone(),
        value: flags.value_match.clone(),
        headers: flags.headers.clone(),
        conditions: flags.conditions.clone(),
    };
    let printer = Printer::new(flags.output, flags.format.clone(), flags.full, stage);
    let plan = session::Plan {
        from: flags.from,
        until: flags.until,
        follow: flags.follow,
        count: flags.count,
        isolation: match flags.isolation {
            IsolationFlag::Committed => Isolation::Committed,
            IsolationFlag::Uncommitted => Isolation::Uncommitted,
        },
    };
    let mut topics = flags.topics.clone();
    topics.sort();
    topics.dedup();
    let cluster = flags.server.connect().await?;
    let mut session = session::Session::new(cluster, plan, filter, printer);
    match flags.group {
        Some(group) => session.in_group(group, topics, stage).await,
        None => session.alone(&topics, &flags.partition, stage).await,
    }
}
