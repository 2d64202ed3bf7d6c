//! How busy the engine is, at one moment between two steps.

use std::time::Duration;

use engine_core::scheduler::{Scheduler, SchedulerStats};

/// Queues, memory and totals between two steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineStatus {
    /// Sequences that hold KV.
    pub num_running: usize,
    /// Sequences that wait for their turn.
    pub num_waiting: usize,
    /// Sequences whose KV is being loaded from outside the device.
    pub num_loading: usize,
    /// Whether there is a KV store.
    pub has_kv_store: bool,
    /// kv_blocks that sequences hold.
    pub num_used_blocks: usize,
    /// kv_blocks of the pool.
    pub num_blocks: usize,
    /// Totals since the start.
    pub stats: SchedulerStats,
    /// What the last step took.
    pub last_step_time: Duration,
    /// What all steps took.
    pub total_step_time: Duration,
}

impl EngineStatus {
    pub(crate) fn of(scheduler: &Scheduler) -> EngineStatus {
        let pool = scheduler.block_pool();
        EngineStatus {
            num_running: scheduler.running().len(),
            num_waiting: scheduler.waiting().len(),
            num_loading: scheduler.loading().len(),
            num_used_blocks: pool.num_used(),
            num_blocks: pool.num_blocks(),
            stats: scheduler.stats(),
            ..EngineStatus::default()
        }
    }

    /// Part of the pool that sequences hold, 0 to 1: vLLM's `kv_cache_usage_perc`.
    pub fn kv_cache_usage(&self) -> f64 {
        self.num_used_blocks as f64 / self.num_blocks.max(1) as f64
    }
}
