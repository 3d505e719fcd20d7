//! `lantern produce`: lines, JSON or words become records.
//!
//! ```text
//! input thread: bytes ─> lines ──(bounded)──> records ─> a batch per partition ─> Sender ─> outcomes ─> tally
//! ```
//! Invariants: everything that was read is either acknowledged or named in the error; a batch leaves as
//! soon as the input pauses; Ctrl-C stops reading and sends what was read, a second one ends at once.

mod batches;
mod input;
mod record;
mod tally;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::record::Compression;
use clap::{Args, ValueEnum};
use kafka_client::{Acks, Admin, Cluster, Sender, SenderOptions, TopicDetail, TopicShape};
use model::TopicName;
use serde::Serialize;
use stdx::HumanDuration;
use tokio::time::{Instant, interval};

use self::batches::Batches;
use self::input::{Chunk, Input};
use self::record::{Framing, Recipe};
use self::tally::Tally;
use crate::connect::{ServerFlags, topic};
use crate::error::Error;
use crate::output::{Output, json_line};
use crate::stage::Stage;
use crate::units::{self, counted, span};

/// Flags of `produce`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lantern produce greetings hello\n  tail -f access.log | lantern produce access --compression zstd\n  lantern produce orders --key-separator : --header source=shop < orders.txt\n  lantern consume orders --output json | lantern produce copy --input json\n\nOne line is one record. With --input json a line is an object:\n  {\"key\": \"o-1\", \"value\": \"paid\", \"headers\": {\"source\": \"shop\"}, \"partition\": 0,\n   \"timestamp\": \"2026-05-01T12:00:00Z\"}\nwhere only value must be there; null makes a tombstone, {\"base64\": \"…\"} is bytes.\n\nCtrl-C stops reading and sends what was read."
)]
pub struct ProduceFlags {
    /// The topic
    #[arg(value_name = "TOPIC")]
    topic: TopicName,
    /// Values, each a record [default: lines of standard input]
    #[arg(value_name = "VALUE")]
    values: Vec<String>,
    /// Read this instead of standard input
    #[arg(long, short = 'f', value_name = "FILE", conflicts_with = "values")]
    file: Option<PathBuf>,
    /// What a line is
    #[arg(long, short = 'i', value_enum, default_value_t = Framing::Lines, value_name = "FORMAT")]
    input: Framing,
    /// The key of every record
    #[arg(
        long,
        short = 'k',
        value_name = "KEY",
        conflicts_with = "key_separator"
    )]
    key: Option<String>,
    /// What stands between key and value in a line, e.g. : or \t
    #[arg(long, short = 'K', value_name = "TEXT", value_parser = record::separator)]
    key_separator: Option<String>,
    /// A header of every record; may be repeated
    #[arg(long = "header", short = 'H', value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// The partition of every record [default: by key as Kafka's own client does, else in turns]
    #[arg(long, short = 'p', value_name = "NUMBER")]
    partition: Option<u32>,
    /// Make empty values null: tombstones, for topics that are compacted
    #[arg(long, short = 'Z')]
    empty_as_null: bool,
    /// How batches are compressed
    #[arg(long, short = 'z', value_enum, default_value_t = Codec::None, value_name = "CODEC")]
    compression: Codec,
    /// What an acknowledgement means
    #[arg(long, value_enum, default_value_t = AcksFlag::All)]
    acks: AcksFlag,
    /// Most records in a batch; a batch leaves earlier when the input pauses or it is large
    #[arg(long, value_name = "RECORDS", default_value = "10000", value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// How long to try before records count as not acknowledged
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    timeout: HumanDuration,
    /// Make the topic first if it is not there
    #[arg(long)]
    create: bool,
    /// Say nothing but errors
    #[arg(long, short = 'q')]
    quiet: bool,
    #[command(flatten)]
    server: ServerFlags,
    /// How the final count is printed
    #[arg(long, short = 'o', value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// How batches are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    const fn compression(self) -> Compression {
        match self {
            Self::None => Compression::None,
            Self::Gzip => Compression::Gzip,
            Self::Snappy => Compression::Snappy,
            Self::Lz4 => Compression::Lz4,
            Self::Zstd => Compression::Zstd,
        }
    }
}

/// What an acknowledgement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AcksFlag {
    /// As durable as the topic asks, and written once even when sent again
    #[value(alias = "-1")]
    All,
    /// The leader has it
    #[value(alias = "1")]
    Leader,
    /// There is none: what is sent may be lost
    #[value(alias = "0")]
    None,
}

impl AcksFlag {
    const fn acks(self) -> Acks {
        match self {
            Self::All => Acks::All,
            Self::Leader => Acks::Leader,
            Self::None => Acks::None,
        }
    }
}

/// How it ended.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    topic: &'a str,
    /// Read and made records.
    records: u64,
    /// Acknowledged, or sent where no acknowledgement was asked for.
    acknowledged: u64,
    bytes: u64,
    seconds: f64,
    records_per_second: f64,
}

/// How often progress is shown.
const PROGRESS: Duration = Duration::from_secs(1);

pub(crate) async fn run(flags: ProduceFlags, stage: &mut Stage) -> Result<(), Error> {
    let recipe = flags.recipe()?;
    let input = flags.open(stage)?;
    let cluster = flags.server.connect().await?;
    let target = flags.target(&cluster, stage).await?;
    if target.partitions.is_empty() {
        let what = format!("topic '{}' has no partitions", target.name);
        return Err(Error::bad_use(what));
    }
    if let Some(partition) = flags.partition {
        crate::connect::partitions(&target, &[partition])?;
    }
    let options = SenderOptions {
        acks: flags.acks.acks(),
        give_up_after: flags.timeout.get(),
        ..SenderOptions::default()
    };
    let sender = Sender::new(&cluster, target.name.clone(), options).await;
    let (sender, outcomes) =
        sender.map_err(|error| Error::failed(format!("produce to '{}'", target.name), error))?;
    let tally = Arc::new(Tally::default());
    let counting = tokio::spawn(tally::count(Arc::clone(&tally), outcomes));
    let mut batches = Batches::new(
        sender,
        Arc::clone(&tally),
        batches::Options {
            partitions: target.partitions.iter().map(|one| one.id).collect(),
            compression: flags.compression.compression(),
            records_max: usize::try_from(flags.batch).unwrap_or(usize::MAX),
            bytes_max: batch_bytes(&cluster, &target.name).await,
        },
    );
    let began = Instant::now();
    let ended = feed(&flags, &recipe, input, &mut batches, &tally, stage).await;
    batches.send_all().await;
    // Lanes end with the sender, outcomes with the lanes, the count with the outcomes.
    drop(batches);
    let hurry = wait_for_outcomes(counting, stage).await;
    clear_progress(&flags, stage);
    summary(&flags, &tally, began.elapsed(), stage)?;
    stage.out.flush()?;
    let lost = tally.lost(hurry, flags.values.is_empty());
    match (lost, ended) {
        (Some(lost), _) => Err(lost),
        (None, ended) => ended.map_err(|error| match error {
            Error::Input { place, reason, .. } => Error::Input {
                place,
                reason,
                produced: counted(tally.acknowledged(), "record"),
            },
            other => other,
        }),
    }
}

impl ProduceFlags {
    fn recipe(&self) -> Result<Recipe, Error> {
        if self.input == Framing::Json && (self.key.is_some() || self.key_separator.is_some()) {
            return Err(Error::bad_use(
                "with --input json the key is a field of each line: leave out --key and --key-separator",
            ));
        }
        Ok(Recipe {
            framing: self.input,
            key: self.key.clone().map(String::into_bytes),
            separator: self.key_separator.clone().map(String::into_bytes),
            headers: self
                .headers
                .iter()
                .map(|text| record::header(text))
                .collect(),
            partition: self.partition,
            empty_as_null: self.empty_as_null,
        })
    }

    fn open(&self, stage: &mut Stage) -> Result<Input, Error> {
        if !self.values.is_empty() {
            return Ok(Input::of_values(&self.values));
        }
        let whole = self.input == Framing::Whole;
        match &self.file {
            Some(path) if path.as_os_str() != "-" => {
                let file = std::fs::File::open(path).map_err(|source| Error::File {
                    path: path.clone(),
                    source,
                })?;
                Ok(Input::start(Box::new(file), whole))
            }
            _ => {
                if stage.input_is_terminal && !self.quiet {
                    stage.note("Each line you type is a record; Ctrl-D ends.");
                }
                let input = stage.input.take();
                Ok(Input::start(
                    input.unwrap_or_else(|| Box::new(std::io::empty())),
                    whole,
                ))
            }
        }
    }

    /// The topic, made first if that is wished.
    async fn target(&self, cluster: &Cluster, stage: &mut Stage) -> Result<TopicDetail, Error> {
        let error = match topic(cluster, &self.topic).await {
            Err(error @ Error::UnknownTopic { .. }) if self.create => error,
            found => return found,
        };
        drop(error);
        let failed = |error| Error::failed(format!("create topic '{}'", self.topic), error);
        let admin = cluster.controller().await.map_err(failed)?;
        let made = admin
            .create_topic_shaped(&self.topic, TopicShape::default(), &[])
            .await;
        made.map_err(failed)?;
        if !self.quiet {
            stage.note(format!("Topic '{}' created.", self.topic));
        }
        // A cluster takes a moment to tell all its servers.
        let began = Instant::now();
        loop {
            match topic(cluster, &self.topic).await {
                Err(Error::UnknownTopic { .. }) if began.elapsed() < kafka_client::PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                found => return found,
            }
        }
    }
}

/// Bytes of a batch: as many as the topic takes, as far as it says.
async fn batch_bytes(cluster: &Cluster, topic: &TopicName) -> usize {
    let config = match cluster.any().await {
        Ok(any) => Admin::new(any).topic_config(topic).await,
        Err(error) => Err(error),
    };
    let config = config.unwrap_or_default().into_iter();
    let own = config
        .filter(|one| one.name == "max.message.bytes")
        .find_map(|one| one.value?.parse().ok());
    own.unwrap_or(batches::BYTES_MAX).min(batches::BYTES_MAX)
}

/// Makes records of the input until it ends, fails, or is told to stop.
async fn feed(
    flags: &ProduceFlags,
    recipe: &Recipe,
    mut input: Input,
    batches: &mut Batches,
    tally: &Tally,
    stage: &mut Stage,
) -> Result<(), Error> {
    let began = Instant::now();
    let mut progress = interval(PROGRESS);
    let shows = !flags.quiet && stage.err_is_terminal && !stage.input_is_terminal;
    let stop = stage.stop.clone();
    loop {
        let chunk = tokio::select! {
            biased;
            () = stop.cancelled() => return drain(recipe, input, batches, stage).await,
            () = tally.failed() => return drain(recipe, input, batches, stage).await,
            _ = progress.tick(), if shows => {
                show_progress(tally, began, stage);
                continue;
            }
            chunk = input.next() => chunk,
        };
        let Some(chunk) = chunk else {
            return Ok(());
        };
        take(recipe, &chunk.map_err(Error::Stdin)?, batches, stage).await?;
        if input.is_idle() {
            batches.send_all().await;
        }
    }
}

/// Takes what was read already, and says what of it is no whole record.
async fn drain(
    recipe: &Recipe,
    mut input: Input,
    batches: &mut Batches,
    stage: &mut Stage,
) -> Result<(), Error> {
    while let Some(chunk) = input.rest().await {
        take(recipe, &chunk.map_err(Error::Stdin)?, batches, stage).await?;
    }
    let partial = input.partial();
    if partial > 0 {
        let bytes = counted(u64::try_from(partial).unwrap_or(u64::MAX), "byte");
        stage.note(format!(
            "lantern: {bytes} of a line without an end were read and not produced"
        ));
    }
    Ok(())
}

async fn take(
    recipe: &Recipe,
    chunk: &Chunk,
    batches: &mut Batches,
    stage: &mut Stage,
) -> Result<(), Error> {
    for (number, line) in chunk.lines() {
        let wrong = |reason: String| Error::Input {
            place: format!("line {number}"),
            reason,
            produced: String::new(),
        };
        let record = recipe.record(line, stage.clock.now()).map_err(wrong)?;
        batches.push(number, &record).await.map_err(wrong)?;
    }
    Ok(())
}

fn show_progress(tally: &Tally, began: Instant, stage: &mut Stage) {
    let done = tally.acknowledged();
    let rate = units::rate(done as f64 / began.elapsed().as_secs_f64().max(0.001));
    let text = format!("\r\x1b[K{}, {rate}/s", counted(done, "record"));
    drop(stage.err.write_all(text.as_bytes()));
    drop(stage.err.flush());
}

fn clear_progress(flags: &ProduceFlags, stage: &mut Stage) {
    if !flags.quiet && stage.err_is_terminal && !stage.input_is_terminal {
        drop(stage.err.write_all(b"\r\x1b[K"));
    }
}

/// Waits until every batch has its outcome; a second Ctrl-C ends the wait. Whether it did.
async fn wait_for_outcomes(mut counting: tokio::task::JoinHandle<()>, stage: &Stage) -> bool {
    if !stage.stop.is_cancelled() {
        tokio::select! {
            _ = &mut counting => return false,
            () = stage.stop.cancelled() => (),
        }
    }
    tokio::select! {
        _ = &mut counting => false,
        Ok(()) = tokio::signal::ctrl_c() => true,
    }
}

fn summary(
    flags: &ProduceFlags,
    tally: &Tally,
    elapsed: Duration,
    stage: &mut Stage,
) -> Result<(), Error> {
    let acknowledged = tally.acknowledged();
    let seconds = elapsed.as_secs_f64().max(0.001);
    let rate = acknowledged as f64 / seconds;
    if flags.output == Output::Json {
        let summary = Summary {
            topic: flags.topic.as_str(),
            records: tally.read(),
            acknowledged,
            bytes: tally.bytes(),
            seconds,
            records_per_second: rate,
        };
        json_line(&mut stage.out, &summary)?;
    } else if !flags.quiet {
        let sent = match flags.acks {
            AcksFlag::None => "sent without acknowledgement",
            AcksFlag::All | AcksFlag::Leader => "produced",
        };
        stage.note(format!(
            "{} {sent} to '{}' in {} ({}/s).",
            counted(acknowledged, "record"),
            flags.topic,
            span(elapsed),
            units::rate(rate)
        ));
    }
    Ok(())
}
