//! `lantern verify` as its users run it: exit codes, JSON, and not a byte changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

use anyhow::{Context, Result};
use e2e::{Lantern, Place};
use kafka_client::{Admin, Producer};
use model::{PartitionId, Timestamp, TopicName, TopicPartition};
use record::{BatchBuilder, Compression};
use serde_json::Value;

fn verify(data: &Path) -> Result<(Option<i32>, Value, String)> {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(e2e::binary())
        .arg("verify")
        .arg(data)
        .args(["--output", "json"])
        .output()?;
    let report = serde_json::from_slice(&stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&stderr).into_owned();
    Ok((status.code(), report, said))
}

/// Every file with its bytes and the time it was written.
fn content(dir: &Path) -> Result<BTreeMap<PathBuf, (Vec<u8>, SystemTime)>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let written = fs::metadata(&path)?.modified()?;
                found.insert(path.clone(), (fs::read(path)?, written));
            }
        }
    }
    Ok(found)
}

async fn fill(lantern: &Lantern, topic: &TopicName) -> Result<()> {
    let admin = Admin::connect(&lantern.kafka).await?;
    admin.create_topic(topic, 2).await?;
    let producer = Producer::connect(&lantern.kafka).await?;
    for number in 0..200_u32 {
        let to = TopicPartition::new(topic.clone(), PartitionId::new(number % 2));
        let mut builder = BatchBuilder::new(Compression::Lz4);
        builder.push(Timestamp::from_millis(1), None, Some(&[b'x'; 200]), &[]);
        producer.send(&to, builder.build()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn it_says_what_a_start_would_do_and_does_nothing() -> Result<()> {
    let place = Place::new()?;
    let data = place.path("data");
    let (code, _, said) = verify(&data)?;
    assert_eq!(code, Some(2), "{said}");
    let topic: TopicName = "orders".parse()?;
    let lantern = Lantern::start(&place, &["--no-agent"])?;
    fill(&lantern, &topic).await?;
    let (code, _, said) = verify(&data)?;
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains(&format!("process {}", lantern.id())),
        "{said}"
    );
    lantern.kill9()?;

    let before = content(&data)?;
    let (code, report, said) = verify(&data)?;
    assert_eq!(code, Some(0), "{report:#} {said}");
    assert_eq!(report["clean"], false);
    assert!(content(&data)? == before, "something was changed");
    let records = report["partitions"].as_array().context("partitions")?;
    let records = records.iter().filter(|log| log["topic"] == "orders");
    let records: Vec<_> = records.map(|log| log["records"].as_u64()).collect();
    assert_eq!(records, [Some(100), Some(100)]);

    // After an orderly end nothing but the log has it; then a bit flips.
    let lantern = Lantern::start(&place, &["--no-agent"])?;
    assert!(lantern.stop()?.success());
    let before = content(&data)?;
    let path = before.keys().find(|path| {
        path.starts_with(data.join("topics/orders")) && path.ends_with("1/00000000000000000000.log")
    });
    let path = path.context("a segment")?;
    let mut bytes = fs::read(path)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(path, bytes)?;
    let (code, report, said) = verify(&data)?;
    assert_eq!(code, Some(1), "{report:#} {said}");
    let problems = report["findings"].as_array().context("findings")?;
    let problem = problems.iter().find(|found| found["problem"] == true);
    let problem = problem.context("a problem")?;
    assert_eq!(problem["file"], path.to_string_lossy().as_ref());
    assert_eq!(
        (&problem["topic"], &problem["partition"]),
        (&"orders".into(), &1.into())
    );
    Ok(())
}
