//! `lantern group`: list, describe, lag, reset, delete.

mod admin;
mod lag;
mod reset;
mod state;
mod watch;

use clap::{Args, Subcommand};

use crate::connect::ServerFlags;
use crate::error::Error;
use crate::output::Output;
use crate::stage::Stage;

/// What to do with consumer groups.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// Groups with their state
    #[command(
        visible_alias = "ls",
        after_help = "Example:\n  lantern group list --output json"
    )]
    List(admin::ListFlags),
    /// One group: its members and what each of them reads
    #[command(after_help = "Example:\n  lantern group describe billing")]
    Describe(admin::DescribeFlags),
    /// How far groups are behind, in all and by partition
    #[command(
        after_help = "Examples:\n  lantern group lag\n  lantern group lag billing --watch\n  lantern group lag billing --watch --output json >> lag.jsonl\n\nLag is the end of a partition less the committed offset. A partition in which the group\nnever committed counts as none. With --watch there are rates over the last 10 seconds, and\nthe time until the group has caught up if both rates stay."
    )]
    Lag(lag::LagFlags),
    /// Move a group to another place; it must have no members
    #[command(
        after_help = "Examples:\n  lantern group reset billing --to beginning --topic orders --dry-run\n  lantern group reset billing --to 2026-05-01T12:00:00Z --topic orders:0,1\n  lantern group reset billing --to 2h --all-topics"
    )]
    Reset(reset::ResetFlags),
    /// Forget groups and how far they have read; they must have no members
    #[command(
        after_help = "Example:\n  lantern group delete billing --yes\n\nWithout --yes it asks on a terminal and refuses elsewhere."
    )]
    Delete(admin::DeleteFlags),
}

/// Flags of every command about groups.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) server: ServerFlags,
    /// How data is printed
    #[arg(long, short = 'o', value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// Does it.
pub(crate) async fn run(command: GroupCommand, stage: &mut Stage) -> Result<(), Error> {
    match command {
        GroupCommand::List(flags) => admin::list(flags, stage).await,
        GroupCommand::Describe(flags) => admin::describe(flags, stage).await,
        GroupCommand::Lag(flags) => lag::run(flags, stage).await,
        GroupCommand::Reset(flags) => reset::run(flags, stage).await,
        GroupCommand::Delete(flags) => admin::delete(flags, stage).await,
    }
}
