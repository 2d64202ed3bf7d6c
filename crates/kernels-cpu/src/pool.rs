//! The one thread pool. A decode step of a small model is some 200 parallel regions of 20–100 µs, so
//! workers spin for the next region before they sleep: waking a sleeping thread costs about as much
//! as a region.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};

/// Polls before a worker sleeps. A pause is 40 to 140 cycles: 50 to 150 µs, more than the serial work
/// between two regions of a step, far less than a time slice that another process could use.
const SPINS_BEFORE_SLEEP: u32 = 3_000;
/// Polls before the caller gives its time slice away while it waits for workers: where cores are
/// shared, the worker that it waits for may be waiting for this very core.
const SPINS_BEFORE_YIELD: u32 = 500;

/// A task of a region: `task(task_idx, thread_idx)`.
type Task<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// Threads that run the tasks of one region at a time; the caller is thread 0.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    wakers: Vec<Thread>,
}

struct Shared {
    /// The region's task and count; written by the caller between regions only.
    region: UnsafeCell<Option<Region>>,
    /// Twice the number of regions so far, plus one while the last is open.
    gate: AtomicUsize,
    next_task: AtomicUsize,
    /// Workers inside the region. The caller waits for these only: a worker that the system has not
    /// given a core to costs nothing but its share of the work.
    joined: AtomicUsize,
    asleep: Vec<AtomicBool>,
    panicked: AtomicBool,
    shutdown: AtomicBool,
}

#[derive(Clone, Copy)]
struct Region {
    task: *const Task<'static>,
    num_tasks: usize,
}

// SAFETY: `region` is written only by the caller, while the gate is shut and `joined` is 0. A worker
// reads it only between raising `joined` and lowering it, and only if it then still sees the gate
// open; both sides use SeqCst, so either the worker sees the gate shut or the caller sees it joined.
// The task is `Sync` and outlives the region: `Pool::run` returns only when nobody is joined.
unsafe impl Sync for Shared {}
// SAFETY: as above; nothing in it is tied to a thread.
unsafe impl Send for Shared {}

impl Pool {
    /// A pool of `num_threads` threads, the caller included.
    pub(crate) fn new(num_threads: usize) -> std::io::Result<Pool> {
        let num_workers = num_threads.max(1) - 1;
        let shared = Arc::new(Shared {
            region: UnsafeCell::new(None),
            gate: AtomicUsize::new(0),
            next_task: AtomicUsize::new(0),
            joined: AtomicUsize::new(0),
            asleep: (0..num_workers).map(|_| AtomicBool::new(false)).collect(),
            panicked: AtomicBool::new(false),
            shutdown: AtomicBool::new(false),
        });
        let mut pool = Pool { shared, workers: Vec::new(), wakers: Vec::new() };
        for worker_idx in 0..num_workers {
            let shared = Arc::clone(&pool.shared);
            let worker = std::thread::Builder::new()
                .name(format!("kvasir-cpu-{}", worker_idx + 1))
                .spawn(move || shared.work(worker_idx))?;
            pool.wakers.push(worker.thread().clone());
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// Threads, the caller included.
    pub(crate) fn num_threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `task(task_idx, thread_idx)` for each `task_idx < num_tasks`, in any order, and returns
    /// when all are done. `thread_idx < num_threads` names the thread: no two tasks run with the
    /// same one at a time. A panic in a task is a panic here.
    pub(crate) fn run(&mut self, num_tasks: usize, task: impl Fn(usize, usize) + Sync) {
        if self.workers.is_empty() || num_tasks < 2 {
            (0..num_tasks).for_each(|task_idx| task(task_idx, 0));
            return;
        }
        let task: &Task<'_> = &task;
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes. The pointer is used by workers of this region alone, and
        // this function does not return (or unwind) before `joined` is 0 with the gate shut.
        let task: *const Task<'static> = unsafe {
            std::mem::transmute::<*const Task<'_>, *const Task<'static>>(task as *const Task<'_>)
        };
        // SAFETY: the gate is shut and nobody is joined: the last region ended so.
        unsafe { *shared.region.get() = Some(Region { task, num_tasks }) };
        shared.next_task.store(0, Ordering::Relaxed);
        shared.gate.fetch_add(1, Ordering::SeqCst);
        for (asleep, waker) in shared.asleep.iter().zip(&self.wakers) {
            if asleep.load(Ordering::SeqCst) {
                waker.unpark();
            }
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| shared.run_tasks(0)));
        shared.gate.fetch_add(1, Ordering::SeqCst);
        shared.wait_until_empty();
        // Taken down whoever panicked, or the next region would pay for this one.
        let has_worker_panicked = shared.panicked.swap(false, Ordering::Relaxed);
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
        assert!(!has_worker_panicked, "a kernel task panicked");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.shutdown.store(true, Ordering::SeqCst);
        self.shared.gate.fetch_add(1, Ordering::SeqCst);
        for waker in &self.wakers {
            waker.unpark();
        }
        for worker in self.workers.drain(..) {
            // A worker catches its tasks' panics, so joining cannot fail in a way worth reporting.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn work(&self, worker_idx: usize) {
        let mut seen_gate = 0;
        loop {
            seen_gate = self.wait_for_region(worker_idx, seen_gate);
            if self.shutdown.load(Ordering::SeqCst) {
                return;
            }
            self.joined.fetch_add(1, Ordering::SeqCst);
            if self.gate.load(Ordering::SeqCst) == seen_gate
                && catch_unwind(AssertUnwindSafe(|| self.run_tasks(worker_idx + 1))).is_err()
            {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.joined.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Returns the gate of an open region other than `seen_gate`, or any new gate at shutdown.
    fn wait_for_region(&self, worker_idx: usize, seen_gate: usize) -> usize {
        let is_news = |gate: usize| gate % 2 == 1 && gate != seen_gate;
        loop {
            for _ in 0..SPINS_BEFORE_SLEEP {
                let gate = self.gate.load(Ordering::SeqCst);
                if is_news(gate) || self.shutdown.load(Ordering::Relaxed) {
                    return gate;
                }
                std::hint::spin_loop();
            }
            // `asleep` before the last look at the gate, both SeqCst: either this thread sees the new
            // region, or the caller sees it asleep and unparks it (a token, so no wake-up is lost).
            self.asleep[worker_idx].store(true, Ordering::SeqCst);
            if !is_news(self.gate.load(Ordering::SeqCst)) && !self.shutdown.load(Ordering::SeqCst) {
                std::thread::park();
            }
            self.asleep[worker_idx].store(false, Ordering::SeqCst);
        }
    }

    fn run_tasks(&self, thread_idx: usize) {
        // SAFETY: this thread is the caller, or has joined and seen the gate open: nobody writes.
        let Some(region) = (unsafe { *self.region.get() }) else {
            return;
        };
        // SAFETY: `Pool::run` keeps the task alive until nobody is joined.
        let task = unsafe { &*region.task };
        loop {
            let task_idx = self.next_task.fetch_add(1, Ordering::Relaxed);
            if task_idx >= region.num_tasks {
                return;
            }
            task(task_idx, thread_idx);
        }
    }

    fn wait_until_empty(&self) {
        let mut spins = 0;
        while self.joined.load(Ordering::SeqCst) != 0 {
            if spins < SPINS_BEFORE_YIELD {
                spins += 1;
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once() {
        for num_threads in [1, 2, 3, 8] {
            let mut pool = Pool::new(num_threads).unwrap();
            for num_tasks in [0, 1, 2, 7, 100] {
                let counts: Vec<AtomicUsize> =
                    (0..num_tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.run(num_tasks, |task_idx, thread_idx| {
                    assert!(thread_idx < num_threads);
                    counts[task_idx].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn sleeping_workers_wake() {
        let mut pool = Pool::new(2).unwrap();
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(20)); // long past the spinning
            let threads = std::sync::Mutex::new(std::collections::BTreeSet::new());
            pool.run(400, |_, thread_idx| {
                threads.lock().unwrap().insert(thread_idx);
                std::thread::sleep(std::time::Duration::from_millis(1));
            });
            assert_eq!(threads.into_inner().unwrap().len(), 2);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_survives() {
        let mut pool = Pool::new(2).unwrap();
        let panics = |num_bad: usize| {
            move |task_idx: usize, _: usize| assert!(task_idx + num_bad < 64, "wanted")
        };
        // One task panics, on either thread, or all do, on both.
        for num_bad in [1, 64] {
            let outcome = catch_unwind(AssertUnwindSafe(|| pool.run(64, panics(num_bad))));
            assert!(outcome.is_err());
        }
        let count = AtomicUsize::new(0);
        pool.run(10, |_, _| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(count.into_inner(), 10);
    }
}
