//! How long steps and copies take, in a world that says so.

/// A step takes `base_us`, so much more per decode, per other row and per token that its rows
/// attend, and some noise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    pub base_us: u64,
    pub us_per_decode: u64,
    pub us_per_extra_row: u64,
    pub us_per_64_context: u64,
    /// Steps are delayed as their operations say.
    pub has_delays: bool,
    pub us_per_block_copy: u64,
}

impl Timing {
    /// What a step is known by depends on its rows alone.
    pub fn is_linear(&self) -> bool {
        self.us_per_64_context == 0 && !self.has_delays
    }

    pub fn step_us(&self, num_decodes: usize, num_extra_rows: usize, num_context: usize) -> u64 {
        self.base_us
            + self.us_per_decode * num_decodes as u64
            + self.us_per_extra_row * num_extra_rows as u64
            + self.us_per_64_context * num_context as u64 / 64
    }
}
