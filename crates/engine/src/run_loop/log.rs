//! What an operator is told of steps.

/// Preemptions for each that is a warning, as in vLLM: under pressure each step has some.
const PERIOD: u64 = 50;

/// Sequences gave their kv_blocks back: of so many until now, so many `before` this step.
pub(super) fn preemptions(before: u64, total: u64) {
    if total == before {
        return;
    }
    let num_preempted = total - before;
    if is_warning(before, total) {
        tracing::warn!(
            num_preempted,
            total,
            "requests gave their KV blocks back: the KV cache is too small for all of them; raise \
             --kv-cache-memory-bytes or --gpu-memory-utilization, or lower --max-num-seqs"
        );
    } else {
        tracing::debug!(num_preempted, total, "requests gave their KV blocks back");
    }
}

/// The first one, and each that comes after so many others.
fn is_warning(before: u64, total: u64) -> bool {
    before.div_ceil(PERIOD) < total.div_ceil(PERIOD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_preemption_is_a_warning_and_every_fiftieth_after_it() {
        let warnings: Vec<u64> =
            (0..120).filter(|&before| is_warning(before, before + 1)).collect();
        assert_eq!(warnings, [0, 50, 100]);
        assert!(is_warning(30, 130) && !is_warning(7, 8));
    }
}
