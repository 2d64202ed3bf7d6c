//! The engine as a library user sees it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use engine_core::config::ModelConfig;
use engine_core::kv_dtype::KvDType;
use engine_core::request::{FinishReason, SamplingParams, SeqId, StopRules, TokenId};
use engine_core::sampling::SampleKey;
use engine_core::scheduler::{FinishedSeq, Refusal, SchedulerConfig, SchedulerStats};
use serde::{Deserialize, Serialize};

use crate::bad_words::bad_word_tokens;
use crate::block_map::BlockMap;
use crate::builder::LlmBuilder;
use crate::error::LlmError;
use crate::kv_tier::{KvTierStats, LoadedTokens, TierReport};
use crate::output::{Logprob, PromptKv, RequestOutput, StopReason};
use crate::prompt::{Conversation, Prompt};
use crate::record::RecordedRequest;
use crate::request_state::RequestState;
use crate::run_loop::{Observed, RunLoop, SeqUpdate, StepDigest, StepError};
use crate::sampler::SeqRequest;
use crate::sequence_state::SequenceState;
use crate::status::EngineStatus;
use crate::structured::{Structured, TokenMatcher};
use crate::text::{ChatTemplate, RenderOptions, Tokenizer};
use crate::weights::GenerationConfig;

/// A request of one [`Llm`], in order of arrival from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What the scheduler and the KV cache are to know of a request, besides its tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestOptions {
    /// Lower is served first, under [`crate::SchedulingPolicy::Priority`].
    pub priority: i32,
    /// Only requests with an equal salt share cached KV; `None` is a salt of its own. In a KV store it is the tenant:
    /// if the configuration's `tenants` name it, it has that quota, floor and time to live.
    pub cache_salt: Option<String>,
}

/// What [`Llm::attach_prefix`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachedPrefix {
    /// Tokens of the prefix.
    pub num_tokens: usize,
    /// Those whose KV was on the device already.
    pub num_cached_tokens: usize,
    /// Those whose KV was loaded, by tier; the others were computed.
    pub num_loaded_tokens: LoadedTokens,
    /// Those that were, or may be, rounded by a lossy store, as
    /// `num_lossy_tokens` of an answer's metrics.
    pub num_lossy_tokens: usize,
}

/// How long new tokens of a sequence were in the making, seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TokenTime {
    /// The first tokens of the request: from its arrival.
    First(f64),
    /// From the sequence's tokens before.
    Next(f64),
}

/// What a step did, for whoever counts.
#[derive(Clone, Copy, Debug)]
pub struct StepOutcome<'a> {
    /// Token rows; 0 if it only waited for KV.
    pub num_rows: usize,
    /// What it did for each sequence.
    pub updates: &'a [RequestUpdate],
}

/// What a step did for one sequence of a request.
#[derive(Clone, Debug)]
pub struct RequestUpdate {
    /// Which request.
    pub id: RequestId,
    /// Which of its `n` sequences.
    pub index: usize,
    /// Tokens of its prompt.
    pub num_prompt_tokens: usize,
    /// Text that is new and final.
    pub text_delta: String,
    /// Tokens that are new.
    pub new_token_ids: Vec<u32>,
    /// How long they took; `None` without any, for the first of a request's other sequences, and in updates that were
    /// merged because nobody read them.
    pub token_time: Option<TokenTime>,
    /// With the first tokens of a request: where its prompt's KV came from.
    pub prompt_kv: Option<PromptKv>,
    /// One list for each of them if asked for: the chosen token first, then the likeliest.
    pub new_logprobs: Option<Vec<Vec<Logprob>>>,
    /// Those of the prompt if asked for, with the first token of the request's first sequence; as
    /// [`RequestOutput::prompt_logprobs`].
    pub prompt_logprobs: Option<Vec<Option<Vec<Logprob>>>>,
    /// Why the sequence has ended, if it has.
    pub finish_reason: Option<FinishReason>,
    /// The stop text or token that ended it, if one did.
    pub stop_reason: Option<StopReason>,
    /// What went wrong, if the sequence has ended with [`FinishReason::Error`].
    pub error: Option<StepError>,
    /// The whole answer, when the last sequence of the request has ended with this step.
    pub finished: Option<RequestOutput>,
}

impl RequestUpdate {
    /// This update and a later one of the same sequence, as one.
    pub(crate) fn merged(mut self, later: RequestUpdate) -> RequestUpdate {
        self.text_delta += &later.text_delta;
        self.new_token_ids.extend(later.new_token_ids);
        if let Some(new_logprobs) = &mut self.new_logprobs {
            new_logprobs.extend(later.new_logprobs.into_iter().flatten());
        }
        RequestUpdate {
            text_delta: self.text_delta,
            new_token_ids: self.new_token_ids,
            new_logprobs: self.new_logprobs,
            prompt_logprobs: self.prompt_logprobs.or(later.prompt_logprobs),
            prompt_kv: self.prompt_kv.or(later.prompt_kv),
            token_time: None,
            ..later
        }
    }
}

/// A model, ready to answer.
///
/// Requests that are in flight together share steps; what one of them is answered never depends on
/// which others there are, on the order they came in, or on the engine's sizes and threads.
pub struct Llm {
    run_loop: Box<dyn RunLoop>,
    numerics_id: String,
    kv_identity: Option<String>,
    kv_bytes_per_token: u64,
    kv_dtype: KvDType,
    warnings: Vec<String>,
    config: ModelConfig,
    generation_config: GenerationConfig,
    tokenizer: Option<Tokenizer>,
    chat_template: Option<ChatTemplate>,
    eos_token_ids: Vec<TokenId>,
    structured: Structured,
    seed: u64,
    next_id: RequestId,
    /// Sequences so far: what unseeded ones draw their random numbers by.
    num_sequences: u64,
    live: BTreeMap<RequestId, RequestState>,
    /// Whose each live sequence is, and its place among the sequences of its request.
    owners: BTreeMap<SeqId, (RequestId, usize)>,
    last_step_time: Duration,
    total_step_time: Duration,
}

/// What [`LlmBuilder`] puts together.
pub(crate) struct LlmParts {
    pub(crate) run_loop: Box<dyn RunLoop>,
    pub(crate) numerics_id: String,
    pub(crate) kv_identity: Option<String>,
    pub(crate) kv_bytes_per_token: u64,
    pub(crate) kv_dtype: KvDType,
    pub(crate) warnings: Vec<String>,
    pub(crate) config: ModelConfig,
    pub(crate) generation_config: GenerationConfig,
    pub(crate) tokenizer: Option<Tokenizer>,
    pub(crate) chat_template: Option<ChatTemplate>,
    pub(crate) seed: u64,
}

impl Llm {
    /// Starts with `model`: a GGUF file, a Hugging Face directory, or a name that
    /// [`crate::hub::resolve`] knows, fetched on first use.
    pub fn builder(model: impl Into<PathBuf>) -> LlmBuilder {
        LlmBuilder::new(model.into())
    }

    pub(crate) fn new(parts: LlmParts) -> Llm {
        let LlmParts { run_loop, numerics_id, warnings, config, generation_config, .. } = parts;
        let LlmParts { kv_identity, kv_bytes_per_token, kv_dtype, .. } = parts;
        let LlmParts { tokenizer, chat_template, seed, .. } = parts;
        let mut eos_token_ids: Vec<_> =
            generation_config.eos_token_ids.iter().map(|&id| TokenId(id)).collect();
        if eos_token_ids.is_empty() {
            eos_token_ids.extend(tokenizer.as_ref().and_then(Tokenizer::eos_id).map(TokenId));
        }
        Llm {
            run_loop,
            numerics_id,
            kv_identity,
            kv_bytes_per_token,
            kv_dtype,
            warnings,
            config,
            generation_config,
            tokenizer,
            chat_template,
            eos_token_ids,
            structured: Structured::default(),
            seed,
            next_id: RequestId(0),
            num_sequences: 0,
            live: BTreeMap::new(),
            owners: BTreeMap::new(),
            last_step_time: Duration::ZERO,
            total_step_time: Duration::ZERO,
        }
    }

    /// Answers all prompts, together, and returns the answers in order.
    ///
    /// # Errors
    /// [`LlmError`] if one of them is refused, before any work is done, or if the engine fails.
    pub fn generate<P: Into<Prompt> + Clone>(
        &mut self,
        prompts: &[P],
        params: &SamplingParams,
    ) -> Result<Vec<RequestOutput>, LlmError> {
        let mut ids = Vec::with_capacity(prompts.len());
        let answered = self.answer(prompts, params, &mut ids);
        if answered.is_err() {
            ids.iter().for_each(|&id| drop(self.abort(id)));
        }
        answered
    }

    fn answer<P: Into<Prompt> + Clone>(
        &mut self,
        prompts: &[P],
        params: &SamplingParams,
        ids: &mut Vec<RequestId>,
    ) -> Result<Vec<RequestOutput>, LlmError> {
        for prompt in prompts {
            ids.push(self.add_request(prompt.clone().into(), params.clone())?);
        }
        let mut outputs: Vec<Option<RequestOutput>> = vec![None; prompts.len()];
        while outputs.iter().any(Option::is_none) {
            for update in self.step() {
                let Ok(index) = ids.binary_search(&update.id) else { continue };
                if let Some(error) = update.error {
                    return Err(error.into());
                }
                if let Some(output) = update.finished {
                    outputs[index] = Some(RequestOutput { index, ..output });
                }
            }
        }
        Ok(outputs.into_iter().flatten().collect())
    }

    /// Brings the KV of a prefix onto the device, ahead of prompts that begin with it: what is not there is
    /// loaded from the KV store, or computed and stored. It stays as long as the prefix cache has room, and
    /// is shared under the cache salt of `options`.
    ///
    /// As [`Llm::generate`], it works on other requests meanwhile, but does not tell what became of them.
    ///
    /// # Errors
    /// As [`Llm::add_request`], or if the engine fails.
    pub fn attach_prefix(
        &mut self,
        prefix: Prompt,
        options: RequestOptions,
    ) -> Result<AttachedPrefix, LlmError> {
        // A token is sampled, and forgotten: it costs one row.
        let params =
            SamplingParams { max_tokens: 1, detokenize: false, ..SamplingParams::default() };
        let id = self.add_request_with(prefix, params, options)?;
        loop {
            for update in self.step() {
                if update.id != id {
                    continue;
                }
                if let Some(error) = update.error {
                    return Err(error.into());
                }
                if let Some(output) = update.finished {
                    return Ok(AttachedPrefix {
                        num_tokens: output.prompt_token_ids.len(),
                        num_cached_tokens: output.metrics.num_cached_tokens,
                        num_loaded_tokens: output.metrics.num_loaded_tokens,
                        num_lossy_tokens: output.metrics.num_lossy_tokens,
                    });
                }
            }
        }
    }

    /// What was done with the KV store; `None` without one.
    pub fn kv_tier_stats(&self) -> Option<KvTierStats> {
        self.run_loop.kv_tier_stats()
    }

    /// Waits until the KV store has stored all that it was given. Also done when the engine is dropped.
    pub fn flush_kv_store(&self) {
        self.run_loop.flush_kv_store();
    }

    /// Queues a request; [`Llm::step`] works on it.
    ///
    /// # Errors
    /// [`LlmError`] if it could never be answered, or too many requests wait.
    pub fn add_request(
        &mut self,
        prompt: Prompt,
        params: SamplingParams,
    ) -> Result<RequestId, LlmError> {
        self.add_request_with(prompt, params, RequestOptions::default())
    }

    /// The same with a priority or a cache salt.
    ///
    /// # Errors
    /// As [`Llm::add_request`].
    pub fn add_request_with(
        &mut self,
        prompt: Prompt,
        params: SamplingParams,
        options: RequestOptions,
    ) -> Result<RequestId, LlmError> {
        params.validate()?;
        params.validate_for_vocab(self.config.vocab_size)?;
        if self.tokenizer.is_none() && !params.stop.is_empty() {
            return Err(LlmError::NoTokenizer { what: "a stop text" });
        }
        if let Some(max_num_queued_reqs) = self.scheduler_config().max_num_queued_reqs
            && params.n > max_num_queued_reqs
        {
            return Err(LlmError::QueueTooShort { n: params.n, max_num_queued_reqs });
        }
        let bad_words = self.bad_words(&params)?;
        let matcher = self.matcher(&params)?;
        let prompt_token_ids = self.encode(&prompt)?;
        let id = self.next_id;
        let request = SeqRequest {
            prompt_token_ids: prompt_token_ids.iter().map(|&id| TokenId(id)).collect(),
            stop_rules: StopRules::new(&params, &self.eos_token_ids),
            key: SampleKey::from_request_seed(0),
            params,
            bad_words,
            matcher,
            options,
        };
        let mut sequences = Vec::with_capacity(request.params.n);
        for index in 0..request.params.n {
            match self.add_sequence(id, index, &request) {
                Ok(state) => sequences.push(state),
                Err(refusal) => {
                    self.withdraw_sequences(id);
                    return Err(refusal.into());
                }
            }
        }
        self.next_id = RequestId(id.0 + 1);
        self.live.insert(id, RequestState::new(id, prompt_token_ids, sequences));
        Ok(id)
    }

    /// Queues one of the `n` sequences of a request: each draws other random numbers, and the first
    /// one scores the prompt for all.
    fn add_sequence(
        &mut self,
        id: RequestId,
        index: usize,
        request: &SeqRequest,
    ) -> Result<SequenceState, Refusal> {
        let mut request = request.clone();
        request.key = match request.params.seed {
            Some(seed) => SampleKey::from_request_seed(seed.wrapping_add(index as u64)),
            None => SampleKey::from_engine_seed(self.seed, self.num_sequences),
        };
        if index > 0 {
            request.params.prompt_logprobs = None;
        }
        let params = request.params.clone();
        let mut silent_stops = params.stop_token_ids.clone();
        if !params.ignore_eos {
            silent_stops.extend(&self.eos_token_ids);
        }
        let seq_id = self.run_loop.add(request)?;
        self.num_sequences += 1;
        self.owners.insert(seq_id, (id, index));
        Ok(SequenceState::new(index, params, silent_stops, self.tokenizer.as_ref()))
    }

    /// Ends the sequences of a request that was not taken after all.
    fn withdraw_sequences(&mut self, id: RequestId) {
        let run_loop = &mut self.run_loop;
        self.owners.retain(|&seq_id, owner| {
            let is_withdrawn = owner.0 == id;
            if is_withdrawn {
                run_loop.finish(seq_id, FinishReason::Abort);
            }
            !is_withdrawn
        });
    }

    /// The tokens of a prompt, as a request would have them.
    ///
    /// # Errors
    /// [`LlmError`] without a tokenizer or chat template, and for tokens outside the vocabulary.
    pub fn encode(&self, prompt: &Prompt) -> Result<Vec<u32>, LlmError> {
        let token_ids = match prompt {
            Prompt::TokenIds(token_ids) => token_ids.clone(),
            Prompt::Text(text) => self.tokenizer_for("a text prompt")?.encode(text, true)?,
            Prompt::BareText(text) => self.tokenizer_for("a text prompt")?.encode(text, false)?,
            Prompt::Chat(conversation) => self.encode_chat(conversation)?,
        };
        let vocab_size = self.config.vocab_size;
        match token_ids.iter().find(|&&id| id as usize >= vocab_size) {
            Some(&token_id) => Err(LlmError::TokenOutOfVocab { token_id, vocab_size }),
            None => Ok(token_ids),
        }
    }

    /// The text of tokens, special ones included.
    ///
    /// # Errors
    /// [`LlmError`] without a tokenizer, and for tokens outside the vocabulary.
    pub fn decode(&self, token_ids: &[u32]) -> Result<String, LlmError> {
        let vocab_size = self.config.vocab_size;
        if let Some(&token_id) = token_ids.iter().find(|&&id| id as usize >= vocab_size) {
            return Err(LlmError::TokenOutOfVocab { token_id, vocab_size });
        }
        Ok(self.tokenizer_for("a text")?.decode(token_ids, false))
    }

    /// The text of each token alone, special or not; half a letter is U+FFFD.
    ///
    /// # Errors
    /// As [`Llm::decode`].
    pub fn token_texts(&self, token_ids: &[u32]) -> Result<Vec<String>, LlmError> {
        let tokenizer = self.tokenizer_for("a text")?;
        let vocab_size = self.config.vocab_size;
        // Ids that no token has, as models pad their vocabularies with, have no text.
        let text = |&token_id: &u32| match (token_id as usize) < vocab_size {
            true => Ok(tokenizer.token_text(token_id).unwrap_or_default()),
            false => Err(LlmError::TokenOutOfVocab { token_id, vocab_size }),
        };
        token_ids.iter().map(text).collect()
    }

    /// The request's bad words in tokens.
    fn bad_words(&self, params: &SamplingParams) -> Result<Vec<Vec<TokenId>>, LlmError> {
        if params.bad_words.is_empty() {
            return Ok(Vec::new());
        }
        let sequences = bad_word_tokens(&params.bad_words, self.tokenizer_for("a bad word")?)?;
        Ok(sequences)
    }

    /// What holds the output to its form.
    fn matcher(&self, params: &SamplingParams) -> Result<Option<TokenMatcher>, LlmError> {
        let Some(form) = &params.structured_outputs else { return Ok(None) };
        let tokenizer = self.tokenizer_for("structured_outputs")?;
        let eos_token_ids = &self.eos_token_ids;
        let matcher = self.structured.matcher(form, tokenizer, eos_token_ids, params.ignore_eos)?;
        Ok(Some(matcher))
    }

    fn tokenizer_for(&self, what: &'static str) -> Result<&Tokenizer, LlmError> {
        self.tokenizer.as_ref().ok_or(LlmError::NoTokenizer { what })
    }

    fn encode_chat(&self, conversation: &Conversation) -> Result<Vec<u32>, LlmError> {
        let tokenizer = self.tokenizer_for("a conversation")?;
        let template = self.chat_template.as_ref().ok_or(LlmError::NoChatTemplate)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let (bos_token, eos_token) = (tokenizer.bos_token(), tokenizer.eos_token());
        let options = RenderOptions {
            end: conversation.end,
            bos_token: bos_token.as_deref(),
            eos_token: eos_token.as_deref(),
            now_unix_s: now.ok().map(|now| now.as_secs() as i64),
            tools: &conversation.tools,
            documents: &conversation.documents,
            args: Some(&conversation.template_args),
        };
        let text = template.render(&conversation.messages, &options)?;
        Ok(tokenizer.encode(&text, conversation.add_special_tokens)?)
    }

    /// Runs one step of the engine: some rows of some requests. A step that fails ends those that
    /// were in it, see [`RequestUpdate::error`]; all others go on.
    pub fn step(&mut self) -> Vec<RequestUpdate> {
        let step_start = Instant::now();
        let report = self.run_loop.step();
        self.last_step_time = step_start.elapsed();
        self.total_step_time += self.last_step_time;
        let mut finished: BTreeMap<SeqId, FinishedSeq> =
            report.finished.into_iter().map(|seq| (seq.sequence.seq_id(), seq)).collect();
        let mut updates = Vec::with_capacity(report.updates.len());
        for update in report.updates {
            let seq = finished.remove(&update.seq_id);
            updates.extend(self.update(update, seq, step_start));
        }
        updates
    }

    /// What a step did for one sequence, which may have ended with it.
    fn update(
        &mut self,
        mut update: SeqUpdate,
        ended: Option<FinishedSeq>,
        step_start: Instant,
    ) -> Option<RequestUpdate> {
        let seq_id = update.seq_id;
        let &(id, index) = self.owners.get(&seq_id)?;
        let error = update.error.take();
        let request = self.live.get_mut(&id)?;
        let num_prompt_tokens = request.num_prompt_tokens();
        let state = request.sequence_mut(index)?;
        let latency_before_s = state.latency_s();
        let (text_delta, num_new) = state.update(update, step_start, self.tokenizer.as_ref());
        let (is_first, latency_s) = (state.num_tokens() == num_new, state.latency_s());
        let num_loaded = state.num_loaded_tokens();
        let new_token_ids = state.last_token_ids(num_new).to_vec();
        let new_logprobs = state.last_logprobs(num_new);
        let prompt_logprobs = state.prompt_logprobs().filter(|_| is_first && num_new > 0);
        let prompt_logprobs = prompt_logprobs.map(<[_]>::to_vec);
        let ended = match ended {
            None if state.is_to_end() => self.run_loop.finish(seq_id, FinishReason::Stop),
            ended => ended,
        };
        let (token_time, prompt_kv) = match (num_new, is_first) {
            (0, _) => (None, None),
            (_, false) => (Some(TokenTime::Next(latency_s - latency_before_s)), None),
            (_, true) => {
                let sequence = ended.as_ref().map(|ended| &ended.sequence);
                let sequence = sequence.or_else(|| self.run_loop.scheduler().sequence(seq_id));
                let num_cached = sequence.map_or(0, |sequence| sequence.stats().num_cached_tokens);
                let prompt_kv = PromptKv::new(num_prompt_tokens, num_cached, num_loaded);
                let prompt_kv = request.begin_answer(prompt_kv);
                (prompt_kv.map(|_| TokenTime::First(latency_s)), prompt_kv)
            }
        };
        let mut update = RequestUpdate {
            id,
            index,
            num_prompt_tokens,
            text_delta,
            new_token_ids,
            token_time,
            prompt_kv,
            new_logprobs,
            prompt_logprobs,
            finish_reason: None,
            stop_reason: None,
            error,
            finished: None,
        };
        if let Some(seq) = ended {
            self.end(&seq, &mut update);
        }
        Some(update)
    }

    /// A sequence has ended, and with its last one the request.
    fn end(&mut self, seq: &FinishedSeq, update: &mut RequestUpdate) {
        self.owners.remove(&seq.sequence.seq_id());
        let Some(request) = self.live.get_mut(&update.id) else { return };
        let Some(state) = request.take(update.index) else { return };
        let ended = state.finish(seq);
        update.finish_reason = Some(ended.completion.finish_reason);
        update.stop_reason = ended.completion.stop_reason.clone();
        update.text_delta += &request.end(ended);
        if request.has_ended() {
            update.finished = self.live.remove(&update.id).map(RequestState::into_output);
        }
    }

    /// Withdraws a request; what it gave so far is its answer. `None` if it has ended already.
    pub fn abort(&mut self, id: RequestId) -> Option<RequestOutput> {
        let mut request = self.live.remove(&id)?;
        let owned = self.owners.iter().filter(|(_, owner)| owner.0 == id);
        let owned: Vec<(SeqId, usize)> = owned.map(|(&seq_id, owner)| (seq_id, owner.1)).collect();
        for (seq_id, index) in owned {
            self.owners.remove(&seq_id);
            let (Some(seq), Some(state)) =
                (self.run_loop.finish(seq_id, FinishReason::Abort), request.take(index))
            else {
                continue;
            };
            request.end(state.finish(&seq));
        }
        Some(request.into_output())
    }

    /// Forgets all cached prefixes; answers `false`, and does nothing, while a request runs.
    pub fn reset_prefix_cache(&mut self) -> bool {
        self.run_loop.reset_prefix_cache()
    }

    /// Queues a sequence as it once was; nobody hears what it gives.
    pub(crate) fn add_recorded(&mut self, recorded: RecordedRequest) -> Result<SeqId, LlmError> {
        let RecordedRequest {
            prompt_token_ids, params, stop_rules, key, bad_words, options, ..
        } = recorded;
        params.validate()?;
        params.validate_for_vocab(self.config.vocab_size)?;
        let token_ids: Vec<u32> = prompt_token_ids.iter().map(|token_id| token_id.0).collect();
        self.encode(&Prompt::TokenIds(token_ids))?;
        let matcher = self.matcher(&params)?;
        Ok(self.run_loop.add(SeqRequest {
            prompt_token_ids,
            params,
            stop_rules,
            key,
            bad_words,
            matcher,
            options,
        })?)
    }

    /// Ends a sequence as it once ended; answers whether it lived.
    pub(crate) fn finish_recorded(&mut self, seq_id: SeqId, reason: FinishReason) -> bool {
        self.run_loop.finish(seq_id, reason).is_some()
    }

    /// Has steps followed for [`Llm::repeat_step`].
    pub(crate) fn trace(&mut self) {
        self.run_loop.trace();
    }

    /// Runs a step with what an earlier one took from outside.
    pub(crate) fn repeat_step(&mut self, observed: Observed) -> StepDigest {
        let report = self.run_loop.repeat_step(observed);
        report.trace.map(|trace| trace.digest).unwrap_or_default()
    }

    /// Whether the run is recorded, if it was to be: a disk may have filled up.
    ///
    /// # Errors
    /// [`LlmError::Record`] says why the file ends early.
    pub fn check_record(&self) -> Result<(), LlmError> {
        self.run_loop.check()
    }

    /// Whether a request waits or runs.
    pub fn has_unfinished(&self) -> bool {
        self.run_loop.has_unfinished()
    }

    /// Sequences that wait.
    pub(crate) fn num_waiting(&self) -> usize {
        self.run_loop.scheduler().waiting().len()
    }

    /// The model's shape.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// How the model wants to be sampled from.
    pub fn generation_config(&self) -> &GenerationConfig {
        &self.generation_config
    }

    /// The model's tokenizer, if it has one.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.tokenizer.as_ref()
    }

    /// The template that puts conversations into words, if there is one.
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.chat_template.as_ref()
    }

    /// Puts conversations into words by this template instead of the model's own.
    pub fn set_chat_template(&mut self, chat_template: ChatTemplate) {
        self.chat_template = Some(chat_template);
    }

    /// Whether conversations can be answered.
    pub fn has_chat_template(&self) -> bool {
        self.chat_template.is_some() && self.tokenizer.is_some()
    }

    /// Counters of the scheduler since the start.
    pub fn stats(&self) -> SchedulerStats {
        self.run_loop.scheduler().stats()
    }

    /// How busy the engine is.
    pub fn status(&self) -> EngineStatus {
        EngineStatus {
            has_kv_store: self.run_loop.kv_tier_stats().is_some(),
            last_step_time: self.last_step_time,
            total_step_time: self.total_step_time,
            ..EngineStatus::of(self.run_loop.scheduler())
        }
    }

    /// The pool of kv_blocks as at most `max_num_cells` cells, of as many blocks each, and one at least. Looks at
    /// every block: about 4 ns for each.
    pub fn block_map(&self, max_num_cells: usize) -> BlockMap {
        BlockMap::of(&self.run_loop.scheduler().block_states(), max_num_cells)
    }

    /// The tiers of the KV store from the nearest on, how full each is and what it has done; none without a store.
    pub fn kv_store_stats(&self) -> Vec<TierReport> {
        self.run_loop.kv_store_stats()
    }

    /// Bounds of steps and memory, as they were worked out at the start.
    pub fn scheduler_config(&self) -> &SchedulerConfig {
        self.run_loop.scheduler().config()
    }

    /// What computes: backend, ISA path, threads.
    pub fn device_name(&self) -> String {
        self.run_loop.device_name()
    }

    /// Two engines with equal ids give equal bits: backend, ISA path, formats, scales of the KV cache.
    pub fn numerics_id(&self) -> String {
        self.numerics_id.clone()
    }

    /// Of engines with equal ones, each can use the other's KV: weights, tokenizer, configuration, formats, numerics. In
    /// hexadecimal; `None` if nothing asked for it, a KV store or a record.
    pub fn kv_identity(&self) -> Option<&str> {
        self.kv_identity.as_deref()
    }

    /// Keys and values of one token in all layers, as the cache has them, bytes.
    pub fn kv_bytes_per_token(&self) -> u64 {
        self.kv_bytes_per_token
    }

    /// Storage format of the KV cache.
    pub fn kv_dtype(&self) -> KvDType {
        self.kv_dtype
    }

    /// What the user should know of how the engine was started.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
