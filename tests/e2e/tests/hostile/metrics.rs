//! Metrics that are small on the wire: what they take of memory, and of the time of others.

use std::io::Write;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use e2e::{Lantern, Place};
use flate2::Compression;
use flate2::write::GzEncoder;
use kafka_client::Admin;
use model::TopicName;
use reqwest::StatusCode;

use crate::RSS_MAX;
use crate::bombs::{BOMBED, BOMBS, SERVED_BESIDE_BOMBS};
use crate::watch::{Watch, memory};

/// A request, and how it is refused.
struct Bomb {
    path: &'static str,
    encoding: &'static str,
    content_type: &'static str,
    body: Vec<u8>,
    status: StatusCode,
    said: &'static str,
}

/// A field of a protobuf message that has a length.
fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap_or_default());
    out.extend_from_slice(bytes);
}

/// A request of remote write 2.0 whose series all refer to the same few symbols: a metric name, and one text that is the value of
/// so many labels.
fn one_text_for_all(text: usize, labels: u8, series: usize) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    for symbol in ["", "__name__", &"x".repeat(text)] {
        field(&mut plain, 4, symbol.as_bytes());
    }
    let mut refs = vec![1, 2];
    for label in 0..labels {
        field(&mut plain, 4, format!("label{label}").as_bytes());
        refs.extend_from_slice(&[label + 3, 2]);
    }
    let mut one = Vec::new();
    field(&mut one, 1, &refs);
    // One sample: 0 at 1 ms.
    field(&mut one, 2, &[2 << 3, 1]);
    for _ in 0..series {
        field(&mut plain, 5, &one);
    }
    Ok(series::write::compress(&plain)?)
}

/// Requests of remote write that say once what each of their series would copy: longer than a label may be, and as long as it may.
fn of_remote_write() -> Result<Vec<Bomb>> {
    let bomb = |body, said| Bomb {
        path: "/api/v1/write",
        encoding: "snappy",
        content_type: "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        body,
        status: StatusCode::BAD_REQUEST,
        said,
    };
    Ok(vec![
        bomb(
            one_text_for_all(1 << 20, 0, 20_000)?,
            "at most 4096 are allowed",
        ),
        bomb(one_text_for_all(4_096, 60, 20_000)?, "send it in parts"),
    ])
}

/// An attribute with a text.
fn attribute(key: &str, value: &str) -> Vec<u8> {
    let (mut text, mut pair) = (Vec::new(), Vec::new());
    field(&mut text, 1, value.as_bytes());
    field(&mut pair, 1, key.as_bytes());
    field(&mut pair, 2, &text);
    pair
}

/// A request of OTLP with one gauge of one service.
fn one_gauge(service: &str, points: &[u8]) -> Vec<u8> {
    let (mut resource, mut metric) = (Vec::new(), Vec::new());
    field(&mut resource, 1, &attribute("service.name", service));
    field(&mut metric, 1, b"gauge");
    field(&mut metric, 5, points);
    let (mut scope, mut sender, mut request) = (Vec::new(), Vec::new(), Vec::new());
    field(&mut scope, 2, &metric);
    field(&mut sender, 1, &resource);
    field(&mut sender, 2, &scope);
    field(&mut request, 1, &sender);
    request
}

/// Requests of OTLP: more than may be inflated, points of two bytes, and the name of a service that each of its series would copy.
fn of_otlp() -> Result<Vec<Bomb>> {
    let bomb = |plain: &[u8], said| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(plain)?;
        Ok::<_, anyhow::Error>(Bomb {
            path: "/v1/metrics",
            encoding: "gzip",
            content_type: "application/x-protobuf",
            body: gzip.finish()?,
            status: StatusCode::PAYLOAD_TOO_LARGE,
            said,
        })
    };
    let empty = [1 << 3 | 2, 0].repeat(7 << 20);
    let mut of_one_service = Vec::new();
    for number in 0..20_000 {
        let mut point = Vec::new();
        // Its time, and 0 as its value.
        point.extend_from_slice(&[3 << 3 | 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        point.extend_from_slice(&[4 << 3 | 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        field(&mut point, 7, &attribute("number", &number.to_string()));
        field(&mut of_one_service, 1, &point);
    }
    Ok(vec![
        bomb(&vec![0; 200 << 20], "16 MiB")?,
        bomb(&one_gauge("orders", &empty), "128 MiB")?,
        bomb(&one_gauge(&"x".repeat(4_000), &of_one_service), "32 MiB")?,
    ])
}

/// Sends each bomb several times at once.
async fn explode(lantern: &Lantern, bombs: &[Bomb]) -> Result<()> {
    for bomb in bombs {
        ensure!(bomb.body.len() < 1 << 20, "it is small on the wire");
        let mut sending = Vec::new();
        for _ in 0..BOMBS {
            let request = reqwest::Client::new()
                .post(lantern.url(bomb.path))
                .header("content-encoding", bomb.encoding)
                .header("content-type", bomb.content_type)
                .body(bomb.body.clone());
            sending.push(tokio::spawn(async move {
                let answer = request.send().await?;
                let status = answer.status();
                let text = String::from_utf8_lossy(&answer.bytes().await?).into_owned();
                Ok::<_, anyhow::Error>((status, text))
            }));
        }
        for sent in sending {
            let (status, text) = sent.await??;
            ensure!(
                status == bomb.status && text.contains(bomb.said),
                "a bomb was answered with {status}: {text}"
            );
        }
    }
    Ok(())
}

async fn small_metrics_stay_small(attack: &str, bombs: &[Bomb]) -> Result<()> {
    let place = Place::new()?;
    let lantern = Lantern::start(&place, &["--no-agent"])?;
    let topic: TopicName = "bystander".parse()?;
    Admin::connect(&lantern.kafka)
        .await?
        .create_topic(&topic, 1)
        .await?;
    let mut watch = Watch::start(&lantern, &topic).await?;
    let until = Instant::now() + BOMBED;
    while Instant::now() < until {
        explode(&lantern, bombs).await?;
    }
    watch.look_within(attack, SERVED_BESIDE_BOMBS).await?;
    watch.end().await?;
    let most = memory(lantern.id(), "VmHWM:").context("the peak of resident memory")?;
    ensure!(
        most < RSS_MAX,
        "{most} bytes were resident, the bound is {RSS_MAX}"
    );
    ensure!(lantern.stop()?.success(), "the stop after it all");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_text_that_many_series_refer_to_is_not_multiplied() -> Result<()> {
    small_metrics_stay_small("symbol bombs", &of_remote_write()?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_of_otlp_take_no_more_than_is_allowed() -> Result<()> {
    small_metrics_stay_small("bombs over OTLP", &of_otlp()?).await
}
