//! What steps and copies take, learned from measured durations.
//!
//! Only `+ − × ÷` and comparisons of f64: the same durations give the same estimates everywhere.

/// Before anything is measured: a 2 MiB kv_block (16 tokens of an 8B model) over a PCIe 5 link.
const DEFAULT_US_PER_BLOCK_COPY: f64 = 40.0;
/// Before anything is measured: 16 GFLOP (a token of an 8B model) at 400 TFLOP/s.
const DEFAULT_US_PER_EXTRA_ROW: f64 = 40.0;

/// What a step consisted of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StepShape {
    /// Sequences that decode: a row each.
    pub(super) num_decodes: usize,
    /// All other rows.
    pub(super) num_extra_rows: usize,
}

/// The last steps that were measured, and averages of what parts of them took.
///
/// A step takes some time at least, some more per decode and per other row; how much of each nobody
/// says. What follows for other numbers of rows is bounded from what was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct CostModel {
    /// The last step that only decoded: its sequences and duration.
    decode: Option<(f64, f64)>,
    /// The last step with decodes and other rows, and its duration.
    mixed: Option<(StepShape, f64)>,
    us_per_extra_row: Option<f64>,
    us_per_block_copy: Option<f64>,
}

/// A moving average: an eighth of what is new.
fn follow(average: &mut Option<f64>, measured: f64) {
    *average = Some(average.map_or(measured, |average| average + (measured - average) / 8.0));
}

impl CostModel {
    pub(super) fn observe_step(&mut self, shape: StepShape, duration_us: u64) {
        let us = duration_us as f64;
        let (num_decodes, num_rows) = (shape.num_decodes as f64, shape.num_extra_rows as f64);
        match (shape.num_decodes, shape.num_extra_rows) {
            (0, 0) => {}
            (_, 0) => self.decode = Some((num_decodes, us)),
            (0, _) => follow(&mut self.us_per_extra_row, us / num_rows),
            _ => {
                self.mixed = Some((shape, us));
                let decode_us = self.decode_us_at_least(num_decodes, us);
                follow(&mut self.us_per_extra_row, (us - decode_us) / num_rows);
            }
        }
    }

    pub(super) fn observe_copy(&mut self, num_blocks: usize, duration_us: u64) {
        if num_blocks > 0 {
            follow(&mut self.us_per_block_copy, duration_us as f64 / num_blocks as f64);
        }
    }

    /// The least that so many decodes take of a step of `us`: as long as was seen, or in proportion
    /// if they are fewer. 0 if that cannot be.
    fn decode_us_at_least(&self, num_decodes: f64, us: f64) -> f64 {
        let Some((num_seen, seen_us)) = self.decode else {
            return 0.0;
        };
        let least = if num_decodes < num_seen { seen_us * num_decodes / num_seen } else { seen_us };
        if least < us { least } else { 0.0 }
    }

    /// The most that so many decodes take: as long as was seen, or in proportion if they are more.
    fn decode_us_at_most(&self, num_decodes: f64) -> Option<f64> {
        let (num_seen, seen_us) = self.decode?;
        Some(if num_decodes > num_seen { seen_us * num_decodes / num_seen } else { seen_us })
    }

    /// Rows that a step can have beside `num_decodes` decodes and still end within `target_us`; 0
    /// as long as too little is known. It grows and shrinks from what the last such step had.
    pub(super) fn num_extra_rows(&self, target_us: u64, num_decodes: usize) -> usize {
        let Some((shape, us)) = self.mixed else {
            return 0;
        };
        let (num_seen, num_rows) = (shape.num_decodes as f64, shape.num_extra_rows as f64);
        let num_more = num_decodes.saturating_sub(shape.num_decodes) as f64;
        // None takes more than its share of a step of nothing else.
        let us_per_decode = self.decode.map_or(us / num_seen, |(num, us)| us / num);
        let spare_us = target_us as f64 - (us + num_more * us_per_decode);
        if spare_us >= 0.0 {
            let most_us_per_row = (us - self.decode_us_at_least(num_seen, us)) / num_rows;
            // The cast saturates: rows that take no time have no limit.
            return (num_rows + spare_us / most_us_per_row) as usize;
        }
        match self.decode_us_at_most(num_seen) {
            Some(decode_us) if decode_us < us => {
                let least_us_per_row = (us - decode_us) / num_rows;
                (num_rows + spare_us / least_us_per_row) as usize
            }
            // Nothing is known of what the decodes alone take: begin anew, from few.
            _ => 0,
        }
    }

    /// Whether copying `num_blocks` blocks out and in takes less than computing `num_tokens` tokens
    /// again.
    pub(super) fn is_swap_cheaper(&self, num_blocks: usize, num_tokens: usize) -> bool {
        let us_per_block = self.us_per_block_copy.unwrap_or(DEFAULT_US_PER_BLOCK_COPY);
        let us_per_row = self.us_per_extra_row.unwrap_or(DEFAULT_US_PER_EXTRA_ROW);
        2.0 * us_per_block * (num_blocks as f64) < us_per_row * num_tokens as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step that takes 1000 µs, 10 more per decode and 5 more per other row.
    fn truth(num_decodes: usize, num_extra_rows: usize) -> u64 {
        (1000 + 10 * num_decodes + 5 * num_extra_rows) as u64
    }

    fn observe(costs: &mut CostModel, num_decodes: usize, num_extra_rows: usize) -> u64 {
        let us = truth(num_decodes, num_extra_rows);
        costs.observe_step(StepShape { num_decodes, num_extra_rows }, us);
        us
    }

    #[test]
    fn chunks_grow_to_the_target_and_never_past_it() {
        for has_seen_decodes in [false, true] {
            let mut costs = CostModel::default();
            if has_seen_decodes {
                observe(&mut costs, 3, 0);
            }
            assert_eq!(costs.num_extra_rows(3000, 8), 0, "nothing is known of other rows");
            let mut num_rows = 16;
            for _ in 0..40 {
                let us = observe(&mut costs, 8, num_rows);
                assert!(us <= 3000, "{us}");
                num_rows = costs.num_extra_rows(3000, 8);
            }
            // 1000 + 80 + 5 · 384
            assert!((380..=384).contains(&num_rows), "{num_rows}");
        }
    }

    #[test]
    fn more_decodes_leave_fewer_rows() {
        let mut costs = CostModel::default();
        observe(&mut costs, 8, 0);
        observe(&mut costs, 8, 384);
        for num_decodes in [9, 16, 50] {
            let num_rows = costs.num_extra_rows(3000, num_decodes);
            assert!(truth(num_decodes, num_rows) <= 3000, "{num_decodes}: {num_rows}");
        }
        assert_eq!(costs.num_extra_rows(3000, 8), costs.num_extra_rows(3000, 4));
    }

    #[test]
    fn a_step_that_took_too_long_is_the_last_one() {
        let mut costs = CostModel::default();
        observe(&mut costs, 8, 0);
        assert_eq!(observe(&mut costs, 8, 1000), 6080);
        let num_rows = costs.num_extra_rows(3000, 8);
        assert!((380..=384).contains(&num_rows), "{num_rows}");
        // A target that decodes alone miss.
        assert_eq!(costs.num_extra_rows(500, 8), 0);
        // Nothing is known of decodes alone.
        let mut costs = CostModel::default();
        observe(&mut costs, 8, 1000);
        assert_eq!(costs.num_extra_rows(3000, 8), 0);
    }

    #[test]
    fn swap_or_recompute_follows_what_was_measured() {
        let mut costs = CostModel::default();
        assert!(costs.is_swap_cheaper(4, 64) && !costs.is_swap_cheaper(4, 8));
        costs.observe_copy(10, 10_000);
        // 1000 µs per block, 40 per row.
        assert!(!costs.is_swap_cheaper(4, 64) && !costs.is_swap_cheaper(1, 50));
        assert!(costs.is_swap_cheaper(1, 51));
        costs.observe_step(StepShape { num_decodes: 0, num_extra_rows: 10 }, 100_000);
        assert!(costs.is_swap_cheaper(4, 64));
    }
}
