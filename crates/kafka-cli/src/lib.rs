//! The commands `topic`, `produce`, `consume` and `group`: a pleasant client for any Kafka server.
//!
//! Read first: [`Command`], the words and flags; [`run`], which gives a command its [`Stage`]. Each command
//! is a room: `topic`, `produce`, `consume`, `group`. What they share stands beside them: `connect` (the
//! way to a server, and errors that name what is not there), `place` (`beginning`, `-5`, `10m`), `json`
//! (a record as JSON, the same in and out), `table`, `units` and `style`.
//!
//! Invariants: data goes to standard output and words about it to standard error; nothing that came from
//! a record can command a terminal; what does not fit in memory is read and printed piece by piece.
//!
//! Not here: the protocol (`kafka-client`), Lantern itself: these commands know no server of ours.

#![forbid(unsafe_code)]

mod connect;
mod consume;
mod error;
mod group;
mod json;
mod names;
mod output;
mod place;
mod produce;
mod stage;
mod style;
mod table;
mod topic;
mod units;

pub use consume::ConsumeFlags;
pub use error::Error;
pub use group::GroupCommand;
pub use produce::ProduceFlags;
pub use stage::Stage;
pub use topic::TopicCommand;

/// A command with its flags.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List, describe, create, delete, configure and grow topics of a Kafka server
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Produce lines, JSON or words to a topic
    Produce(ProduceFlags),
    /// Print, search and follow the records of topics
    Consume(ConsumeFlags),
    /// List, describe, watch, reset and delete consumer groups
    #[command(subcommand)]
    Group(GroupCommand),
}

/// Does what a command says.
///
/// # Errors
/// [`Error`]; [`Error::is_broken_pipe`] is none for who types, as `| head` had enough.
pub async fn run(command: Command, stage: &mut Stage) -> Result<(), Error> {
    match command {
        Command::Topic(command) => topic::run(command, stage).await?,
        Command::Produce(flags) => Box::pin(produce::run(flags, stage)).await?,
        Command::Consume(flags) => Box::pin(consume::run(flags, stage)).await?,
        Command::Group(command) => group::run(command, stage).await?,
    }
    stage.out.flush()?;
    Ok(())
}
