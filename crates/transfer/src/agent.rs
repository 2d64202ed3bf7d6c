//! Requests, and the threads that carry them out.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::backend::{Backend, Remote};
use crate::error::TransferError;
use crate::memory::{Access, MemoryId, MemoryTable, Notification};

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From elsewhere into registered memory.
    Read,
    /// From registered memory to elsewhere.
    Write,
}

/// A range of registered memory, and one elsewhere that is as long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Here.
    pub memory: MemoryId,
    /// Where the range begins.
    pub offset: u64,
    /// Its length.
    pub num_bytes: u64,
    /// There.
    pub remote: Remote,
}

/// What is to be transferred, by one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The backend's name.
    pub backend: String,
    /// Which way.
    pub direction: Direction,
    /// What.
    pub pairs: Vec<Pair>,
    /// What the other side is told once all bytes are there.
    pub notification: Option<Vec<u8>>,
}

/// How far a transfer is.
#[derive(Clone, Debug)]
pub enum Status {
    /// It waits, or is being done.
    InProgress,
    /// All bytes are where they should be, and the other side was told.
    Done,
    /// Not all bytes are.
    Failed(TransferError),
}

type Outcome = Arc<(Mutex<Option<Result<(), TransferError>>>, Condvar)>;

/// A request that was accepted. Dropping it changes nothing.
pub struct Transfer(Outcome);

impl Transfer {
    /// How far it is.
    pub fn status(&self) -> Status {
        match &*lock(&self.0.0) {
            None => Status::InProgress,
            Some(Ok(())) => Status::Done,
            Some(Err(error)) => Status::Failed(error.clone()),
        }
    }

    /// Waits for its end, at most `timeout`.
    pub fn wait(&self, timeout: Duration) -> Status {
        let until = Instant::now() + timeout;
        let mut outcome = lock(&self.0.0);
        while outcome.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.0.1.wait_timeout(outcome, left);
            outcome = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(outcome);
        self.status()
    }
}

/// A request, whose outcome is told even if the thread that has it dies.
struct Job {
    request: Request,
    backend: Arc<dyn Backend>,
    outcome: Outcome,
}

impl Job {
    fn settle(&self, done: Result<(), TransferError>) {
        lock(&self.outcome.0).get_or_insert(done);
        self.outcome.1.notify_all();
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.settle(Err(TransferError::Dropped));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What was settled before a panic is settled.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Registered memory, the ways to elsewhere, and the threads between them.
pub struct Agent {
    table: Arc<MemoryTable>,
    backends: BTreeMap<String, Arc<dyn Backend>>,
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Agent {
    /// An agent with so many threads.
    ///
    /// # Errors
    /// [`TransferError::Io`] if they cannot be started.
    pub fn new(num_threads: usize) -> Result<Self, TransferError> {
        let table = Arc::new(MemoryTable::default());
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let threads = (0..num_threads.max(1)).map(|_| {
            let (queue, table) = (Arc::clone(&queue), Arc::clone(&table));
            let thread = std::thread::Builder::new().name("transfer".to_owned());
            thread
                .spawn(move || work(&queue, &table))
                .map_err(|error| TransferError::io("cannot start a thread", &error))
        });
        let threads = threads.collect::<Result<_, _>>()?;
        Ok(Agent { table, backends: BTreeMap::new(), jobs: Some(jobs), threads })
    }

    /// Adds a way to elsewhere; one of the same name is replaced.
    pub fn add_backend(&mut self, backend: impl Backend + 'static) {
        self.backends.insert(backend.name().to_owned(), Arc::new(backend));
    }

    /// What is registered: for a server of peers.
    pub fn table(&self) -> &Arc<MemoryTable> {
        &self.table
    }

    /// Takes memory in.
    pub fn register_memory(&self, bytes: Vec<u8>, access: Access) -> MemoryId {
        self.table.register(bytes, access)
    }

    /// Gives memory back.
    pub fn unregister_memory(&self, memory: MemoryId) -> Option<Vec<u8>> {
        self.table.unregister(memory)
    }

    /// What peers said since the last call.
    pub fn notifications(&self) -> Vec<Notification> {
        self.table.notifications()
    }

    /// Accepts a request. Its ranges here are checked now, those elsewhere when it is carried out.
    ///
    /// # Errors
    /// [`TransferError`]: nothing is transferred then.
    pub fn transfer(&self, request: Request) -> Result<Transfer, TransferError> {
        let backend = self.backends.get(&request.backend).ok_or_else(|| {
            let there = self.backends.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            TransferError::NoBackend { name: request.backend.clone(), there }
        })?;
        for pair in &request.pairs {
            self.table.find(pair.memory, pair.offset, pair.num_bytes)?;
        }
        let outcome = Outcome::default();
        let job = Job { request, backend: Arc::clone(backend), outcome: Arc::clone(&outcome) };
        let jobs = self.jobs.as_ref().ok_or(TransferError::Dropped)?;
        jobs.send(job).map_err(|_| TransferError::Dropped)?;
        Ok(Transfer(outcome))
    }
}

impl Drop for Agent {
    /// Waits for all that was accepted.
    fn drop(&mut self) {
        self.jobs.take();
        for thread in self.threads.drain(..) {
            // A panic in it has been told.
            let _ = thread.join();
        }
    }
}

fn work(queue: &Mutex<Receiver<Job>>, table: &MemoryTable) {
    loop {
        // Held only until there is one.
        let Ok(job) = lock(queue).recv() else { return };
        job.settle(carry_out(&job, table));
    }
}

fn carry_out(job: &Job, table: &MemoryTable) -> Result<(), TransferError> {
    let backend = &*job.backend;
    for pair in &job.request.pairs {
        let (memory, range) = table.find(pair.memory, pair.offset, pair.num_bytes)?;
        match job.request.direction {
            Direction::Read => {
                memory.with_mut(|bytes| backend.read(&pair.remote, &mut bytes[range]))
            }
            Direction::Write => memory.with(|bytes| backend.write(&pair.remote, &bytes[range])),
        }?;
    }
    match &job.request.notification {
        Some(message) => backend.notify(message),
        None => Ok(()),
    }
}
