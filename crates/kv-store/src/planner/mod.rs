//! Load, recompute, or both at once: by what was measured here.
//!
//! The KV of a prompt's first tokens needs nothing but themselves; so while its last stored chunks are being loaded,
//! its first tokens can be computed, which are also the cheapest to compute. A plan is where the two meet: at 0
//! everything stored is loaded, at its end everything is computed.
//!
//! The planner has no clock: times come in, and plans go out. It is a model of one queue per tier and one of
//! computation.

mod fit;

use std::collections::BTreeMap;
use std::ops::Range;

use fit::Fit;

use crate::outcome::TierKind;

/// What is kept of older measurements at each new one. Computation hardly changes, storage does all day.
const KEEP_OF_COMPUTATION: f64 = 0.98;
const KEEP_OF_TRANSFERS: f64 = 0.95;
const KEEP_OF_ERRORS: f64 = 0.95;

/// A stored chunk that a prompt begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredChunk {
    /// Its tokens of the prompt.
    pub tokens: Range<usize>,
    /// Bytes that loading it moves.
    pub bytes: u64,
    /// Where it is.
    pub tier: TierKind,
}

/// What others are waiting for already.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    /// Bytes that each tier must move first.
    pub queued_bytes: BTreeMap<TierKind, u64>,
    /// Seconds until computation can begin.
    pub compute_wait_s: f64,
}

/// What is done with a prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Tokens that are computed while the others are loaded.
    pub compute: Range<usize>,
    /// Tokens that are loaded; those after them are computed when both are there.
    pub load: Range<usize>,
    /// Seconds until all is there; `None` if too little was measured to say.
    pub predicted_s: Option<f64>,
}

/// What a plan comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Everything stored is loaded.
    Load,
    /// Nothing is.
    Recompute,
    /// The first part is computed, the second loaded.
    Split,
}

impl Plan {
    /// What it comes to.
    pub fn choice(&self) -> Choice {
        match (self.load.is_empty(), self.compute.is_empty()) {
            (true, _) => Choice::Recompute,
            (false, true) => Choice::Load,
            (false, false) => Choice::Split,
        }
    }
}

/// How far predictions were off.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PredictionError {
    /// Plans whose time was told.
    pub num_plans: u64,
    /// Mean of `|predicted - measured| / measured`, the latest weighing most.
    pub mean: f64,
    /// Of the last plan, with its sign: positive if it took less than predicted.
    pub last: f64,
}

/// Chooses by measurements.
#[derive(Clone, Debug)]
pub struct Planner {
    /// Seconds for `n` tokens from the start: `a·n + b·n²`.
    prefill: Fit,
    /// Seconds for a transfer: by bytes and by call.
    tiers: BTreeMap<TierKind, Fit>,
    error: PredictionError,
}

impl Default for Planner {
    fn default() -> Self {
        Self::new()
    }
}

impl Planner {
    /// Nothing measured.
    pub fn new() -> Self {
        Planner {
            prefill: Fit::new(KEEP_OF_COMPUTATION),
            tiers: BTreeMap::new(),
            error: PredictionError::default(),
        }
    }

    /// Tokens of a prompt were computed: each attends to all before it.
    pub fn measured_prefill(&mut self, tokens: Range<usize>, seconds: f64) {
        let (linear, quadratic) = tokens_terms(&tokens);
        self.prefill.measured(linear, quadratic, seconds);
    }

    /// A tier moved bytes, from the request to the last of them.
    pub fn measured_load(&mut self, tier: TierKind, bytes: u64, seconds: f64) {
        let fit = self.tiers.entry(tier).or_insert_with(|| Fit::new(KEEP_OF_TRANSFERS));
        fit.measured(bytes as f64, 1.0, seconds);
    }

    /// What a plan took in the end.
    pub fn measured_plan(&mut self, plan: &Plan, seconds: f64) {
        let Some(predicted_s) = plan.predicted_s else { return };
        let last = (predicted_s - seconds) / seconds;
        if !(seconds > 0.0 && last.is_finite()) {
            return;
        }
        let error = &mut self.error;
        error.mean = match error.num_plans {
            0 => last.abs(),
            _ => error.mean * KEEP_OF_ERRORS + last.abs() * (1.0 - KEEP_OF_ERRORS),
        };
        error.num_plans += 1;
        error.last = last;
    }

    /// How far predictions were off.
    pub fn prediction_error(&self) -> PredictionError {
        self.error
    }

    /// Seconds to compute tokens of a prompt; `None` before the first measurement.
    pub fn prefill_s(&self, tokens: Range<usize>) -> Option<f64> {
        let (linear, quadratic) = tokens_terms(&tokens);
        self.prefill.terms().map(|(a, b)| a * linear + b * quadratic)
    }

    /// Bytes per second and seconds per call of a tier; `None` before the first measurement.
    pub fn tier_speed(&self, tier: TierKind) -> Option<(f64, f64)> {
        let (per_byte, per_call) = self.tiers.get(&tier)?.terms()?;
        Some((per_byte.recip(), per_call))
    }

    /// What to do with a prompt of `num_tokens`, of whose beginning `stored` chunks are there, in order and without a
    /// gap. Where something was never measured, everything is loaded: a store was asked for, and so it gets measured.
    pub fn plan(&self, num_tokens: usize, stored: &[StoredChunk], load: &Load) -> Plan {
        let end = stored.last().map_or(0, |chunk| chunk.tokens.end);
        let measured = self.best(num_tokens.max(end), stored, load);
        let (from, predicted_s) = measured.map_or((0, None), |(from, s)| (from, Some(s)));
        Plan { compute: 0..from, load: from..end, predicted_s }
    }

    /// The same where nothing can be computed while something is loaded: the plan loads the first chunks, up to where
    /// computing the rest is faster. Far or slow chunks behind near ones are so computed.
    pub fn plan_prefix(&self, num_tokens: usize, stored: &[StoredChunk], load: &Load) -> Plan {
        let end = stored.last().map_or(0, |chunk| chunk.tokens.end);
        let measured = self.best_prefix(num_tokens.max(end), stored, load);
        let (end, predicted_s) = measured.map_or((end, None), |(end, s)| (end, Some(s)));
        Plan { compute: 0..0, load: 0..end, predicted_s }
    }

    /// The token up to which chunks should be loaded, and the seconds that all takes then.
    fn best_prefix(
        &self,
        num_tokens: usize,
        stored: &[StoredChunk],
        load: &Load,
    ) -> Option<(usize, f64)> {
        let mut moved: BTreeMap<TierKind, u64> = BTreeMap::new();
        let mut best = (0, load.compute_wait_s + self.prefill_s(0..num_tokens)?);
        for chunk in stored {
            *moved.entry(chunk.tier).or_default() += chunk.bytes;
            let end = chunk.tokens.end;
            let loaded_s = self.load_s(&moved, load)?;
            let total_s = loaded_s.max(load.compute_wait_s) + self.prefill_s(end..num_tokens)?;
            if total_s < best.1 {
                best = (end, total_s);
            }
        }
        Some(best)
    }

    /// The token where computing and loading should meet, and the seconds that all takes then.
    fn best(&self, num_tokens: usize, stored: &[StoredChunk], load: &Load) -> Option<(usize, f64)> {
        let end = stored.last().map_or(0, |chunk| chunk.tokens.end);
        let rest_s = self.prefill_s(end..num_tokens)?;
        let mut moved: BTreeMap<TierKind, u64> = BTreeMap::new();
        let mut best = (end, load.compute_wait_s + self.prefill_s(0..end)? + rest_s);
        // From the last chunk on, each is loaded as well.
        for chunk in stored.iter().rev() {
            *moved.entry(chunk.tier).or_default() += chunk.bytes;
            let loaded_s = self.load_s(&moved, load)?;
            let from = chunk.tokens.start;
            let computed_s = load.compute_wait_s + self.prefill_s(0..from)?;
            let total_s = loaded_s.max(computed_s) + rest_s;
            if total_s < best.1 {
                best = (from, total_s);
            }
        }
        Some(best)
    }

    /// Tiers work side by side; each moves what was asked for before.
    fn load_s(&self, moved: &BTreeMap<TierKind, u64>, load: &Load) -> Option<f64> {
        let mut longest = 0f64;
        for (tier, bytes) in moved {
            let (per_byte, per_call) = self.tiers.get(tier)?.terms()?;
            let queued = load.queued_bytes.get(tier).copied().unwrap_or(0);
            longest = longest.max((bytes + queued) as f64 * per_byte + per_call);
        }
        Some(longest)
    }
}

/// What `a` and `b` are multiplied by.
fn tokens_terms(tokens: &Range<usize>) -> (f64, f64) {
    let (start, end) = (tokens.start as f64, tokens.end as f64);
    (end - start, end * end - start * start)
}
