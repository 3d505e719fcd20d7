//! What the watched folders put in force: read at the start, on a change, and on `/-/reload`.
//!
//! Each kind of resource is applied whole or not at all. At the start there is nothing in force that
//! could stay, so there the good files are taken and the wrong ones said: in the log, and by name in
//! `lantern_config_file_refused`, from which an alert is made.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use alerting::RuleFile;
use board::BoardFile;
use dispatch::ListenerFile;
use meter::MeterFile;
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use stdx::Counted;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::builtin;
use crate::config::Config;
use crate::resources::{self, File, Refusal, Watch};

/// The services that take resources.
pub(crate) struct Targets {
    pub(crate) boards: board::Handle,
    pub(crate) meters: meter::Handle,
    pub(crate) listeners: dispatch::Handle,
    pub(crate) alerting: alerting::Handle,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct FileLabel {
    file: String,
}

/// What the last reading found.
#[derive(Debug, Default)]
struct Found {
    /// What is in force, in words.
    summary: String,
    refused: BTreeMap<FileLabel, Stage>,
}

/// Good files, and where they are from.
struct Files {
    meters: Vec<MeterFile>,
    listeners: Vec<ListenerFile>,
    boards: Vec<BoardFile>,
    from: String,
    rules: Vec<RuleFile>,
    rules_from: String,
}

/// Where a file was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// By itself, at each reading.
    Read,
    /// Beside the others, when all were to be put in force.
    Applied,
}

/// The watched folders and what of them is in force.
pub(crate) struct Loaded {
    conf_dir: PathBuf,
    rules_dir: PathBuf,
    targets: Targets,
    /// One reload at a time.
    found: Mutex<Found>,
    successful: Gauge,
    refused: Family<FileLabel, Gauge>,
    reloads: Counter,
}

impl Loaded {
    /// Nothing in force yet.
    pub(crate) fn new(config: &Config, targets: Targets, registry: &mut Registry) -> Arc<Self> {
        let (successful, reloads) = (Gauge::default(), Counter::default());
        let refused = Family::<FileLabel, Gauge>::default();
        registry.register(
            "lantern_config_file_refused",
            "1 for each file in the watched folders that is refused",
            refused.clone(),
        );
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
            found: Mutex::default(),
            successful,
            refused,
            reloads,
        })
    }

    /// What is in force, for people.
    pub(crate) fn summary(&self) -> String {
        self.found.lock().summary.clone()
    }

    /// Takes every good file; says what is wrong with the others. The watch begins before the files
    /// are read, so that no change falls between.
    pub(crate) fn load_at_start(&self) -> Watch {
        let watch = Watch::new(vec![self.conf_dir.clone(), self.rules_dir.clone()]);
        if let Err(problems) = self.load(true) {
            for Refusal { text, .. } in problems {
                error!(problem = text, "A file is not in force.");
            }
        }
        watch
    }

    /// Reads everything again; on any problem nothing changes.
    fn reload(&self) -> Result<(), Vec<Refusal>> {
        self.reloads.inc();
        self.load(false)
    }

    fn load(&self, partly: bool) -> Result<(), Vec<Refusal>> {
        let mut found = self.found.lock();
        let mut problems = Vec::new();
        let files = self.read(&mut problems);
        let read = problems.len();
        let applies = problems.is_empty() || partly;
        if applies {
            found.summary = self.apply(files, &mut problems);
        }
        self.successful.set(i64::from(problems.is_empty()));
        let (by_reading, by_applying) = problems.split_at(read);
        self.name(by_reading, applies.then_some(by_applying), &mut found);
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    /// Says by file which ones are refused. What was refused when it was applied stays so until all
    /// is applied again.
    fn name(&self, by_reading: &[Refusal], by_applying: Option<&[Refusal]>, found: &mut Found) {
        let labels = |problems: &[Refusal], stage: Stage| -> Vec<(FileLabel, Stage)> {
            let label = |problem: &Refusal| FileLabel {
                file: problem.file.clone(),
            };
            problems.iter().map(|one| (label(one), stage)).collect()
        };
        let mut refused = BTreeMap::new();
        if let Some(problems) = by_applying {
            refused.extend(labels(problems, Stage::Applied));
        } else {
            let kept = found.refused.iter();
            let kept = kept.filter(|(_, stage)| **stage == Stage::Applied);
            refused.extend(kept.map(|(label, stage)| (label.clone(), *stage)));
        }
        refused.extend(labels(by_reading, Stage::Read));
        for gone in found.refused.keys() {
            if !refused.contains_key(gone) {
                // The agent ends a series that is gone at once, and with it the alert.
                self.refused.remove(gone);
            }
        }
        for label in refused.keys() {
            self.refused.get_or_create(label).set(1);
        }
        found.refused = refused;
    }

    /// The good files of both folders.
    fn read(&self, problems: &mut Vec<Refusal>) -> Files {
        let folder = self.conf_dir.display();
        let (resources, from) = match resources::read(&self.conf_dir) {
            Ok(Some(files)) => (files, folder.to_string()),
            Ok(None) => (builtin::resources(), "built in".to_owned()),
            Err(error) => {
                let text = format!("cannot read {folder}: {error}");
                problems.push(Refusal::new(folder, text));
                (Vec::new(), String::new())
            }
        };
        let mut sorted = resources::by_kind(resources);
        problems.append(&mut sorted.problems);
        let mut meters: Vec<MeterFile> = Vec::new();
        for File { path, text } in sorted.meters {
            let file = MeterFile { path, text };
            match file.parse() {
                Ok(_) => meters.push(file),
                Err(found) => problems.extend(found.iter().map(Refusal::from)),
            }
        }
        let mut listeners: Vec<ListenerFile> = Vec::new();
        let mut names = std::collections::BTreeSet::new();
        for File { path, text } in sorted.listeners {
            let file = ListenerFile { path, text };
            match self.targets.listeners.check(&file) {
                // The first of a name is good: a second one must not take it, and all others, down.
                Ok(name) if names.contains(&name) => {
                    let shown = file.path.display();
                    let text = format!("{shown}: metadata.name: listener '{name}' comes twice");
                    problems.push(Refusal::new(shown, text));
                }
                Ok(name) => {
                    names.insert(name);
                    listeners.push(file);
                }
                Err(found) => problems.extend(found.iter().map(Refusal::from)),
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
                Err(found) => problems.extend(found.iter().map(Refusal::from)),
            }
        }
        let (rules, rules_from) = self.rules(problems);
        Files {
            meters,
            listeners,
            boards,
            from,
            rules,
            rules_from,
        }
    }

    /// Puts files in force; answers in words what is.
    fn apply(&self, files: Files, problems: &mut Vec<Refusal>) -> String {
        let (boards, meters) = (files.boards.len(), files.meters.len());
        if let Err(found) = self.targets.meters.apply(&files.meters) {
            problems.extend(found.iter().map(Refusal::from));
        }
        let listeners = files.listeners.len();
        if let Err(found) = self.targets.listeners.apply(&files.listeners) {
            problems.extend(found.iter().map(Refusal::from));
        }
        let applied = self.targets.boards.apply(files.boards);
        problems.extend(applied.problems.iter().map(Refusal::from));
        let complete = problems.is_empty();
        let report = match self.targets.alerting.load(&files.rules, complete) {
            Ok(report) => report,
            Err(found) => {
                problems.extend(found.iter().map(Refusal::from));
                alerting::Report::default()
            }
        };
        let (from, rules_from) = (files.from, files.rules_from);
        format!(
            "{}, {}, {} ({from}), {} ({rules_from})",
            Counted(boards, "board"),
            Counted(meters, "meter"),
            Counted(listeners, "listener"),
            Counted(report.rules, "rule")
        )
    }

    /// The rule files that are good, and where they are from.
    fn rules(&self, problems: &mut Vec<Refusal>) -> (Vec<RuleFile>, String) {
        let folder = &self.rules_dir;
        let (files, from) = match resources::read(folder) {
            Ok(Some(files)) => (files, folder.display().to_string()),
            Ok(None) => (builtin::rules(), "built in".to_owned()),
            Err(error) => {
                let text = format!("cannot read {}: {error}", folder.display());
                problems.push(Refusal::new(folder.display(), text));
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
                Err(found) => problems.extend(found.iter().map(Refusal::from)),
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
                    for Refusal { text, .. } in problems {
                        error!(
                            problem = text,
                            "A file is refused; what was in force stays."
                        );
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
            Box::pin(async move { loaded.reload().map_err(|problems| listed(&problems)) })
        })
    }
}

/// One line for each.
fn listed(problems: &[Refusal]) -> String {
    let lines: Vec<&str> = problems
        .iter()
        .map(|problem| problem.text.as_str())
        .collect();
    lines.join("\n")
}

impl From<&board::Problem> for Refusal {
    fn from(problem: &board::Problem) -> Self {
        Self::new(&problem.file, problem)
    }
}

impl From<&meter::Problem> for Refusal {
    fn from(problem: &meter::Problem) -> Self {
        Self::new(problem.path.display(), problem)
    }
}

impl From<&dispatch::Problem> for Refusal {
    fn from(problem: &dispatch::Problem) -> Self {
        Self::new(problem.path.display(), problem)
    }
}

impl From<&alerting::Problem> for Refusal {
    fn from(problem: &alerting::Problem) -> Self {
        Self::new(&problem.file, problem)
    }
}
