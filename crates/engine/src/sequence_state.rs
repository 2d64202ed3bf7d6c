//! One sequence of a request on the text side: what came out so far, and what may be shown of it.

use std::time::Instant;

use engine_core::request::{FinishReason, SamplingParams, TokenId};
use engine_core::sampling::{Candidate, TokenLogprobs};
use engine_core::scheduler::FinishedSeq;

use crate::output::{CompletionOutput, Logprob, RequestMetrics, StopReason};
use crate::run_loop::SeqUpdate;
use crate::sampler::SampledToken;
use crate::text::{Detokenizer, StopStrings, Tokenizer};

/// A live sequence.
pub(crate) struct SequenceState {
    /// Place among the sequences of its request.
    index: usize,
    params: SamplingParams,
    /// Tokens that end the output without being part of its text.
    silent_stops: Vec<TokenId>,
    detokenizer: Option<Detokenizer>,
    stop_strings: StopStrings,
    text: String,
    token_ids: Vec<u32>,
    logprobs: Vec<Vec<Logprob>>,
    cumulative_logprob: f64,
    prompt_logprobs: Vec<Option<Vec<Logprob>>>,
    stop_text: Option<String>,
    /// The output has the form that it was to have.
    is_complete: bool,
    /// The KV store rounds what it keeps.
    is_lossy: bool,
    arrival: Instant,
    metrics: RequestMetrics,
}

/// What a sequence gave in all.
pub(crate) struct EndedSequence {
    /// Text that was held back.
    pub(crate) rest: String,
    pub(crate) completion: CompletionOutput,
    pub(crate) prompt_logprobs: Option<Vec<Option<Vec<Logprob>>>>,
    pub(crate) metrics: RequestMetrics,
}

impl SequenceState {
    pub(crate) fn new(
        index: usize,
        params: SamplingParams,
        silent_stops: Vec<TokenId>,
        tokenizer: Option<&Tokenizer>,
    ) -> Self {
        SequenceState {
            index,
            silent_stops,
            detokenizer: tokenizer.filter(|_| params.detokenize).map(|t| detokenizer(t, &params)),
            stop_strings: StopStrings::new(&params.stop, params.include_stop_str_in_output),
            params,
            text: String::new(),
            token_ids: Vec::new(),
            logprobs: Vec::new(),
            cumulative_logprob: 0.0,
            prompt_logprobs: vec![None],
            stop_text: None,
            is_complete: false,
            is_lossy: false,
            arrival: Instant::now(),
            metrics: RequestMetrics::default(),
        }
    }

    /// Takes what a step did; returns new text and how many tokens are new. The step began at
    /// `step_start`. Tokens behind a stop text do not count.
    pub(crate) fn update(
        &mut self,
        update: SeqUpdate,
        step_start: Instant,
        tokenizer: Option<&Tokenizer>,
    ) -> (String, usize) {
        if update.is_first {
            self.metrics.queue_time_s = (step_start - self.arrival).as_secs_f64();
        }
        self.metrics.num_loaded_tokens = update.loaded;
        self.is_lossy = update.is_lossy;
        for scores in update.prompt_logprobs {
            self.prompt_logprobs.push(Some(to_list(&scores, tokenizer)));
        }
        let num_before = self.token_ids.len();
        let mut text = String::new();
        for SampledToken { token_id, logprobs, completes } in update.sampled {
            if self.is_to_end() {
                break;
            }
            self.is_complete = completes;
            self.token_ids.push(token_id.0);
            if let Some(scores) = logprobs {
                self.cumulative_logprob += f64::from(scores.chosen.logprob);
                self.logprobs.push(to_list(&scores, tokenizer));
            }
            text += &self.push_text(token_id);
        }
        let num_new = self.token_ids.len() - num_before;
        if num_new > 0 {
            self.metrics.e2e_latency_s = self.arrival.elapsed().as_secs_f64();
        }
        if num_before == 0 {
            self.metrics.time_to_first_token_s = self.metrics.e2e_latency_s;
        }
        (text, num_new)
    }

    /// Tokens so far.
    pub(crate) fn num_tokens(&self) -> usize {
        self.token_ids.len()
    }

    /// Tokens whose KV was loaded from the KV store so far.
    pub(crate) fn num_loaded_tokens(&self) -> usize {
        self.metrics.num_loaded_tokens.total()
    }

    /// From the arrival to the last token, seconds.
    pub(crate) fn latency_s(&self) -> f64 {
        self.metrics.e2e_latency_s
    }

    /// The last `num_new` tokens.
    pub(crate) fn last_token_ids(&self, num_new: usize) -> &[u32] {
        &self.token_ids[self.token_ids.len() - num_new..]
    }

    /// The log-probabilities of the last `num_new` tokens, if they were asked for.
    pub(crate) fn last_logprobs(&self, num_new: usize) -> Option<Vec<Vec<Logprob>>> {
        self.params.logprobs?;
        let start = self.logprobs.len().saturating_sub(num_new);
        Some(self.logprobs[start..].to_vec())
    }

    /// The log-probabilities of the prompt so far, if they were asked for.
    pub(crate) fn prompt_logprobs(&self) -> Option<&[Option<Vec<Logprob>>]> {
        self.params.prompt_logprobs.map(|_| &*self.prompt_logprobs)
    }

    /// Decodes a token. The text of a token that ends the output is not part of it, unless stop
    /// texts are wanted in it.
    fn push_text(&mut self, token_id: TokenId) -> String {
        let can_stop = self.token_ids.len() >= self.params.min_tokens;
        let is_silent = can_stop && self.silent_stops.contains(&token_id);
        let Some(detokenizer) = &mut self.detokenizer else { return String::new() };
        if is_silent && !self.params.include_stop_str_in_output {
            return String::new();
        }
        let decoded = detokenizer.push(token_id.0);
        // As in vLLM, text of the first `min_tokens` tokens is not searched for stop texts.
        let shown = if self.token_ids.len() <= self.params.min_tokens {
            decoded
        } else {
            let update = self.stop_strings.push(&decoded);
            self.stop_text = update.stop.map(|stop| stop.text);
            update.text
        };
        self.text.push_str(&shown);
        shown
    }

    /// A stop text has been found, or the output's form is complete: the sequence is to end now.
    pub(crate) fn is_to_end(&self) -> bool {
        self.stop_text.is_some() || self.is_complete
    }

    /// The last text, and all that the sequence gave.
    pub(crate) fn finish(mut self, seq: &FinishedSeq) -> EndedSequence {
        let rest = if self.stop_text.is_some() { String::new() } else { self.flush() };
        self.text.push_str(&rest);
        let stats = seq.sequence.stats();
        self.metrics.num_prefill_chunks = stats.num_prefill_chunks;
        self.metrics.num_preemptions = stats.num_preemptions;
        self.metrics.num_kv_blocks = stats.peak_num_blocks;
        self.metrics.num_cached_tokens = stats.num_cached_tokens;
        if self.is_lossy {
            self.metrics.num_lossy_tokens = stats.num_loaded_tokens + stats.num_hit_tokens;
        }
        self.metrics.num_draft_tokens = stats.num_draft_tokens;
        self.metrics.num_accepted_tokens = stats.num_accepted_tokens;
        let has_logprobs = self.params.logprobs.is_some();
        let stop_reason = match (self.stop_text, seq.stop_token_id) {
            (Some(text), _) => Some(StopReason::Text(text)),
            (None, token_id) => token_id.map(|token_id| StopReason::Token(token_id.0)),
        };
        let finish_reason = match &stop_reason {
            Some(StopReason::Text(_)) => FinishReason::Stop,
            None if self.is_complete => FinishReason::Stop,
            _ => seq.reason,
        };
        let completion = CompletionOutput {
            index: self.index,
            text: self.text,
            token_ids: self.token_ids,
            finish_reason,
            stop_reason,
            cumulative_logprob: has_logprobs.then_some(self.cumulative_logprob as f32),
            logprobs: has_logprobs.then_some(self.logprobs),
        };
        let prompt_logprobs = self.params.prompt_logprobs.map(|_| self.prompt_logprobs);
        EndedSequence { rest, completion, prompt_logprobs, metrics: self.metrics }
    }

    /// Text that was held back for a half letter or a stop text that did not come.
    fn flush(&mut self) -> String {
        let Some(detokenizer) = &mut self.detokenizer else { return String::new() };
        let decoded = detokenizer.finish();
        let update = self.stop_strings.push(&decoded);
        self.stop_text = update.stop.map(|stop| stop.text);
        update.text + &self.stop_strings.finish()
    }
}

/// The output's form is about the output alone, and so must its text be: in a vocabulary whose words
/// begin with their space, the first of the output keeps it.
fn detokenizer(tokenizer: &Tokenizer, params: &SamplingParams) -> Detokenizer {
    match params.structured_outputs {
        Some(_) => tokenizer.detokenizer_within(params.skip_special_tokens),
        None => tokenizer.detokenizer(params.skip_special_tokens),
    }
}

/// The chosen token first, then the likeliest others.
fn to_list(scores: &TokenLogprobs, tokenizer: Option<&Tokenizer>) -> Vec<Logprob> {
    let others = scores.top.iter().filter(|other| other.token_id != scores.chosen.token_id);
    let to_logprob = |candidate: &Candidate| Logprob {
        token_id: candidate.token_id.0,
        logprob: candidate.logprob,
        rank: candidate.rank,
        decoded_token: tokenizer.and_then(|t| t.token_text(candidate.token_id.0)),
    };
    std::iter::once(&scores.chosen).chain(others).map(to_logprob).collect()
}
