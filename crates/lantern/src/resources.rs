//! The watched folders: which files they hold, and when they change. What kind each is, `kinds` knows.
//!
//! A change is noticed through the kernel's file notifications and, for folders that do not exist yet
//! or file systems that do not notify, by a look every two seconds. A set of files is applied whole or
//! not at all; what is in force stays when one is wrong.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tracing::warn;

mod kinds;

pub(crate) use kinds::{File, Refusal, by_kind};

/// How long to wait after a notification for an editor to finish writing.
const SETTLE: Duration = Duration::from_millis(50);
/// How often folders are looked at without a notification.
const LOOK: Duration = Duration::from_secs(2);
/// Notifications that wait; one is enough to look.
const NOTICES_MAX: usize = 1;

/// All YAML files below `folder` in order of their paths; `None` when there is no such folder.
pub(crate) fn read(folder: &Path) -> std::io::Result<Option<Vec<File>>> {
    let mut paths = Vec::new();
    match list(folder, &mut |path, _| paths.push(path)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        result => result?,
    }
    paths.sort();
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        files.push(File {
            text: std::fs::read_to_string(&path)?,
            path,
        });
    }
    Ok(Some(files))
}

/// Calls `each` with every YAML file below a folder. Hidden files (an editor's) are passed over.
fn list(folder: &Path, each: &mut dyn FnMut(PathBuf, &std::fs::Metadata)) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        // Follows links: a mounted ConfigMap is made of them.
        let Ok(metadata) = std::fs::metadata(&path) else {
            continue;
        };
        let yaml = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
        if hidden {
            continue;
        }
        if metadata.is_dir() {
            list(&path, each)?;
        } else if yaml {
            each(path, &metadata);
        }
    }
    Ok(())
}

/// What changes when a file below a folder does.
type Fingerprint = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

fn fingerprint(folders: &[PathBuf]) -> Fingerprint {
    let mut print = Fingerprint::new();
    for folder in folders {
        if folder.is_dir() {
            print.insert(folder.clone(), (None, 0));
        }
        // A folder that cannot be listed has nothing to reload; reading it says so.
        let _ = list(folder, &mut |path, metadata| {
            print.insert(path, (metadata.modified().ok(), metadata.len()));
        });
    }
    print
}

/// Whether to look at the folders. Looking opens and closes them, which must not lead to another look.
fn is_change(event: &notify::Result<notify::Event>) -> bool {
    !event.as_ref().is_ok_and(|event| event.kind.is_access())
}

/// Waits for changes below folders.
pub(crate) struct Watch {
    folders: Vec<PathBuf>,
    seen: Fingerprint,
    notices: mpsc::Receiver<()>,
    watcher: Option<RecommendedWatcher>,
    watched: Vec<PathBuf>,
}

impl Watch {
    /// Watches from now on.
    pub(crate) fn new(folders: Vec<PathBuf>) -> Self {
        let (sender, notices) = mpsc::channel(NOTICES_MAX);
        let watcher = notify::recommended_watcher(move |event| {
            if is_change(&event) {
                // Full means that somebody will look anyway.
                let _ = sender.try_send(());
            }
        });
        let watcher = watcher
            .map_err(|error| warn!(%error, "No file notifications; folders are looked at instead."))
            .ok();
        let seen = fingerprint(&folders);
        let mut watch = Self {
            folders,
            seen,
            notices,
            watcher,
            watched: Vec::new(),
        };
        watch.attach();
        watch
    }

    fn attach(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        self.watched.retain(|folder| folder.is_dir());
        for folder in &self.folders {
            if folder.is_dir()
                && !self.watched.contains(folder)
                && watcher.watch(folder, RecursiveMode::Recursive).is_ok()
            {
                self.watched.push(folder.clone());
            }
        }
    }

    /// Ready when a file came, went or changed since the last time.
    pub(crate) async fn changed(&mut self) {
        loop {
            match tokio::time::timeout(LOOK, self.notices.recv()).await {
                Ok(Some(())) => tokio::time::sleep(SETTLE).await,
                Ok(None) => tokio::time::sleep(LOOK).await,
                Err(_) => {}
            }
            self.attach();
            let print = fingerprint(&self.folders);
            if print != self.seen {
                self.seen = print;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_in_order_and_sorted_by_kind() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("boards/b.yaml", "apiVersion: lantern/v1\nkind: Board\n");
        write("a.yml", "apiVersion: lantern/v1\nkind: Meter\n");
        write(".hidden.yaml", "nonsense: [");
        write("notes.txt", "nonsense: [");
        write("c.yaml", "apiVersion: v2\nkind: Board\n");
        write("d.yaml", "apiVersion: lantern/v1\nkind: Bord\n");
        write("e.yaml", "apiVersion: [\n");
        let files = read(folder.path()).unwrap().unwrap();
        assert_eq!(files.len(), 5);
        let sorted = by_kind(files);
        assert_eq!((sorted.boards.len(), sorted.meters.len()), (1, 1));
        assert_eq!(sorted.problems.len(), 3);
        assert!(
            sorted.problems[1].text.contains("Bord"),
            "{:?}",
            sorted.problems
        );
        assert!(sorted.problems[1].file.ends_with("d.yaml"));
        assert_eq!(read(&folder.path().join("none")).unwrap(), None);
    }

    #[test]
    fn looking_is_no_change() {
        use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind};
        let event = |kind| is_change(&Ok(notify::Event::new(kind)));
        assert!(!event(EventKind::Access(AccessKind::Open(AccessMode::Any))));
        assert!(!event(EventKind::Access(AccessKind::Close(
            AccessMode::Read
        ))));
        assert!(
            event(EventKind::Modify(ModifyKind::Any)) && event(EventKind::Create(CreateKind::Any))
        );
        assert!(is_change(&Err(notify::Error::generic("events were lost"))));
    }

    #[tokio::test]
    async fn a_change_is_noticed_also_in_a_folder_that_comes_later() {
        let folder = tempfile::tempdir().unwrap();
        let later = folder.path().join("rules");
        let mut watch = Watch::new(vec![later.clone()]);
        std::fs::create_dir(&later).unwrap();
        watch.changed().await;
        std::fs::write(later.join("a.yaml"), "groups: []").unwrap();
        watch.changed().await;
        std::fs::remove_file(later.join("a.yaml")).unwrap();
        watch.changed().await;
    }
}
