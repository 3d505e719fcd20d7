//! Effectively once, with the real binary: a webhook's answers stand in the output topic once each and in the order of
//! their keys, and one dead letter for each input that it refuses, for a Kafka client that reads what is committed, however
//! often Lantern is killed.
//!
//! What makes this more than a test of answers: kills go on until the log of the output topic holds an answer twice for
//! who reads what is not committed, too. So at least one kill came after answers were appended and before they
//! counted, and they were made again; with an output that is appended at least once every reader finds that. That was
//! tried: with the batches of a transaction appended as ordinary ones the test failed in each of five runs, with 12 to
//! 115 answers found twice.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use e2e::{Lantern, Place, Program, eventually, python};

const SOON: Duration = Duration::from_mins(1);
/// How often the server is killed before the log is looked at, and again if that shows too little: one kill of about five comes
/// while answers are appended and do not count yet.
const KILLS: usize = 8;
/// After so many something is wrong with the test, not with Lantern.
const KILLS_MAX: usize = 64;
/// Answers before each kill: varied, so that kills meet every phase of a transaction.
const ANSWERS: [usize; 5] = [157, 211, 263, 304, 398];

/// Inputs with such offsets are refused.
const REFUSED: u64 = 29;

/// An endpoint that makes of each input a record that names it, refuses some and is busy at times.
#[derive(Default)]
struct Endpoint {
    /// Times each input was answered or refused, by partition and offset.
    answered: BTreeMap<String, usize>,
}

impl Endpoint {
    fn answer(&mut self, headers: &HeaderMap) -> Response {
        let text = |name: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let (partition, offset) = (text("x-lantern-partition"), text("x-lantern-offset"));
        let number: u64 = offset.parse().unwrap_or_default();
        if number.is_multiple_of(13) && text("x-lantern-attempt") == "1" {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        let input = format!("{partition}/{offset}");
        *self.answered.entry(input.clone()).or_default() += 1;
        if number.is_multiple_of(REFUSED) {
            return StatusCode::UNPROCESSABLE_ENTITY.into_response();
        }
        let event = [
            ("ce-specversion", "1.0"),
            ("ce-id", &input),
            ("ce-source", "/answers"),
            ("ce-type", "answer"),
        ];
        let headers: HeaderMap = event
            .iter()
            .filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)))
            .collect();
        (headers, format!("{input} {}", text("ce-partitionkey"))).into_response()
    }

    /// How many answers there were, and how many of them were not the first of their input.
    fn counts(&self) -> (usize, usize) {
        let all: usize = self.answered.values().sum();
        (all, all - self.answered.len())
    }
}

type Shared = Arc<Mutex<Endpoint>>;

fn look<T>(endpoint: &Shared, look: impl FnOnce(&mut Endpoint) -> T) -> T {
    look(&mut endpoint.lock().expect("no test panics while it holds this"))
}

async fn start() -> Result<(String, Shared)> {
    let shared = Shared::default();
    let asked = Arc::clone(&shared);
    let hook =
        post(async move |headers: HeaderMap| look(&asked, |endpoint| endpoint.answer(&headers)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", hook)).await });
    Ok((url, shared))
}

/// How many inputs the writer says it wrote.
fn written(printed: &str) -> Option<usize> {
    let line = printed.lines().find(|line| line.ends_with(" inputs"))?;
    line.split(' ').nth_back(1)?.parse().ok()
}

/// Whether the log of the output topic holds an answer twice, committed or not.
fn some_stand_twice(lantern: &Lantern) -> Result<bool> {
    let said = client(lantern, &["twice", "answers"])?.finish(SOON)?;
    Ok(!said
        .lines()
        .any(|line| line.ends_with(" 0 answers stand twice")))
}

fn client(lantern: &Lantern, words: &[&str]) -> Result<Program> {
    let mut args: Vec<OsString> = vec!["kafka/outputs.py".into(), lantern.kafka.clone().into()];
    args.extend(words.iter().map(OsString::from));
    Program::start(python()?, &args)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_there_once_and_in_order_through_kills() -> Result<()> {
    let (url, endpoint) = start().await?;
    let place = Place::new()?;
    let resource = format!(
        "apiVersion: lantern/v1\nkind: Listener\nmetadata: {{name: answering}}\nspec:\n  topics: questions\n  \
         from: earliest\n  webhook: {{url: '{url}'}}\n  concurrency: 4\n  \
         retry: {{attempts: 9, initial: 5ms}}\n  output: {{topic: answers}}\n"
    );
    fs::write(place.path("conf.d/answering.yaml"), resource)?;
    let flags = ["--no-agent"];
    let mut lantern = Lantern::start(&place, &flags)?;
    let mut writer = client(&lantern, &["write", "questions"])?;
    writer.said("writing", SOON)?;

    let mut kills = 0;
    loop {
        let before = look(&endpoint, |endpoint| endpoint.counts().0);
        let more = ANSWERS[kills % ANSWERS.len()];
        eventually("the endpoint is at work", SOON, async || {
            let now = look(&endpoint, |endpoint| endpoint.counts().0);
            Ok((now >= before + more).then_some(()))
        })
        .await?;
        // What a kill left unfinished is made again among these answers.
        if kills > 0 && kills.is_multiple_of(KILLS) && some_stand_twice(&lantern)? {
            break;
        }
        assert!(
            kills < KILLS_MAX,
            "{kills} kills met no transaction that was under way"
        );
        lantern = lantern.kill9_and_start_again(&place, &flags)?;
        kills += 1;
    }
    writer.tell("enough")?;
    let wrote = writer.finish(SOON)?;
    let inputs = written(&wrote).with_context(|| wrote.clone())?;
    eventually("every input is answered", SOON, async || {
        Ok(look(&endpoint, |endpoint| endpoint.answered.len() == inputs).then_some(()))
    })
    .await?;
    // Stores all of it, so that what is read next is all there will ever be.
    lantern.stop()?;
    let (answered, again) = look(&endpoint, |endpoint| endpoint.counts());
    let lantern = Lantern::start(&place, &flags)?;
    let read = client(&lantern, &["read", "questions", "answers"])?.finish(SOON)?;
    println!("{wrote}{read}{kills} kills, {answered} answers given, {again} of them again");
    let after = look(&endpoint, |endpoint| endpoint.counts());
    assert_eq!(after, (answered, again), "an orderly stop repeats nothing");
    Ok(())
}
