//! Work in bands over scoped threads. Which thread computes an element never changes its bits:
//! elements are computed whole.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::panic::resume_unwind;
use std::thread;

/// Multiply-adds below which a thread costs more than it saves.
const MIN_WORK_PER_THREAD: usize = 1 << 18;

/// Calls `compute` for consecutive bands of `0..len`, one thread each, and returns the bands and
/// their results in order. `work` is the total number of multiply-adds.
pub(crate) fn bands<T: Send>(
    num_threads: NonZeroUsize,
    len: usize,
    work: usize,
    compute: impl Fn(Range<usize>) -> T + Sync,
) -> Vec<(Range<usize>, T)> {
    let num_bands = num_threads.get().min(work / MIN_WORK_PER_THREAD).max(1);
    let band_len = len.div_ceil(num_bands).max(1);
    let bands = (0..len).step_by(band_len).map(|start| start..len.min(start + band_len));
    if band_len >= len {
        return bands.map(|band| (band.clone(), compute(band))).collect();
    }
    let compute = &compute;
    thread::scope(|scope| {
        let workers: Vec<_> =
            bands.map(|band| (band.clone(), scope.spawn(move || compute(band)))).collect();
        workers
            .into_iter()
            .map(|(band, worker)| match worker.join() {
                Ok(result) => (band, result),
                Err(panic) => resume_unwind(panic),
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_cover_everything_once_in_order() {
        for num_threads in 1..5 {
            for len in 0..12 {
                let threads = NonZeroUsize::new(num_threads).expect("from 1");
                let bands = bands(threads, len, usize::MAX, |band| band.len());
                let covered: Vec<usize> = bands.iter().flat_map(|(band, _)| band.clone()).collect();
                assert_eq!(covered, (0..len).collect::<Vec<_>>());
                assert!(bands.len() <= num_threads);
                assert!(bands.iter().all(|(band, result)| band.len() == *result));
            }
        }
    }
}
