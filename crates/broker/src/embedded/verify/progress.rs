//! How far an offline check is, for whoever shows it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use env::Overlay;
use parking_lot::Mutex;

/// How far [`verify`](super::verify) is. Looked at from another thread.
#[derive(Debug, Default)]
pub struct VerifyProgress {
    total: AtomicU64,
    done: AtomicU64,
    reading: Mutex<PathBuf>,
    /// While a start is tried: what it reads.
    trying: Mutex<Option<Overlay>>,
}

/// One look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifyStage {
    /// A start is tried.
    Trying {
        /// Bytes it read so far; nobody knows how many there will be.
        read: u64,
    },
    /// Every byte is looked at.
    Reading {
        /// Bytes looked at.
        done: u64,
        /// Bytes there are.
        total: u64,
        /// The file that was begun last.
        file: PathBuf,
    },
}

impl VerifyProgress {
    /// Where it is now.
    pub fn stage(&self) -> VerifyStage {
        if let Some(overlay) = &*self.trying.lock() {
            let read = overlay.read_bytes();
            return VerifyStage::Trying { read };
        }
        VerifyStage::Reading {
            done: self.done.load(Ordering::Relaxed),
            total: self.total.load(Ordering::Relaxed),
            file: self.reading.lock().clone(),
        }
    }

    pub(super) fn try_on(&self, overlay: &Overlay) {
        *self.trying.lock() = Some(overlay.clone());
    }

    pub(super) fn read_all(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
        *self.trying.lock() = None;
    }

    pub(super) fn begin(&self, file: &Path) {
        file.clone_into(&mut self.reading.lock());
    }

    pub(super) fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }
}
