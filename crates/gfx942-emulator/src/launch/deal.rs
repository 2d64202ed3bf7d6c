//! Work-groups over threads.

use std::sync::atomic::{AtomicU64, Ordering};

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::emulator::Order;
use super::fault::Fault;
use super::work_group::{Shared, WorkGroup};
use crate::NUM_XCDS;
use crate::exec::Observer;

/// Work-groups of a thread that are shuffled together: a grid may have more than memory holds the numbers of.
const SHUFFLED_AT_ONCE: usize = 1 << 20;

type Faulted = Option<(u64, Box<Fault>)>;

/// Runs all work-groups. Of several that fault, the first by index is reported.
pub(super) fn run_all<O: Observer>(
    shared: &Shared<'_>,
    observer: &mut O,
) -> Result<(), Box<Fault>> {
    let num_threads = num_threads(shared);
    let first_fault = &AtomicU64::new(u64::MAX);
    let mut others: Vec<O> = (1..num_threads).map(|_| observer.fork()).collect();
    let mut faulted = None;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..num_threads)
            .zip(&mut others)
            .map(|(thread, observer)| {
                let hand = hand(shared, thread, num_threads);
                scope.spawn(move || play(shared, hand, observer, first_fault))
            })
            .collect();
        faulted = play(shared, hand(shared, 0, num_threads), observer, first_fault);
        for thread in threads {
            let theirs = match thread.join() {
                Ok(theirs) => theirs,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            faulted = faulted.take().into_iter().chain(theirs).min_by_key(|(index, _)| *index);
        }
    });
    others.into_iter().for_each(|other| observer.merge(other));
    faulted.map_or(Ok(()), |(_, fault)| Err(fault))
}

/// As the hardware deals every eighth work-group to the same die, so every power of two of threads gets whole dies: an
/// observer can follow a die's cache.
fn num_threads(shared: &Shared<'_>) -> u64 {
    if shared.module.is_order_dependent(&shared.kernel.name) {
        return 1;
    }
    let most = shared.settings.num_threads.clamp(1, NUM_XCDS) as u64;
    let useful = most.min(shared.num_work_groups());
    1 << useful.ilog2()
}

/// The work-groups of a thread, in the order in which they run.
fn hand(
    shared: &Shared<'_>,
    thread: u64,
    num_threads: u64,
) -> Box<dyn Iterator<Item = u64> + Send> {
    let (end, step) = (shared.num_work_groups(), num_threads as usize);
    match shared.settings.order {
        Order::InOrder => Box::new((thread..end).step_by(step)),
        Order::Seeded(seed) => {
            let mut rng = StdRng::seed_from_u64(seed ^ thread);
            let windows = (thread..end).step_by(step * SHUFFLED_AT_ONCE);
            Box::new(windows.flat_map(move |first| {
                let window = (first..end).step_by(step).take(SHUFFLED_AT_ONCE);
                let mut window: Vec<_> = window.collect();
                window.shuffle(&mut rng);
                window
            }))
        }
    }
}

/// Runs a thread's work-groups up to its first fault, or to the first of another thread: what comes before that must
/// still run, so that which fault is reported does not depend on the threads.
fn play<O: Observer>(
    shared: &Shared<'_>,
    hand: Box<dyn Iterator<Item = u64> + Send>,
    observer: &mut O,
    first_fault: &AtomicU64,
) -> Faulted {
    let mut work_group = WorkGroup::new(shared);
    let mut faulted = None;
    for index in hand {
        if index > first_fault.load(Ordering::Relaxed) {
            continue;
        }
        if let Err(fault) = work_group.run(index, observer) {
            first_fault.fetch_min(index, Ordering::Relaxed);
            faulted = Some((index, fault));
        }
    }
    faulted
}
