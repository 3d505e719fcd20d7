//! Starting, stopping, and being told clearly why not.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::Result;
use e2e::{Lantern, Place, binary, eventually, query};
use rustix::process::Signal;

/// Runs `lantern` until it ends by itself.
fn lantern(place: &Place, args: &[&str]) -> Result<Output> {
    Ok(Command::new(binary())
        .args(args)
        .current_dir(place.path("."))
        .output()?)
}

/// The text an ended run printed, which must be one line that names `parts`, with exit code `code`.
#[track_caller]
fn one_line(output: &Output, code: i32, parts: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("lantern:"))
        .collect();
    assert_eq!(lines.len(), 1, "one clear line: {text}");
    for part in parts {
        let times = lines[0].matches(part).count();
        assert_eq!(times, 1, "'{part}' is in it once: {}", lines[0]);
    }
}

#[test]
fn it_is_ready_within_a_second_and_ctrl_c_ends_it_with_0() -> Result<()> {
    let place = Place::new()?;
    let lantern = Lantern::start(&place, &[])?;
    assert!(
        lantern.ready_after < Duration::from_secs(1),
        "{:?}",
        lantern.ready_after
    );
    assert_eq!(lantern.stop()?.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_second_ctrl_c_ends_it_at_once() -> Result<()> {
    let place = Place::new()?;
    let mut lantern = Lantern::start(&place, &[])?;
    // A request whose body never comes: the first Ctrl-C waits for it. The server says that it goes on
    // (RFC 9110, section 10.1.1) once it reads the body, so the signal cannot come before the request.
    let mut client = TcpStream::connect(&lantern.http)?;
    client.set_read_timeout(Some(Duration::from_secs(10)))?;
    client.write_all(
        b"POST /api/v1/write HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n",
    )?;
    let mut go_on = [0; 25];
    client.read_exact(&mut go_on)?;
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"half")?;
    lantern.signal(Signal::INT)?;
    let log = place.path("log.txt");
    eventually(
        "it says that it stops",
        Duration::from_secs(2),
        async || {
            let told = fs::read_to_string(&log)?.contains("once more ends at once");
            Ok(told.then_some(()))
        },
    )
    .await?;
    lantern.signal(Signal::INT)?;
    assert_eq!(lantern.wait(Duration::from_secs(2))?.code(), Some(130));
    Ok(())
}

#[test]
fn a_taken_port_is_named() -> Result<()> {
    let place = Place::new()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let output = lantern(
        &place,
        &["up", "--http", &address, "--kafka", "127.0.0.1:0"],
    )?;
    one_line(&output, 1, &[&address, "in use", "--http"]);
    let output = lantern(
        &place,
        &["up", "--kafka", &address, "--http", "127.0.0.1:0"],
    )?;
    one_line(&output, 1, &[&address, "in use", "--kafka"]);
    Ok(())
}

#[test]
fn a_data_directory_in_use_is_named_with_its_holder() -> Result<()> {
    let place = Place::new()?;
    let running = Lantern::start(&place, &[])?;
    let data = place.path("data");
    let data = data.to_string_lossy();
    let output = lantern(
        &place,
        &[
            "up",
            "--data-dir",
            &data,
            "--http",
            "127.0.0.1:0",
            "--kafka",
            "127.0.0.1:0",
        ],
    )?;
    one_line(
        &output,
        1,
        &[&data, &running.id().to_string(), "--data-dir"],
    );
    Ok(())
}

#[test]
fn a_data_directory_that_cannot_be_is_named() -> Result<()> {
    let place = Place::new()?;
    fs::write(place.path("file"), "not a directory")?;
    let data = place.path("file/data");
    let data = data.to_string_lossy();
    let output = lantern(
        &place,
        &[
            "up",
            "--data-dir",
            &data,
            "--http",
            "127.0.0.1:0",
            "--kafka",
            "127.0.0.1:0",
        ],
    )?;
    one_line(&output, 1, &[&data, "--data-dir"]);
    Ok(())
}

#[test]
fn wrong_words_end_with_2_and_show_the_way() -> Result<()> {
    let place = Place::new()?;
    for args in [
        &["up", "--no-such-flag"][..],
        &["no-such-command"],
        &["up", "--http", "nowhere"],
    ] {
        let output = lantern(&place, args)?;
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains("--help"), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn this_host_is_measured_within_seconds() -> Result<()> {
    let place = Place::new()?;
    let lantern = Lantern::start(&place, &[])?;
    let five = Duration::from_secs(10);
    for expression in [
        "node_load1",
        "count(node_cpu_seconds_total) > 0",
        "node_memory_MemAvailable_bytes > 0",
        "sum(rate(node_cpu_seconds_total[10s])) > 0",
        "process_resident_memory_bytes > 0",
    ] {
        eventually(expression, five, async || query(&lantern, expression).await).await?;
    }
    Ok(())
}

/// The store is kept between two runs; a file that is broken costs time and no sample.
#[tokio::test]
async fn samples_come_back_with_and_without_their_snapshot() -> Result<()> {
    let place = Place::new()?;
    let first = "min_over_time(timestamp(node_load1)[5m:1s])";
    let lantern = Lantern::start(&place, &[])?;
    let limit = Duration::from_secs(10);
    eventually("samples", limit, async || {
        query(&lantern, "count_over_time(node_load1[5m]) >= 3").await
    })
    .await?;
    let oldest = query(&lantern, first).await?;
    assert!(oldest.is_some());
    assert_eq!(lantern.stop()?.code(), Some(0));
    let snapshot = place.path("data/samples");
    let mut bytes = fs::read(&snapshot)?;
    assert!(bytes.len() > 10_000, "{} bytes", bytes.len());

    let lantern = Lantern::start(&place, &[])?;
    assert_eq!(query(&lantern, first).await?, oldest);
    let log = fs::read_to_string(place.path("log.txt"))?;
    assert!(!log.contains("passed over"), "{log}");
    lantern.kill9()?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&snapshot, &bytes)?;

    let lantern = Lantern::start(&place, &[])?;
    assert_eq!(query(&lantern, first).await?, oldest);
    let log = fs::read_to_string(place.path("log.txt"))?;
    assert!(log.contains("passed over"), "{log}");
    assert!(log.contains("it is broken"), "{log}");
    lantern.kill9()
}
