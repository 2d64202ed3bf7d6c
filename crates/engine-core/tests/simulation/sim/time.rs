//! Time passes, and the bound on decode latency is kept.

use super::driver::Driver;
use super::violation::{Verdict, ensure};

impl Driver<'_> {
    /// The step has taken as long as the world says. If that depends on the rows alone, a step that
    /// decodes ends within the target, or has no more than a kv_block of other rows.
    pub(super) fn pass_time(&mut self, delay: u8) -> Verdict {
        let (timing, config) = (&self.world.timing, &self.world.config);
        let decodes = self
            .plan
            .iter()
            .filter(|part| part.samples && part.num_scheduled_tokens - part.num_draft_tokens == 1);
        let num_decodes = decodes.count();
        let num_rows: usize = self.plan.iter().map(|part| part.num_scheduled_tokens).sum();
        let num_extra_rows = num_rows - num_decodes;
        let num_context = self.plan.iter().map(|part| part.positions().end).sum();
        let us = timing.step_us(num_decodes, num_extra_rows, num_context);
        let us = us + if timing.has_delays { us * u64::from(delay) / 100 } else { 0 };
        if let Some(target_us) = config.tpot_target_us
            && self.num_decodes_before > 0
            && timing.is_linear()
        {
            let least = num_extra_rows.min(config.block_size);
            let bound_us = target_us.max(timing.step_us(num_decodes, least, num_context));
            ensure!(
                "tpot",
                us <= bound_us,
                "{num_decodes} decodes and {num_extra_rows} other rows take {us} µs, over {bound_us}"
            );
        }
        self.report.clock_us += us;
        self.scheduler.observe_step(us);
        Ok(())
    }
}
