//! What a person sees when Lantern is ready, and what a program reads from the ready file.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::config::Config;

/// Where Lantern answers.
#[derive(Debug, Serialize)]
pub(crate) struct Addresses {
    pub(crate) http: SocketAddr,
    pub(crate) kafka: SocketAddr,
}

impl Addresses {
    /// Writes them as JSON; a reader sees all of the file or none.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let shown = path.display();
        let partly = path.with_extension("partly");
        std::fs::write(&partly, serde_json::to_vec(self)?)
            .and_then(|()| std::fs::rename(&partly, path))
            .with_context(|| format!("cannot write the ready file {shown}"))
    }
}

/// Says where Lantern is, what it loaded, and what to try next.
pub(crate) fn print(config: &Config, at: &Addresses, loaded: &str, took: Duration) {
    let millis = took.as_millis();
    let data = config.data_dir.display();
    let retention = config.series_retention;
    let mut logs = String::new();
    for dir in &config.log_dirs {
        let _ = write!(logs, "\n         {}, for logs", dir.display());
    }
    // As the user called it, so that the line can be typed as it stands.
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "lantern".to_owned());
    println!(
        "Lantern {} is ready after {millis} ms\n\n  \
           HTTP   http://{} (boards, Prometheus, OTLP metrics)\n  \
           Kafka  {}\n  \
           Data   {data} (samples in memory: {retention}){logs}\n  \
           Loaded {loaded}\n\n\
         Try next:\n  \
           open http://{}\n  \
           {program} demo orders{}\n  \
           kcat -b {} -L\n",
        env!("CARGO_PKG_VERSION"),
        at.http,
        at.kafka,
        at.http,
        if at.kafka.port() == 9092 {
            String::new()
        } else {
            format!(" --broker {}", at.kafka)
        },
        at.kafka,
    );
}
