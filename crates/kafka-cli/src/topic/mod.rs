//! `lantern topic`: list, describe, create, delete, configure, add-partitions.

mod change;
mod create;
mod describe;
mod list;

use clap::{Args, Subcommand};

use crate::connect::ServerFlags;
use crate::error::Error;
use crate::output::Output;
use crate::stage::Stage;

pub(crate) use change::agreed;

/// What to do with topics.
#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// Topics with their partitions, records and bytes
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  lantern topic list\n  lantern topic list 'orders*' --output json | jq -r .topic"
    )]
    List(list::ListFlags),
    /// One topic: configuration, partitions, leaders, first and last offsets
    #[command(after_help = "Example:\n  lantern topic describe orders")]
    Describe(describe::DescribeFlags),
    /// Make topics
    #[command(
        after_help = "Examples:\n  lantern topic create orders --partitions 4\n  lantern topic create audit --retention 30d -c segment.bytes=67108864"
    )]
    Create(create::CreateFlags),
    /// Remove topics and all their records
    #[command(
        after_help = "Example:\n  lantern topic delete orders --yes\n\nWithout --yes it asks on a terminal and refuses elsewhere."
    )]
    Delete(change::DeleteFlags),
    /// Change how a topic keeps its records
    #[command(
        after_help = "Examples:\n  lantern topic configure orders --retention 3d\n  lantern topic configure orders -c max.message.bytes=2097152 --unset segment.ms"
    )]
    Configure(change::ConfigureFlags),
    /// Grow a topic; keys go to other partitions from then on
    #[command(
        after_help = "Examples:\n  lantern topic add-partitions orders --add 2\n  lantern topic add-partitions orders --total 8"
    )]
    AddPartitions(change::GrowFlags),
}

/// Flags of every command about topics.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) server: ServerFlags,
    /// How data is printed
    #[arg(long, short = 'o', value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// Does it.
pub(crate) async fn run(command: TopicCommand, stage: &mut Stage) -> Result<(), Error> {
    match command {
        TopicCommand::List(flags) => list::run(flags, stage).await,
        TopicCommand::Describe(flags) => describe::run(flags, stage).await,
        TopicCommand::Create(flags) => create::run(flags, stage).await,
        TopicCommand::Delete(flags) => change::delete(flags, stage).await,
        TopicCommand::Configure(flags) => change::configure(flags, stage).await,
        TopicCommand::AddPartitions(flags) => change::grow(flags, stage).await,
    }
}
