//! How many faults were seen.

use std::env;
use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A part of the names of the faults to look for; all, if it is not set. For who works on one of them.
const WANTED_VAR: &str = "KVASIR_MUTANTS";

/// Whether a fault is to be looked for.
#[must_use]
pub fn is_wanted(name: &str) -> bool {
    env::var(WANTED_VAR).map_or(true, |part| name.contains(&part))
}

/// Counts faults, and says of each by what it was seen.
#[derive(Default, Debug)]
pub struct KillRate {
    num_killed: usize,
    survivors: Vec<String>,
}

impl KillRate {
    /// The fault was seen.
    pub fn killed(&mut self, name: impl Display, by: impl Display) {
        self.num_killed += 1;
        println!("killed    {name}\n          {by}");
    }

    /// The fault was not seen, or not by what it should be.
    pub fn survived(&mut self, name: impl Display, how: impl Display) {
        println!("survived  {name}\n          {how}");
        self.survivors.push(format!("{name}: {how}"));
    }

    /// Faults that were looked for.
    #[must_use]
    pub fn num_faults(&self) -> usize {
        self.num_killed + self.survivors.len()
    }

    /// Prints the rate.
    ///
    /// # Panics
    ///
    /// If it is not 100 %.
    pub fn require_all(self) {
        println!("kill rate: {} of {}", self.num_killed, self.num_faults());
        assert!(self.num_faults() > 0, "no fault was looked for");
        assert!(self.survivors.is_empty(), "nobody saw\n{}", self.survivors.join("\n"));
    }
}

/// Does `work` for every job and its number, two at a time: a test may not take more than its share of a machine.
pub fn in_parallel<T: Sync>(jobs: &[T], work: impl Fn(usize, &T) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let idx = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(idx) else { return };
                    work(idx, job);
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn every_job_is_done_once() {
        let done = Mutex::new(Vec::new());
        in_parallel(&[7, 8, 9], |idx, job| done.lock().unwrap().push((idx, *job)));
        let mut done = done.into_inner().unwrap();
        done.sort_unstable();
        assert_eq!(done, [(0, 7), (1, 8), (2, 9)]);
    }

    #[test]
    fn all_killed_is_enough() {
        let mut rate = KillRate::default();
        rate.killed("a fault", "a test");
        assert_eq!(rate.num_faults(), 1);
        rate.require_all();
    }

    #[test]
    #[should_panic(expected = "another fault: nothing")]
    fn a_survivor_fails() {
        let mut rate = KillRate::default();
        rate.killed("a fault", "a test");
        rate.survived("another fault", "nothing");
        rate.require_all();
    }

    #[test]
    #[should_panic(expected = "no fault")]
    fn nothing_looked_for_fails() {
        KillRate::default().require_all();
    }
}
