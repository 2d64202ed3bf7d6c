//! Requests that the store's own threads work on.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::{NewChunk, Puts, Shared};
use crate::keys::ChunkKey;
use crate::outcome::Lookup;
use crate::tier::{Chunk, Lent, MAINTENANCE_MS};

/// Chunks that may wait for tiers behind the nearest: they are in memory.
const MAX_BEHIND: usize = 64;

/// What a worker can do. Buffers belong to the store meanwhile and come back with the completion.
#[derive(Debug)]
#[non_exhaustive]
pub enum Request {
    /// Read a range of layers.
    Load {
        /// The chunk.
        key: ChunkKey,
        /// Which layers.
        layers: Range<usize>,
        /// As long as they are; for tiers that lend nothing.
        buffer: Vec<u8>,
    },
    /// Write a chunk to every tier.
    Store {
        /// The chunk.
        chunk: NewChunk,
        /// Its canonical bytes.
        bytes: Vec<u8>,
    },
    /// Bring a chunk of so many tokens to the nearest tier.
    Prefetch {
        /// The chunk.
        key: ChunkKey,
        /// Its tokens.
        num_tokens: usize,
    },
}

/// Which request a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A request that was worked on.
#[derive(Debug)]
pub struct Completion {
    /// What [`Store::submit`](super::Store::submit) gave.
    pub ticket: Ticket,
    /// What came of it.
    pub done: Done,
}

/// What came of a request.
#[derive(Debug)]
#[non_exhaustive]
pub enum Done {
    /// Of a load.
    Loaded {
        /// Whether the layers were found.
        lookup: Lookup,
        /// The layers.
        loaded: Loaded,
    },
    /// Of a store.
    Stored(Puts),
    /// Of a prefetch: how the read went.
    Prefetched(Lookup),
    /// A defect of the store ended the work; nothing was read, and nothing is promised.
    Panicked,
}

/// The layers of a hit: in the request's buffer, or where they lie in a tier's memory, without a copy.
#[derive(Debug)]
pub struct Loaded {
    buffer: Vec<u8>,
    lent: Option<Lent>,
}

impl Loaded {
    /// The layers' verified bytes; nothing of use if the lookup was no hit.
    pub fn bytes(&self) -> &[u8] {
        self.lent.as_deref().unwrap_or(&self.buffer)
    }

    /// The request's buffer, for another.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }
}

/// A request that was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// As many wait already as may.
    #[error("{max_queued} requests wait for the KV store already; poll, and submit again")]
    Full {
        /// The limit.
        max_queued: usize,
        /// The request, for another try.
        request: Box<Request>,
    },
}

pub(super) struct Workers {
    queue: Arc<Queue>,
    max_queued: usize,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    /// Requests came, or the end.
    work: Condvar,
    /// Completions came.
    done: Condvar,
}

#[derive(Default)]
struct State {
    /// Somebody waits for these.
    loads: VecDeque<(Ticket, Request)>,
    /// Somebody will.
    prefetches: VecDeque<(Ticket, Request)>,
    /// Nobody does.
    stores: VecDeque<(Ticket, Request)>,
    /// What the nearest tier has, and the others have not yet.
    behind: VecDeque<Arc<Chunk>>,
    completed: VecDeque<Completion>,
    next_ticket: u64,
    in_progress: usize,
    is_stopped: bool,
}

enum Job {
    Requested(Ticket, Request),
    Behind(Arc<Chunk>),
}

impl State {
    fn num_queued(&self) -> usize {
        self.loads.len() + self.prefetches.len() + self.stores.len()
    }

    fn is_idle(&self) -> bool {
        self.num_queued() == 0 && self.behind.is_empty()
    }

    fn next(&mut self) -> Option<Job> {
        let queues = [&mut self.loads, &mut self.prefetches, &mut self.stores];
        let requested = queues.into_iter().find_map(VecDeque::pop_front);
        let requested = requested.map(|(ticket, request)| Job::Requested(ticket, request));
        requested.or_else(|| self.behind.pop_front().map(Job::Behind))
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Workers {
    pub(super) fn start(shared: &Arc<Shared>) -> io::Result<Self> {
        let max_queued = shared.config.max_queued;
        let mut workers = Workers { queue: Arc::default(), max_queued, threads: Vec::new() };
        for _ in 0..shared.config.num_workers {
            let (shared, queue) = (Arc::clone(shared), Arc::clone(&workers.queue));
            workers.spawn("kv-store", move || work(&shared, &queue))?;
        }
        let (shared, queue) = (Arc::clone(shared), Arc::clone(&workers.queue));
        workers.spawn("kv-store-tidy", move || maintain(&shared, &queue))?;
        Ok(workers)
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(Builder::new().name(name.to_owned()).spawn(run)?);
        Ok(())
    }

    pub(super) fn submit(&self, request: Request) -> Result<Ticket, SubmitError> {
        let mut state = self.queue.state();
        if state.num_queued() >= self.max_queued {
            let request = Box::new(request);
            return Err(SubmitError::Full { max_queued: self.max_queued, request });
        }
        let ticket = Ticket(state.next_ticket);
        state.next_ticket += 1;
        match request {
            Request::Store { .. } => state.stores.push_back((ticket, request)),
            Request::Prefetch { .. } => state.prefetches.push_back((ticket, request)),
            Request::Load { .. } => state.loads.push_back((ticket, request)),
        }
        // All of them: one that only tidies up may be woken in a worker's stead.
        self.queue.work.notify_all();
        Ok(ticket)
    }

    pub(super) fn poll(&self) -> Vec<Completion> {
        self.queue.state().completed.drain(..).collect()
    }

    pub(super) fn wait(&self, timeout: Duration) -> bool {
        let is_idle = |state: &mut State| state.completed.is_empty();
        let waited = self.queue.done.wait_timeout_while(self.queue.state(), timeout, is_idle);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !state.completed.is_empty()
    }

    pub(super) fn flush(&self) {
        let is_busy = |state: &mut State| !state.is_idle() || state.in_progress > 0;
        drop(self.queue.done.wait_while(self.queue.state(), is_busy));
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queue.state().is_stopped = true;
        self.queue.work.notify_all();
        for thread in self.threads.drain(..) {
            // A worker that panicked has said so.
            let _ = thread.join();
        }
    }
}

fn work(shared: &Shared, queue: &Queue) {
    loop {
        let is_idle = |state: &mut State| state.is_idle() && !state.is_stopped;
        let waited = queue.work.wait_while(queue.state(), is_idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.is_stopped {
            return;
        }
        // Too much is behind: then the store waits for the tiers that are, and whoever stores more waits or gives up.
        let may_fall_behind = state.behind.len() < MAX_BEHIND;
        let Some(job) = state.next() else { continue };
        state.in_progress += 1;
        drop(state);
        let (completion, behind) = match job {
            Job::Requested(ticket, request) => {
                // A completion comes even of a request whose work panics: whoever waits for it must go on.
                let work = AssertUnwindSafe(|| execute(shared, request, may_fall_behind));
                let (done, behind) = catch_unwind(work).unwrap_or((Done::Panicked, None));
                (Some(Completion { ticket, done }), behind)
            }
            Job::Behind(chunk) => {
                // It told of itself on the way, and the other jobs go on.
                let _ = catch_unwind(AssertUnwindSafe(|| shared.put_far(&chunk)));
                (None, None)
            }
        };
        let mut state = queue.state();
        state.in_progress -= 1;
        state.completed.extend(completion);
        if let Some(chunk) = behind {
            state.behind.push_back(chunk);
            queue.work.notify_all();
        }
        queue.done.notify_all();
    }
}

/// Does what is asked, and gives what is to be done behind its back.
fn execute(shared: &Shared, request: Request, may_fall_behind: bool) -> (Done, Option<Arc<Chunk>>) {
    match request {
        Request::Load { key, layers, mut buffer } => {
            let (lookup, lent) = shared.get_or_lend(&key, layers, &mut buffer);
            (Done::Loaded { lookup, loaded: Loaded { buffer, lent } }, None)
        }
        Request::Store { chunk, bytes } if shared.config.write_back && may_fall_behind => {
            let (puts, behind) = shared.put_near(chunk, bytes);
            (Done::Stored(puts), behind)
        }
        Request::Store { chunk, bytes } => (Done::Stored(shared.put(chunk, bytes)), None),
        Request::Prefetch { key, num_tokens } => {
            (Done::Prefetched(shared.prefetch(&key, num_tokens)), None)
        }
    }
}

fn maintain(shared: &Shared, queue: &Queue) {
    let every = Duration::from_millis(MAINTENANCE_MS);
    loop {
        for tier in &shared.tiers {
            tier.maintain();
        }
        let start = Instant::now();
        let mut state = queue.state();
        while !state.is_stopped {
            let Some(left) = every.checked_sub(start.elapsed()) else { break };
            let waited = queue.work.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.is_stopped {
            return;
        }
    }
}
