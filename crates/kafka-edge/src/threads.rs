//! Threads of their own for connections.
//!
//! Problem: a runtime of several threads moves tasks to whoever is idle. What a connection knows (buffers, a decoded request, its
//! task) then goes from core to core with nearly every request, and a small request is little more than that.
//!
//! Answer: a connection belongs to one thread from its first byte to its last, the one that has the fewest then. Each thread is a
//! runtime of its own, so that what its connections do with each other needs no lock and no other thread; who calls them from outside
//! leaves it with the thread's [`Bell`].
//!
//! Work that takes long does not belong on these threads: large batches are inflated elsewhere (`inflating`), and cold reads
//! block threads that are for it.
//!
//! Invariants: a thread ends after its last connection, when [`Threads`] is dropped; one that cannot be started is an error and
//! leaves none behind.

mod bell;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{io, thread};

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::connection::Connection;
use crate::context::Shared;
use bell::Bell;

/// Threads that cold reads of all connections may block at once, as many as a runtime of tokio's allows by itself.
const BLOCKED_MAX: usize = 512;

/// The threads of an endpoint. Dropped, they end.
#[derive(Debug)]
pub(crate) struct Threads {
    threads: Vec<Thread>,
    _until: DropGuard,
}

#[derive(Debug)]
struct Thread {
    runtime: Handle,
    bell: Arc<Bell>,
    connections: Arc<AtomicUsize>,
}

/// A connection counts while this is there.
struct Counted(Arc<AtomicUsize>);

impl Threads {
    /// Starts `count` threads; with none, connections are served by the runtime that accepts them.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let until = CancellationToken::new();
        let mut all = Self {
            threads: Vec::with_capacity(count),
            _until: until.clone().drop_guard(),
        };
        for number in 0..count {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads((BLOCKED_MAX / count).max(1))
                .build()?;
            let thread = Thread {
                runtime: runtime.handle().clone(),
                bell: Arc::default(),
                connections: Arc::default(),
            };
            let (bell, until) = (Arc::clone(&thread.bell), until.clone());
            thread::Builder::new()
                .name(format!("lantern-kafka-{number}"))
                .spawn(move || runtime.block_on(until.run_until_cancelled(bell.answer())))?;
            all.threads.push(thread);
        }
        Ok(all)
    }

    /// Serves a connection on one of the threads, or here if there are none.
    ///
    /// # Errors
    /// The thread cannot watch the connection; it is closed.
    pub(crate) fn serve(
        &self,
        tasks: &mut JoinSet<()>,
        shared: &Arc<Shared>,
        stream: TcpStream,
        peer: SocketAddr,
        stop: &CancellationToken,
    ) -> io::Result<()> {
        let connection =
            |stream| Connection::new(Arc::clone(shared), stream, peer, stop.clone()).run();
        let least = |thread: &&Thread| thread.connections.load(Ordering::Relaxed);
        let Some(thread) = self.threads.iter().min_by_key(least) else {
            tasks.spawn(connection(stream));
            return Ok(());
        };
        // From this runtime's poll to that one's.
        let stream = stream.into_std()?;
        let stream = {
            let _there = thread.runtime.enter();
            TcpStream::from_std(stream)?
        };
        let counted = Counted::one_of(thread);
        let served = bell::called_by(Arc::clone(&thread.bell), connection(stream));
        let task = async move {
            served.await;
            drop(counted);
        };
        tasks.spawn_on(task, &thread.runtime);
        Ok(())
    }
}

impl Counted {
    fn one_of(thread: &Thread) -> Self {
        thread.connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&thread.connections))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
