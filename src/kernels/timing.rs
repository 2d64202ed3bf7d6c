//! Timing with events.

use kernels_hip::{Device, KernelsHip};

use super::comparison::{Clock, Measured, Spread};
use super::measure::CompareError;
use super::workload::{Bound, Workload};

/// What the last cache of an MI300X holds.
const LAST_CACHE_BYTES: u64 = 256 << 20;

/// How a workload is timed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// Runs before those that count.
    pub num_warm_ups: usize,
    /// Runs that count.
    pub num_runs: usize,
    /// Bytes that are written between runs, so that no cache has what the next one reads.
    pub flush_bytes: usize,
    /// Buffers are taken in turn, as many of them as have so many bytes together.
    pub working_set_bytes: u64,
}

impl Timing {
    /// On an MI300X: twice what its last cache holds is written between runs, and buffers have more than it holds.
    pub const HARDWARE: Timing = Timing {
        num_warm_ups: 5,
        num_runs: 30,
        flush_bytes: 2 * LAST_CACHE_BYTES as usize,
        working_set_bytes: LAST_CACHE_BYTES + 1,
    };

    /// The least that has every step in it: for a device whose times mean nothing.
    pub const SMOKE: Timing =
        Timing { num_warm_ups: 1, num_runs: 3, flush_bytes: 1 << 20, working_set_bytes: 1 };

    /// Buffers that are taken in turn.
    pub(super) fn num_sets(&self, workload: &Workload) -> usize {
        let num = self.working_set_bytes.div_ceil(workload.min_bytes().max(1));
        usize::try_from(num).unwrap_or(usize::MAX).max(2)
    }
}

/// Times `sets`, the same workload in different buffers, one after the other.
pub(super) fn time(
    device: &Device,
    ops: &mut KernelsHip,
    sets: &mut [Box<dyn Bound<KernelsHip>>],
    (workload, timing): (&Workload, &Timing),
) -> Result<Measured, CompareError> {
    let [mut start, mut end] = [device.event()?, device.event()?];
    let mut flush = device.buffer::<u8>(timing.flush_bytes)?;
    let mut times = Vec::with_capacity(timing.num_runs);
    for run in 0..timing.num_warm_ups + timing.num_runs {
        flush.fill_bytes(ops.stream(), run as u8)?;
        start.record(ops.stream())?;
        let set = run % sets.len();
        sets[set].run(ops)?;
        end.record(ops.stream())?;
        end.synchronize()?;
        if run >= timing.num_warm_ups {
            times.push(end.since(&start)?.as_secs_f64() * 1e6);
        }
    }
    let clock = match device.runtime().emulator() {
        Some(_) => Clock::Emulator,
        None => Clock::Hardware,
    };
    Ok(Measured::new(clock, Spread::of(times), workload))
}

#[cfg(test)]
mod tests {
    use super::super::subject::subjects;
    use super::*;

    #[test]
    fn hardware_is_timed_on_more_than_its_last_cache_holds() {
        for workload in subjects().iter().flat_map(|subject| subject.workloads(true)) {
            let num_sets = Timing::HARDWARE.num_sets(&workload) as u64;
            let num_bytes = num_sets * workload.min_bytes();
            assert!(num_bytes > LAST_CACHE_BYTES, "{}: {num_bytes} bytes", workload.name());
            // Half of its memory, for the pools of two sets of everything.
            assert!(num_bytes < 96 << 30, "{}: {num_bytes} bytes", workload.name());
        }
    }
}
