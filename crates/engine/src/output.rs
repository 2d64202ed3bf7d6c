//! What comes back for a request. vLLM's `RequestOutput`, field for field where both have it.

use engine_core::request::FinishReason;

use crate::kv_tier::LoadedTokens;

/// One candidate at one position.
#[derive(Clone, Debug, PartialEq)]
pub struct Logprob {
    /// The candidate.
    pub token_id: u32,
    /// Natural log of its probability, from the raw logits (before temperature and filters).
    pub logprob: f32,
    /// 1 for the likeliest.
    pub rank: u32,
    /// Its text, if the model has a tokenizer.
    pub decoded_token: Option<String>,
}

/// The answer to one request.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestOutput {
    /// Place of the request among those given together.
    pub index: usize,
    /// The prompt as the model saw it.
    pub prompt_token_ids: Vec<u32>,
    /// One list per prompt token if asked for; the first is `None`: nothing predicts it.
    pub prompt_logprobs: Option<Vec<Option<Vec<Logprob>>>>,
    /// Where the prompt's KV came from.
    pub prompt_kv: PromptKv,
    /// The generated sequences.
    pub outputs: Vec<CompletionOutput>,
    /// How it went.
    pub metrics: RequestMetrics,
}

/// Where the KV of a prompt came from, in tokens, for the first of a request's sequences that answers; what the others
/// find of it is no news. All 0 if none did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PromptKv {
    /// It was computed.
    pub num_computed_tokens: usize,
    /// It was found in the prefix cache.
    pub num_cached_tokens: usize,
    /// It was loaded from the KV store.
    pub num_loaded_tokens: usize,
}

impl PromptKv {
    pub(crate) fn new(num_prompt_tokens: usize, num_cached: usize, num_loaded: usize) -> Self {
        // After a preemption some may have been loaded twice.
        let num_cached_tokens = num_cached.min(num_prompt_tokens);
        let num_loaded_tokens = num_loaded.min(num_prompt_tokens - num_cached_tokens);
        let num_computed_tokens = num_prompt_tokens - num_cached_tokens - num_loaded_tokens;
        PromptKv { num_computed_tokens, num_cached_tokens, num_loaded_tokens }
    }
}

/// One generated sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct CompletionOutput {
    /// Place among the sequences of the request.
    pub index: usize,
    /// The text; empty without a tokenizer.
    pub text: String,
    /// The tokens, with the end of sequence that stopped it.
    pub token_ids: Vec<u32>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// The stop text or token that ended it, if one of `stop` or `stop_token_ids` did.
    pub stop_reason: Option<StopReason>,
    /// Sum of the chosen tokens' log-probabilities, when `logprobs` was asked for.
    pub cumulative_logprob: Option<f32>,
    /// One list per token if asked for: the chosen token first, then the likeliest.
    pub logprobs: Option<Vec<Vec<Logprob>>>,
}

/// What stopped a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// One of `stop`.
    Text(String),
    /// One of `stop_token_ids`.
    Token(u32),
}

/// Times and counts of one request. Times run from its arrival.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestMetrics {
    /// Until its first step began, seconds.
    pub queue_time_s: f64,
    /// Until its first token, seconds.
    pub time_to_first_token_s: f64,
    /// Until its last token, seconds.
    pub e2e_latency_s: f64,
    /// Steps that computed part of the prompt.
    pub num_prefill_chunks: u32,
    /// Times it lost its KV blocks and was computed again.
    pub num_preemptions: u32,
    /// Most KV blocks held at once.
    pub num_kv_blocks: u32,
    /// Prompt tokens whose KV was found in the prefix cache.
    pub num_cached_tokens: usize,
    /// Tokens whose KV was loaded from the KV store, by tier, also after preemptions.
    pub num_loaded_tokens: LoadedTokens,
    /// With a KV store that rounds what it keeps (`lossy_codec`), the tokens whose KV was loaded, or found on the
    /// device where others may have loaded it: the answer may differ from that without the store. Else 0.
    pub num_lossy_tokens: usize,
    /// Tokens that were guessed ahead.
    pub num_draft_tokens: usize,
    /// Those of them that were right.
    pub num_accepted_tokens: usize,
}

impl RequestMetrics {
    /// Adds another sequence of the same request: times from the first to the last, and sums.
    pub(crate) fn merge(&mut self, other: &RequestMetrics) {
        self.queue_time_s = self.queue_time_s.min(other.queue_time_s);
        self.time_to_first_token_s = self.time_to_first_token_s.min(other.time_to_first_token_s);
        self.e2e_latency_s = self.e2e_latency_s.max(other.e2e_latency_s);
        self.num_prefill_chunks += other.num_prefill_chunks;
        self.num_preemptions += other.num_preemptions;
        self.num_kv_blocks += other.num_kv_blocks;
        self.num_cached_tokens += other.num_cached_tokens;
        self.num_loaded_tokens.merge(&other.num_loaded_tokens);
        self.num_lossy_tokens += other.num_lossy_tokens;
        self.num_draft_tokens += other.num_draft_tokens;
        self.num_accepted_tokens += other.num_accepted_tokens;
    }
}
