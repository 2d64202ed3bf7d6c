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
    let num_work_groups = shared.num_work_groups();
    let first_fault = &AtomicU64::new(u64::MAX);
    let mut others: Vec<O> = (1..num_threads).map(|_| observer.fork()).collect();
    let mut faulted = None;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..num_threads)
            .zip(&mut others)
            .map(|(thread, observer)| {
                let hand = hand(shared.settings.order, num_work_groups, thread, num_threads);
                scope.spawn(move || play(shared, hand, observer, first_fault))
            })
            .collect();
        let own = hand(shared.settings.order, num_work_groups, 0, num_threads);
        faulted = play(shared, own, observer, first_fault);
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
    order: Order,
    num_work_groups: u64,
    thread: u64,
    num_threads: u64,
) -> Box<dyn Iterator<Item = u64> + Send> {
    let (end, step) = (num_work_groups, num_threads as usize);
    match order {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffled_grid_goes_window_by_window() {
        let num_work_groups = 5 * SHUFFLED_AT_ONCE as u64 + 7;
        let mut is_dealt = vec![false; num_work_groups as usize];
        for thread in 0..2 {
            let mut last_window = 0;
            let mut num_in_order = 0;
            let mut previous = 0;
            for index in hand(Order::Seeded(3), num_work_groups, thread, 2) {
                assert!(index % 2 == thread && !is_dealt[index as usize], "{index}");
                is_dealt[index as usize] = true;
                let window = index / (2 * SHUFFLED_AT_ONCE as u64);
                assert!(window == last_window || window == last_window + 1, "{index}");
                last_window = window;
                num_in_order += u64::from(index == previous + 2);
                previous = index;
            }
            assert!(last_window == 2 && num_in_order < 100, "{num_in_order}");
        }
        assert!(is_dealt.iter().all(|&is_dealt| is_dealt), "every one is dealt");
    }

    #[test]
    fn a_grid_beyond_memory_is_dealt_from_its_start() {
        let first: Vec<_> = hand(Order::Seeded(1), u64::MAX, 0, 1).take(3).collect();
        assert!(first.iter().all(|&index| index < SHUFFLED_AT_ONCE as u64));
        assert!(hand(Order::InOrder, u64::MAX, 1, 8).take(3).eq([1, 9, 17]));
    }
}
