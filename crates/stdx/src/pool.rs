//! Byte buffers that are used again: a bounded pool, and `Bytes` that go back to it when the last reader lets go.
//!
//! A large buffer that is new costs more than what is copied into it: its pages come from the kernel one fault at a time,
//! and go back when it is freed. One that was used before is there.
//!
//! Buffers come in sizes of quarter octaves from 256 bytes to 4 MiB, so at most a fifth of one lies
//! idle; what is larger, or finds the pool empty, is allocated. What comes back beyond the pool's bound is freed.
//! [`BufferPool::release_unused`], called now and then, frees what the time since the last call did not need.
//!
//! Invariants: idle buffers never have more bytes than the bound; a buffer is never in two hands; its bytes are always
//! initialised, of whatever was there before: who takes one fills what it shows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::quarters;

/// The smallest buffer.
const BUFFER_BYTES_MIN: usize = 256;

/// The largest buffer that is pooled: the largest reads of a log are of 4 MiB and somewhat more.
const BUFFER_BYTES_MAX: usize = 5 << 20;

/// A pool of buffers. Clones are the same pool; two pools are equal when they are the same.
#[derive(Clone)]
pub struct BufferPool {
    inside: Arc<Inside>,
}

struct Inside {
    /// Bytes of idle buffers at most.
    bound: usize,
    idle: AtomicUsize,
    /// By size, each with a lock of its own.
    classes: BTreeMap<usize, Mutex<Class>>,
    reused: AtomicU64,
    made: AtomicU64,
    freed: AtomicU64,
}

#[derive(Default)]
struct Class {
    free: Vec<Vec<u8>>,
    /// The fewest that were free since unused ones were last released.
    unused: usize,
}

/// What a pool did so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolCounts {
    /// Buffers taken that had been used before.
    pub reused: u64,
    /// Buffers taken that were allocated.
    pub made: u64,
    /// Buffers that were freed, since there was no room or no use for them.
    pub freed: u64,
    /// Bytes of buffers that wait to be used again.
    pub idle_bytes: usize,
}

impl BufferPool {
    /// A pool that keeps at most so many bytes in buffers nobody uses; 0 keeps none.
    pub fn new(bound: usize) -> Self {
        let first = quarters::index_of(BUFFER_BYTES_MIN as u64);
        let last = quarters::index_of(BUFFER_BYTES_MAX as u64);
        let sizes =
            (first..=last).filter_map(|index| usize::try_from(quarters::size_of(index)).ok());
        Self {
            inside: Arc::new(Inside {
                bound,
                idle: AtomicUsize::new(0),
                classes: sizes.map(|size| (size, Mutex::default())).collect(),
                reused: AtomicU64::new(0),
                made: AtomicU64::new(0),
                freed: AtomicU64::new(0),
            }),
        }
    }

    /// A buffer with room for at least so many bytes, showing none.
    pub fn take(&self, bytes: usize) -> PoolBuffer {
        PoolBuffer {
            buffer: self.inside.take(bytes),
            len: 0,
            pool: Arc::clone(&self.inside),
        }
    }

    /// A buffer that shows so many bytes, of any content.
    pub fn take_filled(&self, bytes: usize) -> PoolBuffer {
        let mut buffer = self.take(bytes);
        buffer.len = bytes;
        buffer
    }

    /// What it did so far.
    pub fn counts(&self) -> PoolCounts {
        let inside = &*self.inside;
        PoolCounts {
            reused: inside.reused.load(Ordering::Relaxed),
            made: inside.made.load(Ordering::Relaxed),
            freed: inside.freed.load(Ordering::Relaxed),
            idle_bytes: inside.idle.load(Ordering::Relaxed),
        }
    }

    /// Frees the buffers that were idle all the time since the last call.
    pub fn release_unused(&self) {
        for (size, class) in &self.inside.classes {
            let released: Vec<Vec<u8>> = {
                let mut class = class.lock();
                let unused = class.unused.min(class.free.len());
                let released = class.free.drain(..unused).collect();
                class.unused = class.free.len();
                released
            };
            self.inside
                .idle
                .fetch_sub(size * released.len(), Ordering::Relaxed);
            self.inside
                .freed
                .fetch_add(released.len() as u64, Ordering::Relaxed);
        }
    }
}

impl Inside {
    fn take(&self, bytes: usize) -> Vec<u8> {
        let class = self.classes.range(bytes..).next();
        if let Some((size, class)) = class {
            let free = {
                let mut class = class.lock();
                let free = class.free.pop();
                class.unused = class.unused.min(class.free.len());
                free
            };
            if let Some(buffer) = free {
                self.idle.fetch_sub(*size, Ordering::Relaxed);
                self.reused.fetch_add(1, Ordering::Relaxed);
                return buffer;
            }
        }
        self.made.fetch_add(1, Ordering::Relaxed);
        vec![0; class.map_or(bytes, |(size, _)| *size)]
    }

    /// Takes a buffer back, or frees it.
    fn give(&self, buffer: Vec<u8>) {
        let size = buffer.len();
        if let Some(class) = self.classes.get(&size) {
            let room = self
                .idle
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |idle| {
                    idle.checked_add(size).filter(|sum| *sum <= self.bound)
                });
            if room.is_ok() {
                class.lock().free.push(buffer);
                return;
            }
        }
        self.freed.fetch_add(1, Ordering::Relaxed);
    }
}

impl PartialEq for BufferPool {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inside, &other.inside)
    }
}

impl Eq for BufferPool {}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts();
        f.debug_struct("BufferPool")
            .field("bound", &self.inside.bound)
            .field("counts", &counts)
            .finish()
    }
}

/// A buffer in use; goes back to its pool when it is dropped, or when the last of the [`Bytes`] made of it is.
pub struct PoolBuffer {
    /// As long as its class, initialised.
    buffer: Vec<u8>,
    /// Bytes shown.
    len: usize,
    pool: Arc<Inside>,
}

impl PoolBuffer {
    /// Bytes shown.
    pub fn len(&self) -> usize {
        self.len
    }

    /// It shows nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds bytes at the end. Beyond its room it moves to a larger buffer.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if end > self.buffer.len() {
            let mut larger = self.pool.take(end.max(self.buffer.len() * 2));
            let (shown, _) = larger.split_at_mut(self.len);
            shown.copy_from_slice(self.as_ref());
            self.pool.give(std::mem::replace(&mut self.buffer, larger));
        }
        if let Some(room) = self.buffer.get_mut(self.len..end) {
            room.copy_from_slice(bytes);
        }
        self.len = end;
    }

    /// What it shows, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.buffer.get_mut(..self.len).unwrap_or_default()
    }

    /// What it shows, to be shared.
    pub fn freeze(self) -> Bytes {
        if self.is_empty() {
            return Bytes::new();
        }
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for PoolBuffer {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }
}

impl Drop for PoolBuffer {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.buffer));
    }
}

impl fmt::Debug for PoolBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuffer")
            .field("len", &self.len)
            .field("room", &self.buffer.len())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_buffer_comes_back_when_the_last_reader_lets_go_and_not_before() {
        let pool = BufferPool::new(1 << 20);
        let mut buffer = pool.take(1_000);
        buffer.extend_from_slice(b"0123456789");
        let whole = buffer.freeze();
        let part = whole.slice(2..4);
        drop(whole);
        assert_eq!(pool.counts().idle_bytes, 0);
        assert_eq!(&part[..], b"23");
        drop(part);
        assert_eq!(pool.counts().idle_bytes, 1_024);
        assert_eq!(pool.take_filled(900).len(), 900);
        let counts = pool.counts();
        assert_eq!((counts.made, counts.reused, counts.freed), (1, 1, 0));
    }

    #[test]
    fn what_is_beyond_the_bound_or_unused_is_freed() {
        let pool = BufferPool::new(3_000);
        let taken: Vec<_> = (0..4).map(|_| pool.take(1_024)).collect();
        drop(taken);
        let counts = pool.counts();
        assert_eq!((counts.idle_bytes, counts.freed), (2_048, 2));
        pool.release_unused();
        drop(pool.take(1_000));
        pool.release_unused();
        assert_eq!(pool.counts().idle_bytes, 1_024, "one of two was needed");
        pool.release_unused();
        assert_eq!(pool.counts().idle_bytes, 0);
        drop(pool.take(BUFFER_BYTES_MAX + 1));
        assert_eq!(pool.counts().idle_bytes, 0, "too large to be kept");
        let none = BufferPool::new(0);
        drop(none.take(10).freeze());
        drop(none.take(10));
        assert_eq!((none.counts().reused, none.counts().freed), (0, 2));
    }

    proptest! {
        #[test]
        fn buffers_show_what_was_put_there_and_never_exceed_the_bound(
            bound in 0_usize..40_000,
            steps in prop::collection::vec((0_usize..9_000, 0_usize..9_000, any::<u8>(), 0_usize..6), 1..60),
        ) {
            let pool = BufferPool::new(bound);
            let mut held: Vec<(Bytes, Vec<u8>)> = Vec::new();
            for (room, length, byte, drops) in steps {
                let mut buffer = pool.take(room);
                let content = vec![byte; length];
                let (first, second) = content.split_at(length / 2);
                buffer.extend_from_slice(first);
                buffer.extend_from_slice(second);
                prop_assert_eq!(buffer.as_mut_slice(), &content[..]);
                held.push((buffer.freeze(), content));
                for _ in 0..drops.min(held.len()) {
                    let at = usize::from(byte) % held.len();
                    held.swap_remove(at);
                }
                prop_assert!(pool.counts().idle_bytes <= bound);
                if drops == 5 { pool.release_unused(); }
                for (bytes, content) in &held {
                    prop_assert_eq!(bytes, content);
                }
            }
            let in_use = held.len() as u64;
            held.clear();
            let counts = pool.counts();
            pool.release_unused();
            pool.release_unused();
            prop_assert_eq!(pool.counts().idle_bytes, 0);
            prop_assert_eq!(pool.counts().freed, counts.made);
            prop_assert!(in_use <= counts.made);
        }
    }
}
