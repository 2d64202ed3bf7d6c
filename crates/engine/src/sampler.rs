//! From a row of logits to a token and its log-probabilities, for one sequence at a time.
//!
//! What is sampled depends on the row, the request and the tokens before it, and on nothing that the
//! run loop does: a sequence that was preempted goes on as if it had not been, and a draft token is
//! right exactly when the row before it gives that token.

use engine_core::request::{SamplingParams, StopRules, TokenId};
use engine_core::sampling::{
    LogprobScratch, LogprobsMode, SampleArgs, SampleError, SampleKey, SampleScratch, SamplerState,
    TokenLogprobs, logprobs, ranked_logits, sample,
};

use crate::llm::RequestOptions;
use crate::run_loop::StepError;
use crate::structured::TokenMatcher;

/// A request in tokens.
#[derive(Clone, Debug)]
pub(crate) struct SeqRequest {
    pub(crate) prompt_token_ids: Vec<TokenId>,
    pub(crate) params: SamplingParams,
    pub(crate) stop_rules: StopRules,
    pub(crate) key: SampleKey,
    /// The request's bad words in tokens.
    pub(crate) bad_words: Vec<Vec<TokenId>>,
    /// The output's form, at its beginning.
    pub(crate) matcher: Option<TokenMatcher>,
    pub(crate) options: RequestOptions,
}

/// What sampling knows of a live sequence. It keeps pace with the tokens by itself: each sampled
/// token is the one before the next.
#[derive(Debug)]
pub(crate) struct SeqSampler {
    request: SeqRequest,
    state: SamplerState,
}

/// A token of the output.
#[derive(Clone, Debug)]
pub(crate) struct SampledToken {
    pub(crate) token_id: TokenId,
    /// If they are asked for.
    pub(crate) logprobs: Option<TokenLogprobs>,
    /// The output has the form that it was to have, and nothing can be added: the sequence ends.
    pub(crate) completes: bool,
}

/// Turns rows into tokens, with memory that is used again from row to row.
#[derive(Debug, Default)]
pub(crate) struct RowSampler {
    mode: LogprobsMode,
    sample_scratch: SampleScratch,
    logprob_scratch: LogprobScratch,
}

impl SeqSampler {
    /// Before the first token. The sequence never has more than `max_model_len` tokens.
    pub(crate) fn new(request: SeqRequest, max_model_len: usize, vocab_size: usize) -> Self {
        let SeqRequest { prompt_token_ids, params, bad_words, .. } = &request;
        let bad_words = bad_words.clone();
        let state =
            SamplerState::new(params, prompt_token_ids, bad_words, max_model_len, vocab_size);
        SeqSampler { request, state }
    }

    /// Whether rows of the prompt are to be scored.
    pub(crate) fn scores_prompt(&self) -> bool {
        self.request.params.prompt_logprobs.is_some()
    }

    /// Where the next token will stand.
    fn position(&self) -> usize {
        self.request.prompt_token_ids.len() + self.state.num_output_tokens()
    }
}

impl RowSampler {
    pub(crate) fn new(mode: LogprobsMode) -> Self {
        RowSampler { mode, ..RowSampler::default() }
    }

    /// Samples the sequence's next token, which `logits` predict; from then on `seq` has it.
    pub(crate) fn sample(
        &mut self,
        logits: &[f32],
        seq: &mut SeqSampler,
    ) -> Result<SampledToken, StepError> {
        let position = seq.position();
        let SeqRequest { params, stop_rules, key, matcher, .. } = &mut seq.request;
        let token_mask = match matcher {
            Some(matcher) => Some(matcher.mask()?),
            None => None,
        };
        let args = SampleArgs {
            params,
            stop_rules,
            state: &seq.state,
            token_mask,
            keeps_processed: params.logprobs.is_some() && self.mode.is_processed(),
            key: *key,
            position,
        };
        let token_id = sample(logits, &args, &mut self.sample_scratch)?;
        let num_top = params.logprobs;
        let logprobs = num_top.map(|n| self.score(logits, token_id, n)).transpose()?;
        seq.state.append(token_id);
        let mut completes = false;
        if let Some(matcher) = matcher {
            matcher.append(token_id)?;
            completes = matcher.is_complete();
        }
        Ok(SampledToken { token_id, logprobs, completes })
    }

    /// Scores a sampled token as the mode says.
    fn score(
        &mut self,
        logits: &[f32],
        token_id: TokenId,
        num_top: i32,
    ) -> Result<TokenLogprobs, SampleError> {
        let is_processed = self.mode.is_processed();
        let row = if is_processed { self.sample_scratch.processed() } else { logits };
        let score = if self.mode.is_logits() { ranked_logits } else { logprobs };
        score(row, token_id, num_top, &mut self.logprob_scratch)
    }

    /// Scores the prompt's own token after `position`, which `logits` predict.
    pub(crate) fn score_prompt(
        &mut self,
        logits: &[f32],
        seq: &SeqSampler,
        position: usize,
    ) -> Result<TokenLogprobs, SampleError> {
        let token_id = seq.request.prompt_token_ids[position + 1];
        let num_top = seq.request.params.prompt_logprobs.unwrap_or(0);
        logprobs(logits, token_id, num_top, &mut self.logprob_scratch)
    }
}
