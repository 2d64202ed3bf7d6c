//! What the parameters do to a row before a token is drawn: tokens that may not come go to −∞, biases
//! are added, and tokens that were there pay. In vLLM's order, and in f32 as there.

use alloc::vec::Vec;

use super::SampleArgs;
use crate::request::TokenId;

/// A bias is no further from 0 than this.
pub const MAX_LOGIT_BIAS: f32 = 100.0;

/// The row as the parameters want it, in `copy`; `None`, and no copy, if they do not touch it.
pub(super) fn adjusted<'a>(
    logits: &[f32],
    args: &SampleArgs<'_>,
    copy: &'a mut Vec<f32>,
) -> Option<&'a mut [f32]> {
    let SampleArgs { params, state, .. } = *args;
    let barred = args.stop_rules.barred_token_ids(state.num_output_tokens());
    let is_untouched = params.allowed_token_ids.is_none()
        && args.token_mask.is_none()
        && state.completes_bad_word().next().is_none()
        && barred.clone().next().is_none()
        && params.logit_bias.is_empty()
        && state.counts().is_empty();
    if is_untouched {
        return None;
    }
    copy.clear();
    match &params.allowed_token_ids {
        Some(allowed) => copy_allowed(logits, allowed, copy),
        None => copy.extend_from_slice(logits),
    }
    if let Some(mask) = args.token_mask {
        bar_unmasked(copy, mask);
    }
    for token_id in state.completes_bad_word().chain(barred) {
        if let Some(logit) = copy.get_mut(token_id.0 as usize) {
            *logit = f32::NEG_INFINITY;
        }
    }
    for (token_id, bias) in &params.logit_bias {
        if let Some(logit) = copy.get_mut(token_id.0 as usize) {
            *logit += bias.clamp(-MAX_LOGIT_BIAS, MAX_LOGIT_BIAS);
        }
    }
    penalise(copy, args);
    Some(copy)
}

fn copy_allowed(logits: &[f32], allowed: &[TokenId], copy: &mut Vec<f32>) {
    copy.resize(logits.len(), f32::NEG_INFINITY);
    for token_id in allowed {
        let idx = token_id.0 as usize;
        if let (Some(to), Some(&from)) = (copy.get_mut(idx), logits.get(idx)) {
            *to = from;
        }
    }
}

/// Bit `i % 32` of word `i / 32` says whether token `i` may come; beyond the mask none may.
fn bar_unmasked(logits: &mut [f32], mask: &[u32]) {
    let words = mask.iter().copied().chain(core::iter::repeat(0));
    for (chunk, word) in logits.chunks_mut(u32::BITS as usize).zip(words) {
        if word == u32::MAX {
            continue;
        }
        for (bit, logit) in chunk.iter_mut().enumerate() {
            *logit = if word >> bit & 1 == 1 { *logit } else { f32::NEG_INFINITY };
        }
    }
}

/// Repetition, then frequency, then presence.
fn penalise(logits: &mut [f32], args: &SampleArgs<'_>) {
    let params = args.params;
    for count in args.state.counts() {
        let Some(logit) = logits.get_mut(count.token_id.0 as usize) else { continue };
        if *logit > 0.0 {
            *logit /= params.repetition_penalty;
        } else {
            *logit *= params.repetition_penalty;
        }
        if count.num_in_output > 0 {
            *logit -= params.frequency_penalty * count.num_in_output as f32;
            *logit -= params.presence_penalty;
        }
    }
}
