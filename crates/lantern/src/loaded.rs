//! What the watched folders put in force: read at the start, on a change, and on `/-/reload`.
//!
//! Each kind of resource is applied whole or not at all. At the start there is nothing in force that
//! could stay, so there the good files are taken and the wrong ones said.

use std::path::PathBuf;
use std::sync::Arc;

use alerting::RuleFile;
use board::BoardFile;
use meter::MeterFile;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::builtin;
use crate::config::Config;
use crate::resources::{self, File, Watch};

/// The services that take resources.
pub(crate) struct Targets {
    pub(crate) boards: board::Handle,
    pub(crate) meters: meter::Handle,
    pub(crate) alerting: alerting::Handle,
}

/// The watched folders and what of them is in force.
pub(crate) struct Loaded {
    conf_dir: PathBuf,
    rules_dir: PathBuf,
    targets: Targets,
    /// One reload at a time; holds what is in force in words.
    summary: Mutex<String>,
    successful: Gauge,
    reloads: Counter,
}

impl Loaded {
    /// Nothing in force yet.
    pub(crate) fn new(config: &Config, targets: Targets, registry: &mut Registry) -> Arc<Self> {
        let (successful, reloads) = (Gauge::default(), Counter::default());
        registry.register(
            "lantern_config_last_reload_successful",
            "1 when the files in the watched folders are all in force",
            successful.clone(),
        );
        registry.register(
            "lantern_config_reloads",
            "Times files were read again",
            reloads.clone(),
        );
        Arc::new(Self {
            conf_dir: config.conf_dir.clone(),
            rules_dir: config.rules_dir.clone(),
            targets,
            summary: Mutex::default(),
            successful,
            reloads,
        })
    }

    /// What is in force, for people.
    pub(crate) fn summary(&self) -> String {
        self.summary.lock().clone()
    }

    /// Takes every good file; says what is wrong with the others. The watch begins before the files
    /// are read, so that no change falls between.
    pub(crate) fn load_at_start(&self) -> Watch {
        let watch = Watch::new(vec![self.conf_dir.clone(), self.rules_dir.clone()]);
        if let Err(problems) = self.load(true) {
            for problem in problems {
                error!(problem, "A file is not in force.");
            }
        }
        watch
    }

    /// Reads everything again; on any problem nothing changes.
    fn reload(&self) -> Result<(), Vec<String>> {
        self.reloads.inc();
        self.load(false)
    }

    fn load(&self, partly: bool) -> Result<(), Vec<String>> {
        let mut summary = self.summary.lock();
        let mut problems = Vec::new();
        let folder = self.conf_dir.display();
        let (files, from) = match resources::read(&self.conf_dir) {
            Ok(Some(files)) => (files, folder.to_string()),
            Ok(None) => (builtin::resources(), "built in".to_owned()),
            Err(error) => {
                self.successful.set(0);
                return Err(vec![format!("cannot read {folder}: {error}")]);
            }
        };
        let mut sorted = resources::by_kind(files);
        problems.append(&mut sorted.problems);
        let mut meters: Vec<MeterFile> = Vec::new();
        for File { path, text } in sorted.meters {
            let file = MeterFile { path, text };
            match file.parse() {
                Ok(_) => meters.push(file),
                Err(found) => problems.extend(found.iter().map(ToString::to_string)),
            }
        }
        let mut boards: Vec<BoardFile> = Vec::new();
        for File { path, text } in sorted.boards {
            let file = BoardFile {
                path: path.display().to_string(),
                text,
            };
            match board::Handle::check(&file) {
                Ok(()) => boards.push(file),
                Err(found) => problems.extend(found.iter().map(ToString::to_string)),
            }
        }
        let (rules, rules_from) = self.rules(&mut problems);
        if problems.is_empty() || partly {
            let (board_count, meter_count) = (boards.len(), meters.len());
            if let Err(found) = self.targets.meters.apply(&meters) {
                problems.extend(found.iter().map(ToString::to_string));
            }
            let applied = self.targets.boards.apply(boards);
            problems.extend(applied.problems.iter().map(ToString::to_string));
            let complete = problems.is_empty();
            let report = match self.targets.alerting.load(&rules, complete) {
                Ok(report) => report,
                Err(found) => {
                    problems.extend(found.iter().map(ToString::to_string));
                    alerting::Report::default()
                }
            };
            *summary = format!(
                "{board_count} boards, {meter_count} meters ({from}), {} rules ({rules_from})",
                report.rules
            );
        }
        self.successful.set(i64::from(problems.is_empty()));
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    /// The rule files that are good, and where they are from.
    fn rules(&self, problems: &mut Vec<String>) -> (Vec<RuleFile>, String) {
        let folder = &self.rules_dir;
        let (files, from) = match resources::read(folder) {
            Ok(Some(files)) => (files, folder.display().to_string()),
            Ok(None) => (builtin::rules(), "built in".to_owned()),
            Err(error) => {
                problems.push(format!("cannot read {}: {error}", folder.display()));
                return (Vec::new(), String::new());
            }
        };
        let mut good = Vec::new();
        for File { path, text } in files {
            let name = path
                .strip_prefix(folder)
                .unwrap_or(&path)
                .display()
                .to_string();
            let file = RuleFile { path, name, text };
            match alerting::check(std::slice::from_ref(&file)) {
                Ok(_) => good.push(file),
                Err(found) => problems.extend(found.iter().map(ToString::to_string)),
            }
        }
        (good, from)
    }

    /// Reloads when a file changes, until `shutdown`.
    pub(crate) async fn follow(self: Arc<Self>, mut watch: Watch, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = watch.changed() => {}
            }
            match self.reload() {
                Ok(()) => info!(loaded = self.summary(), "Files changed and are in force."),
                Err(problems) => {
                    for problem in problems {
                        error!(problem, "A file is refused; what was in force stays.");
                    }
                }
            }
        }
    }

    /// What `/-/reload` calls.
    pub(crate) fn reload_on_request(
        self: &Arc<Self>,
    ) -> Box<dyn Fn() -> http_edge::Reloaded + Send + Sync> {
        let loaded = Arc::clone(self);
        Box::new(move || {
            let loaded = Arc::clone(&loaded);
            Box::pin(async move { loaded.reload().map_err(|problems| problems.join("\n")) })
        })
    }
}
