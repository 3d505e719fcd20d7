//! The words of the command line. `lantern` alone means `lantern up`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, Parser, Subcommand, ValueEnum};
use stdx::HumanDuration;

/// Real-time events in one binary: a durable log that Kafka clients speak, Prometheus rules evaluated
/// as samples arrive, and live boards.
#[derive(Debug, Parser)]
#[command(name = "lantern", version, args_conflicts_with_subcommands = true)]
#[command(
    after_help = "Example:\n  lantern up --data-dir /var/lib/lantern\n\nThen open \
    http://127.0.0.1:8787, or run `lantern demo orders` in another terminal."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) up: UpFlags,
}

/// A flag before its command is refused; the error says where it goes.
pub(crate) fn explained(mut error: clap::Error) -> clap::Error {
    let flags = match error.get(ContextKind::PriorArg) {
        Some(ContextValue::String(flag)) => flag.clone(),
        Some(ContextValue::Strings(flags)) => flags.join(" "),
        _ => return error,
    };
    if let Some(ContextValue::String(command)) = error.get(ContextKind::InvalidSubcommand) {
        let tip = format!("flags go behind the command: lantern {command} {flags}");
        let tips = ContextValue::StyledStrs(vec![tip.into()]);
        error.insert(ContextKind::Suggested, tips);
    }
    error
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start Lantern: log, rules, boards and the agent of this host
    Up(UpFlags),
    /// Play a business into a running Lantern over its Kafka port
    #[command(
        after_help = "Example:\n  lantern demo orders --rate 2246 --duration 60s\n\nWithout a \
        name it lists the demos."
    )]
    Demo(DemoFlags),
    /// List, describe, create, delete, configure and grow topics of a Kafka server
    #[command(subcommand)]
    Topic(kafka_cli::TopicCommand),
    /// Produce lines, JSON or words to a topic
    Produce(kafka_cli::ProduceFlags),
    /// Print, search and follow the records of topics
    Consume(kafka_cli::ConsumeFlags),
    /// List, describe, watch, reset and delete consumer groups
    #[command(subcommand)]
    Group(Group),
    /// Work with Prometheus rule files
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Show the listeners of a running Lantern
    #[command(
        after_help = "Example:\n  lantern listeners\n\nListeners are resources: put them into \
        conf.d (docs/operate/listeners.md)."
    )]
    Listeners(ServerFlags),
    /// Look at dead letters and send them again
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Check a data directory offline: every batch, index and offset, and what a start would do to it
    #[command(
        after_help = "Example:\n  lantern verify ./lantern-data\n\nIt only reads, and refuses a \
        directory that a running Lantern holds. Exit code 0: sound; 1: something would be cut or kept \
        aside, or is damaged; 2: nothing was checked."
    )]
    Verify(VerifyFlags),
}

/// The words of `group`: those of any Kafka server, and what only Lantern knows.
#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    #[command(flatten)]
    Kafka(kafka_cli::GroupCommand),
    /// How late groups are: how long records waited until they were committed past, over 5 minutes
    #[command(
        after_help = "Examples:\n  lantern group delay\n  lantern group delay billing --watch\n  \
        lantern group delay --topic orders --output json\n\nDelay: from when a record could be read \
        until its group committed past it. Age: how long the oldest record waits that it has not \
        committed past. It asks Lantern's HTTP address (docs/operate/delays.md)."
    )]
    Delay(DelayFlags),
}

/// Flags of `group delay`.
#[derive(Debug, Args)]
pub(crate) struct DelayFlags {
    /// The group, by partition [default: all, with a line each]
    #[arg(value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// Only in this topic
    #[arg(long, short = 't', value_name = "TOPIC")]
    pub(crate) topic: Option<String>,
    /// Look again and again: in place on a terminal
    #[arg(long, short = 'w')]
    pub(crate) watch: bool,
    /// How often, with --watch
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    pub(crate) interval: HumanDuration,
    /// Stop after so many looks, with --watch
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    #[command(flatten)]
    pub(crate) server: ServerFlags,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyFlags {
    /// The data directory
    #[arg(value_name = "DATA_DIR")]
    pub(crate) data_dir: PathBuf,
    /// Where a further log directory is now, if not where it was last; may be repeated
    #[arg(long, value_name = "DIR")]
    pub(crate) log_dir: Vec<PathBuf>,
    /// How the report is printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// Say whether rule files would be taken, and what is wrong with them by line
    #[command(
        after_help = "Example:\n  lantern rules check rules/*.yaml\n\nExit code 0: all good; 1: \
        something is wrong."
    )]
    Check {
        /// Rule files, or folders of them
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

/// Which Lantern is asked, and how its answer is printed.
#[derive(Debug, Args)]
pub(crate) struct ServerFlags {
    /// Where Lantern takes HTTP
    #[arg(long, default_value = "127.0.0.1:8787", value_name = "ADDR")]
    pub(crate) http: String,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// List topics of dead letters, or the letters of one
    #[command(
        after_help = "Examples:\n  lantern dlq list\n  lantern dlq list orders.dlq --filter \
        reason=refused --filter listener=billing\n\nFilters: listener=, reason= (exhausted, \
        refused, expired), key=, error= (a part of it), topic="
    )]
    List {
        /// The topic of dead letters; none lists the topics
        topic: Option<String>,
        /// Only letters that have this, NAME=TEXT; may be repeated
        #[arg(long, value_name = "NAME=TEXT")]
        filter: Vec<String>,
        /// Most letters
        #[arg(long, default_value_t = 100, value_name = "NUMBER")]
        limit: usize,
        #[command(flatten)]
        server: ServerFlags,
    },
    /// Show one letter whole: value, headers, every attempt
    #[command(after_help = "Example:\n  lantern dlq show orders.dlq 17")]
    Show {
        /// The topic of dead letters
        topic: String,
        /// The letter's offset, as `list` shows it
        offset: u64,
        /// Its partition
        #[arg(long, default_value_t = 0, value_name = "NUMBER")]
        partition: u32,
        #[command(flatten)]
        server: ServerFlags,
    },
    /// Send letters again, oldest first, each to the listener that gave it up
    #[command(
        after_help = "Example:\n  lantern dlq replay orders.dlq --rate 100 --filter \
        listener=billing\n\nEach letter is sent once, however often this is called, unless \
        --again says otherwise. Ctrl-C stops it."
    )]
    Replay {
        /// The topic of dead letters
        topic: String,
        /// Only letters that have this, NAME=TEXT; may be repeated
        #[arg(long, value_name = "NAME=TEXT")]
        filter: Vec<String>,
        /// Most letters a second
        #[arg(long, value_name = "PER_SECOND")]
        rate: Option<u64>,
        /// Also those that were sent before
        #[arg(long)]
        again: bool,
        /// Count only
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        server: ServerFlags,
    },
}

/// Flags of `up`. A flag wins over `LANTERN_…` in the environment, which wins over lantern.yaml.
#[derive(Debug, Args, Default)]
#[command(
    after_help = "Example:\n  lantern up --http 127.0.0.1:0 --kafka 127.0.0.1:0 --ready-file \
    ready.json\n\nEvery flag can also stand in lantern.yaml (http: 127.0.0.1:8787) or in the \
    environment (LANTERN_HTTP=127.0.0.1:8787)."
)]
pub(crate) struct UpFlags {
    /// Configuration file [default: lantern.yaml, if it exists]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where the log is kept [default: ./lantern-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Another disk for logs: new partitions are dealt to it and the data directory; may be repeated
    #[arg(long, value_name = "DIR")]
    pub(crate) log_dir: Vec<PathBuf>,
    /// Address for HTTP: boards, query API, remote write; port 0 picks a free one [default: 127.0.0.1:8787]
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<SocketAddr>,
    /// Address for Kafka clients; port 0 picks a free one [default: 127.0.0.1:9092]
    #[arg(long, value_name = "ADDR")]
    pub(crate) kafka: Option<SocketAddr>,
    /// Where Kafka clients are told to connect, if there is a translation in between [default: the address each reached]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) kafka_advertised: Option<String>,
    /// Watched folder of boards, meters and other resources [default: ./conf.d; built-in ones without it]
    #[arg(long, value_name = "DIR")]
    pub(crate) conf_dir: Option<PathBuf>,
    /// Watched folder of Prometheus rule files [default: ./rules; built-in ones without it]
    #[arg(long, value_name = "DIR")]
    pub(crate) rules_dir: Option<PathBuf>,
    /// Send alerts here as Alertmanager's webhook JSON; may be repeated
    #[arg(long, value_name = "URL")]
    pub(crate) alert_webhook: Vec<String>,
    /// How long samples are kept in memory [default: 6h]
    #[arg(long, value_name = "DURATION")]
    pub(crate) series_retention: Option<HumanDuration>,
    /// Do not read this host
    #[arg(long)]
    pub(crate) no_agent: bool,
    /// Write the chosen addresses here as JSON when everything answers
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
    /// How log lines look [default: text on a terminal, JSON otherwise]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct DemoFlags {
    /// The demo; none lists them
    pub(crate) name: Option<String>,
    /// Events a second
    #[arg(long, default_value_t = 2_246.0, value_name = "PER_SECOND")]
    pub(crate) rate: f64,
    /// How long; without it until Ctrl-C
    #[arg(long, value_name = "DURATION")]
    pub(crate) duration: Option<HumanDuration>,
    /// Where Lantern takes Kafka clients
    #[arg(
        long,
        short = 'b',
        alias = "kafka",
        value_name = "HOST:PORT",
        env = "LANTERN_BROKER",
        default_value = "127.0.0.1:9092"
    )]
    pub(crate) broker: String,
    /// Repeats the same shop; random without it
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// How the summary is printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_before_its_command_is_told_where_it_goes() {
        for (line, tip) in [
            (
                vec!["lantern", "--config", "a.yaml", "up"],
                "lantern up --config <FILE>",
            ),
            (
                vec![
                    "lantern",
                    "--config",
                    "a.yaml",
                    "--data-dir",
                    "d",
                    "verify",
                    "d",
                ],
                "lantern verify --config <FILE> --data-dir <DIR>",
            ),
        ] {
            let error = Cli::try_parse_from(line).map(|_| ()).map_err(explained);
            let told = error.map_err(|error| error.to_string()).unwrap_err();
            assert!(told.contains(tip), "{told}");
        }
    }
}
