//! `lantern demo`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, bail};
use demo::OrdersOptions;
use env::{Entropy, RealClock, RealEntropy};
use stdx::HumanDuration;
use tokio_util::sync::CancellationToken;

use crate::cli::{DemoFlags, Output};

/// Plays a demo, or lists them.
pub(crate) fn run(flags: DemoFlags) -> Result<ExitCode> {
    let Some(name) = &flags.name else {
        for demo in demo::demos() {
            println!(
                "{:10} {}\n{:10} {}\n",
                demo.name, demo.summary, "", demo.example
            );
        }
        return Ok(ExitCode::SUCCESS);
    };
    match name.as_str() {
        "orders" => orders(flags),
        other => bail!("there is no demo '{other}': `lantern demo` lists them"),
    }
}

fn orders(flags: DemoFlags) -> Result<ExitCode> {
    let seed = flags.seed.unwrap_or_else(|| {
        let mut random = [0; 8];
        RealEntropy.fill(&mut random);
        u64::from_le_bytes(random)
    });
    let options = OrdersOptions {
        kafka: flags.broker,
        rate: flags.rate,
        duration: flags.duration.map(HumanDuration::get),
        ..OrdersOptions::new(seed)
    };
    let json = flags.output == Output::Json;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let summary = runtime.block_on(async {
        let stop = CancellationToken::new();
        let told = stop.clone();
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                told.cancel();
            }
        });
        demo::play_orders(&options, Arc::new(RealClock::new()), stop, |progress| {
            if !json {
                println!("{progress}");
            }
        })
        .await
    })?;
    if json {
        println!("{}", serde_json::to_string(&summary)?);
    } else {
        println!("{summary}");
    }
    Ok(ExitCode::SUCCESS)
}
