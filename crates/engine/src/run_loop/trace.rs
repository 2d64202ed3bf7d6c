//! What a step took from outside, and digests of what it did: a step that takes the same does the
//! same.

use std::ops::Range;

use engine_core::batch::Batch;
use engine_core::request::{SeqId, TokenId};
use engine_core::scheduler::ScheduledSeq;
use serde::{Deserialize, Serialize};
use twox_hash::xxhash3_128::Hasher;

/// Measured durations, and copies that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Observed {
    /// Microseconds from the upload of the batch to the commit; none if the step failed.
    pub(crate) step_us: Option<u64>,
    /// Each time that blocks were copied for the step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) copies: Vec<ObservedCopies>,
    /// Loads that ended before the step, with the leading tokens that were there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) loads: Vec<(SeqId, usize)>,
    /// Tokens that could be loaded, offered before the step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) offers: Vec<ObservedOffer>,
}

/// Whose tokens could be loaded, and where they end and begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObservedOffer(
    pub(crate) SeqId,
    pub(crate) usize,
    #[serde(default, skip_serializing_if = "is_zero")] pub(crate) usize,
);

fn is_zero(first: &usize) -> bool {
    *first == 0
}

/// Blocks that were copied between device and host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ObservedCopies {
    pub(crate) us: u64,
    /// Sequences whose copies failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) lost: Vec<SeqId>,
}

/// XXH3-128 of a step's parts, in hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepDigest {
    /// Who computed which tokens into which slots.
    pub(crate) batch: String,
    /// All rows of logits that were wanted, to the bit.
    pub(crate) logits: String,
    /// What was sampled.
    pub(crate) tokens: String,
}

/// A step's inputs and digests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StepTrace {
    pub(crate) observed: Observed,
    pub(crate) digest: StepDigest,
}

/// Follows one step.
#[derive(Default)]
pub(super) struct Tracer {
    /// What the step is to take instead of what it measures.
    replayed: Option<Observed>,
    observed: Observed,
    batch: String,
    logits: Hasher,
    tokens: Hasher,
}

impl Tracer {
    /// Before a step.
    pub(super) fn begin(&mut self, replayed: Option<Observed>) {
        *self = Tracer { replayed, ..Tracer::default() };
    }

    /// The copies that come next, if the step is a repetition.
    pub(super) fn next_copies(&self) -> Option<&ObservedCopies> {
        self.replayed.as_ref()?.copies.get(self.observed.copies.len())
    }

    /// What the step is to take from outside, if it is a repetition.
    pub(super) fn replayed(&self) -> Option<&Observed> {
        self.replayed.as_ref()
    }

    pub(super) fn loaded(&mut self, seq_id: SeqId, num_tokens: usize) {
        self.observed.loads.push((seq_id, num_tokens));
    }

    pub(super) fn offered(&mut self, seq_id: SeqId, tokens: &Range<usize>) {
        self.observed.offers.push(ObservedOffer(seq_id, tokens.end, tokens.start));
    }

    pub(super) fn copied(&mut self, copies: ObservedCopies) {
        self.observed.copies.push(copies);
    }

    /// The duration that counts.
    pub(super) fn computed(&mut self, measured_us: u64) -> u64 {
        let replayed_us = self.replayed.as_ref().and_then(|observed| observed.step_us);
        let step_us = replayed_us.unwrap_or(measured_us);
        self.observed.step_us = Some(step_us);
        step_us
    }

    pub(super) fn batch(&mut self, batch: &Batch, plan: &[ScheduledSeq]) {
        let mut hasher = Hasher::new();
        for scheduled in plan {
            hasher.write(&scheduled.seq_id.0.to_le_bytes());
            hasher.write(&(scheduled.num_draft_tokens as u64).to_le_bytes());
        }
        for array in [&batch.token_ids, &batch.positions, &batch.cu_seqlens_q, &batch.seq_lens] {
            hasher.write(bytemuck::cast_slice(array));
        }
        hasher.write(bytemuck::cast_slice(&batch.slot_mapping));
        hasher.write(bytemuck::cast_slice(&batch.block_tables));
        self.batch = hex(&hasher);
    }

    pub(super) fn logits(&mut self, row: &[f32]) {
        self.logits.write(bytemuck::cast_slice(row));
    }

    pub(super) fn token(&mut self, seq_id: SeqId, token_id: TokenId) {
        self.tokens.write(&seq_id.0.to_le_bytes());
        self.tokens.write(&token_id.0.to_le_bytes());
    }

    /// After a step.
    pub(super) fn end(&mut self) -> StepTrace {
        let (logits, tokens) = (hex(&self.logits), hex(&self.tokens));
        let digest = StepDigest { batch: std::mem::take(&mut self.batch), logits, tokens };
        StepTrace { observed: std::mem::take(&mut self.observed), digest }
    }
}

fn hex(hasher: &Hasher) -> String {
    format!("{:032x}", hasher.finish_128())
}
