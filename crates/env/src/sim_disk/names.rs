//! The directories of the simulated disk: names readers see, names that are durable, and the changes
//! in between. A rename within one directory is one change: a crash leaves the old name or the new.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::Survival;
use crate::disk::Entry;
use crate::entropy::SplitMix;

/// What a name stands for: an index into the files or the directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    File(usize),
    Directory(usize),
}

#[derive(Debug, Clone)]
enum Pending {
    Add(String, Node),
    Remove(String),
    Rename {
        from: String,
        to: String,
        node: Node,
    },
}

impl Pending {
    fn apply(&self, names: &mut BTreeMap<String, Node>) {
        match self {
            Self::Add(name, node) => {
                names.insert(name.clone(), *node);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
            Self::Rename { from, to, node } => {
                if names.get(from) == Some(node) {
                    names.remove(from);
                }
                names.insert(to.clone(), *node);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Directory {
    cached: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
    pending: Vec<Pending>,
}

impl Directory {
    fn change(&mut self, change: Pending) {
        change.apply(&mut self.cached);
        self.pending.push(change);
    }

    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    fn crash(&mut self, survival: Survival, random: &mut SplitMix) {
        let pending = std::mem::take(&mut self.pending);
        let survival = match survival {
            Survival::Any => match random.below(4) {
                0 => Survival::Nothing,
                1 => Survival::Everything,
                2 => Survival::Prefix,
                _ => Survival::Scattered,
            },
            chosen => chosen,
        };
        let kept = match survival {
            Survival::Nothing | Survival::Any => 0,
            Survival::Everything | Survival::Scattered => pending.len(),
            Survival::Prefix => random.pick(pending.len() + 1),
        };
        for change in pending.iter().take(kept) {
            if survival != Survival::Scattered || random.chance(50) {
                change.apply(&mut self.durable);
            }
        }
        self.cached = self.durable.clone();
    }
}

/// All directories; the first is the root. Indexes are never used twice.
#[derive(Debug)]
pub(super) struct Names {
    directories: Vec<Directory>,
}

impl Names {
    pub(super) fn new() -> Self {
        Self {
            directories: vec![Directory::default()],
        }
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<Node> {
        let mut node = Node::Directory(0);
        for name in parts(path) {
            let Node::Directory(directory) = node else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            node = *self.directories[directory]
                .cached
                .get(name)
                .ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    fn find_directory(&self, path: &Path) -> io::Result<usize> {
        match self.find(path)? {
            Node::Directory(directory) => Ok(directory),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The directory a path lies in, and its name there.
    fn place<'a>(&self, path: &'a Path) -> io::Result<(usize, &'a str)> {
        let name = parts(path).last().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.find_directory(parent)?, name))
    }

    pub(super) fn add_file(&mut self, path: &Path, file: usize) -> io::Result<()> {
        let (directory, name) = self.place(path)?;
        self.directories[directory].change(Pending::Add(name.to_owned(), Node::File(file)));
        Ok(())
    }

    /// Durable at once, as [`crate::Disk::create_dir_all`] promises.
    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut at = 0;
        for name in parts(path) {
            at = match self.directories[at].cached.get(name) {
                Some(Node::Directory(directory)) => *directory,
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => {
                    let made = self.directories.len();
                    self.directories.push(Directory::default());
                    self.directories[at]
                        .change(Pending::Add(name.to_owned(), Node::Directory(made)));
                    self.directories[at].sync();
                    made
                }
            };
        }
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let directory = self.find_directory(path)?;
        let entry = |(name, node): (&String, &Node)| Entry {
            name: name.clone(),
            is_dir: matches!(node, Node::Directory(_)),
        };
        Ok(self.directories[directory]
            .cached
            .iter()
            .map(entry)
            .collect())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find(from)?;
        let (source, old) = self.place(from)?;
        let (target, new) = self.place(to)?;
        match (node, self.directories[target].cached.get(new)) {
            (Node::File(_), Some(Node::Directory(_))) => {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            (Node::Directory(_), Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            _ => {}
        }
        if source == target {
            self.directories[source].change(Pending::Rename {
                from: old.to_owned(),
                to: new.to_owned(),
                node,
            });
        } else {
            self.directories[target].change(Pending::Add(new.to_owned(), node));
            self.directories[source].change(Pending::Remove(old.to_owned()));
        }
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        if let Node::Directory(_) = self.find(path)? {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let (directory, name) = self.place(path)?;
        self.directories[directory].change(Pending::Remove(name.to_owned()));
        Ok(())
    }

    pub(super) fn remove_dir_all(&mut self, path: &Path) -> io::Result<()> {
        match self.find(path) {
            Ok(Node::Directory(_)) => {}
            Ok(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        let (directory, name) = self.place(path)?;
        self.directories[directory].change(Pending::Remove(name.to_owned()));
        Ok(())
    }

    pub(super) fn sync(&mut self, path: &Path) -> io::Result<()> {
        let directory = self.find_directory(path)?;
        self.directories[directory].sync();
        Ok(())
    }

    pub(super) fn write_back(&mut self) {
        self.directories.iter_mut().for_each(Directory::sync);
    }

    pub(super) fn crash(&mut self, survival: Survival, random: &mut SplitMix) {
        for directory in &mut self.directories {
            directory.crash(survival, random);
        }
    }

    /// Every file that has a name, in the order of paths.
    pub(super) fn files(&self) -> impl Iterator<Item = (PathBuf, usize)> {
        let mut waiting = vec![(PathBuf::from("/"), Node::Directory(0))];
        std::iter::from_fn(move || {
            loop {
                match waiting.pop()? {
                    (path, Node::File(file)) => return Some((path, file)),
                    (path, Node::Directory(directory)) => {
                        for (name, node) in self.directories[directory].cached.iter().rev() {
                            waiting.push((path.join(name), *node));
                        }
                    }
                }
            }
        })
    }
}

/// The names of a path. There is no `..` on this disk.
fn parts(path: &Path) -> impl Iterator<Item = &str> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    })
}
