//! Quotas as real clients meet them: kcat (librdkafka) is slowed down and loses nothing, remote write hears 429.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use e2e::{Lantern, Place, eventually};
use model::Timestamp;
use series::{Labels, write};

/// Bytes a second of the client `loader`, both ways.
const RATE: usize = 500_000;
/// Lines of about a hundred bytes: two megabytes, so three seconds over the burst of one second.
const LINES: usize = 20_000;

fn limited(place: &Place) -> Result<Lantern> {
    let config = place.path("lantern.yaml");
    let yaml = format!(
        "quotas:\n  clients:\n    \
         loader: {{producer_byte_rate: {RATE}, consumer_byte_rate: {RATE}}}\n    \
         scraper: {{producer_byte_rate: 50}}\n"
    );
    fs::write(&config, yaml)?;
    Lantern::start(
        place,
        &["--no-agent", "--config", &config.to_string_lossy()],
    )
}

/// Runs kcat and answers what it printed, and how long it took.
fn kcat(
    lantern: &Lantern,
    client: &str,
    args: &[&str],
    input: &[u8],
) -> Result<(Vec<u8>, Duration)> {
    let begun = Instant::now();
    let mut child = Command::new("kcat")
        .args([
            "-b",
            &lantern.kafka,
            "-t",
            "orders",
            "-X",
            &format!("client.id={client}"),
        ])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("kcat")?;
    let mut pipe = child.stdin.take().context("a pipe")?;
    let input = input.to_vec();
    let feeding = std::thread::spawn(move || pipe.write_all(&input));
    let output = child.wait_with_output()?;
    let fed = feeding.join();
    if !output.status.success() || !matches!(fed, Ok(Ok(()))) {
        bail!("kcat {args:?} ended with {}", output.status);
    }
    Ok((output.stdout, begun.elapsed()))
}

#[test]
fn kcat_keeps_to_its_quota_and_loses_nothing() -> Result<()> {
    let place = Place::new()?;
    let lantern = limited(&place)?;
    let lines: Vec<String> = (0..LINES)
        .map(|n| format!("{n:06} {}\n", "x".repeat(92)))
        .collect();
    let input = lines.concat();
    let produce = ["-P", "-X", "enable.idempotence=true"];
    let (_, took) = kcat(&lantern, "loader", &produce, input.as_bytes())?;
    // The last request, of a megabyte at most, is taken before it is paid for, and kcat waits for its acknowledgement, not for
    // its pause: that leaves a second.
    let consume = ["-C", "-e", "-q", "-o", "beginning"];
    let (read, took_free) = kcat(&lantern, "free", &consume, &[])?;
    // Several partitions: in order within each.
    let read_text = String::from_utf8(read)?;
    let mut came: Vec<&str> = read_text.split_inclusive('\n').collect();
    came.sort_unstable();
    assert!(came == lines, "{} lines of {LINES} came", came.len());
    let (read, took_out) = kcat(&lantern, "loader", &consume, &[])?;
    assert_eq!(read.len(), input.len());
    let second = Duration::from_secs(1);
    assert!(took > second, "produced in {took:?}");
    assert!(
        took_out > second,
        "consumed in {took_out:?}, without a quota in {took_free:?}"
    );
    Ok(())
}

#[tokio::test]
async fn remote_write_over_its_quota_hears_when_to_come_again() -> Result<()> {
    let place = Place::new()?;
    let lantern = limited(&place)?;
    let client = reqwest::Client::builder()
        .user_agent("scraper/1.0")
        .build()?;
    let labels = Labels::of(&[("__name__", "orders")]);
    let samples: Vec<_> = (0..100)
        .map(|n| (Timestamp::from_millis(n), (n * n % 97) as f64))
        .collect();
    let body = write::compress(&write::encode_v2(&[(labels, samples)]))?;
    let send = async || {
        client
            .post(lantern.url("/api/v1/write"))
            .header("content-encoding", "snappy")
            .header(
                "content-type",
                "application/x-protobuf;proto=io.prometheus.write.v2.Request",
            )
            .body(body.clone())
            .send()
            .await
    };
    // More than its fifty bytes: taken, and owed.
    assert_eq!(send().await?.status(), 204);
    let refused = send().await?;
    assert_eq!(refused.status(), 429);
    let after = refused
        .headers()
        .get("retry-after")
        .context("Retry-After")?
        .to_str()?;
    let after: u64 = after.parse()?;
    assert!(
        (1..=60).contains(&after),
        "{after} s for {} bytes",
        body.len()
    );
    assert!(refused.text().await?.contains("quota"));
    let limit = Duration::from_secs(after + 5);
    eventually("the next write", limit, || async {
        let answer = send().await?;
        Ok((answer.status() == 204).then_some(()))
    })
    .await
}
