//! The engine as a library user sees it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use engine_core::config::ModelConfig;
use engine_core::request::{FinishReason, SamplingParams, SeqId, StopRules, TokenId};
use engine_core::sampling::SampleKey;
use engine_core::scheduler::{FinishedSeq, SchedulerStats};

use crate::bad_words::bad_word_tokens;
use crate::builder::LlmBuilder;
use crate::error::LlmError;
use crate::output::RequestOutput;
use crate::prompt::Prompt;
use crate::request_state::RequestState;
use crate::run_loop::RunLoop;
use crate::sampler::SeqRequest;
use crate::text::{ChatTemplate, Message, RenderOptions, Tokenizer};
use crate::weights::GenerationConfig;

/// A request of one [`Llm`], in order of arrival from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What a step did for one request.
#[derive(Clone, Debug)]
pub struct RequestUpdate {
    /// Which request.
    pub id: RequestId,
    /// Text that is new and final.
    pub text_delta: String,
    /// Tokens that are new.
    pub new_token_ids: Vec<u32>,
    /// The whole answer, when the request has ended with this step.
    pub finished: Option<RequestOutput>,
}

/// A model, ready to answer.
///
/// Requests that are in flight together share steps; what one of them is answered never depends on
/// which others there are, on the order they came in, or on the engine's sizes and threads.
pub struct Llm {
    run_loop: Box<dyn RunLoop>,
    numerics_id: String,
    warnings: Vec<String>,
    config: ModelConfig,
    generation_config: GenerationConfig,
    tokenizer: Option<Tokenizer>,
    chat_template: Option<ChatTemplate>,
    eos_token_ids: Vec<TokenId>,
    seed: u64,
    next_id: RequestId,
    live: BTreeMap<SeqId, RequestState>,
}

/// What [`LlmBuilder`] puts together.
pub(crate) struct LlmParts {
    pub(crate) run_loop: Box<dyn RunLoop>,
    pub(crate) numerics_id: String,
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
        let LlmParts { tokenizer, chat_template, seed, .. } = parts;
        let mut eos_token_ids: Vec<_> =
            generation_config.eos_token_ids.iter().map(|&id| TokenId(id)).collect();
        if eos_token_ids.is_empty() {
            eos_token_ids.extend(tokenizer.as_ref().and_then(Tokenizer::eos_id).map(TokenId));
        }
        let (next_id, live) = (RequestId(0), BTreeMap::new());
        Llm {
            run_loop,
            numerics_id,
            warnings,
            config,
            generation_config,
            tokenizer,
            chat_template,
            eos_token_ids,
            seed,
            next_id,
            live,
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
        for prompt in prompts {
            match self.add_request(prompt.clone().into(), params.clone()) {
                Ok(id) => ids.push(id),
                Err(error) => {
                    ids.iter().for_each(|&id| drop(self.abort(id)));
                    return Err(error);
                }
            }
        }
        let mut outputs: Vec<Option<RequestOutput>> = vec![None; prompts.len()];
        while outputs.iter().any(Option::is_none) {
            for update in self.step()? {
                if let (Ok(index), Some(mut output)) =
                    (ids.binary_search(&update.id), update.finished)
                {
                    output.index = index;
                    outputs[index] = Some(output);
                }
            }
        }
        Ok(outputs.into_iter().flatten().collect())
    }

    /// Queues a request; [`Llm::step`] works on it.
    ///
    /// # Errors
    /// [`LlmError`] if it could never be answered.
    pub fn add_request(
        &mut self,
        prompt: Prompt,
        params: SamplingParams,
    ) -> Result<RequestId, LlmError> {
        params.validate()?;
        params.validate_for_vocab(self.config.vocab_size)?;
        if self.tokenizer.is_none() && !params.stop.is_empty() {
            return Err(LlmError::NoTokenizer { what: "a stop text" });
        }
        let bad_words = self.bad_words(&params)?;
        let prompt_token_ids = self.encode(&prompt)?;
        let id = self.next_id;
        let stop_rules = StopRules::new(&params, &self.eos_token_ids);
        let mut silent_stops = params.stop_token_ids.clone();
        if !params.ignore_eos {
            silent_stops.extend(&self.eos_token_ids);
        }
        let key = match params.seed {
            Some(seed) => SampleKey::from_request_seed(seed),
            None => SampleKey::from_engine_seed(self.seed, id.0),
        };
        let seq_id = self.run_loop.add(SeqRequest {
            prompt_token_ids: prompt_token_ids.iter().map(|&id| TokenId(id)).collect(),
            params: params.clone(),
            stop_rules,
            key,
            bad_words,
        })?;
        self.next_id = RequestId(id.0 + 1);
        let tokenizer = self.tokenizer.as_ref();
        let state = RequestState::new(id, prompt_token_ids, params, silent_stops, tokenizer);
        self.live.insert(seq_id, state);
        Ok(id)
    }

    /// The tokens of a prompt, as a request would have them.
    ///
    /// # Errors
    /// [`LlmError`] without a tokenizer or chat template, and for tokens outside the vocabulary.
    pub fn encode(&self, prompt: &Prompt) -> Result<Vec<u32>, LlmError> {
        let token_ids = match prompt {
            Prompt::TokenIds(token_ids) => token_ids.clone(),
            Prompt::Text(text) => {
                let tokenizer = self.tokenizer_for("a text prompt")?;
                tokenizer.encode(text, true)?
            }
            Prompt::Messages(messages) => {
                let text = self.render(messages)?;
                self.tokenizer_for("a conversation")?.encode(&text, false)?
            }
        };
        let vocab_size = self.config.vocab_size;
        match token_ids.iter().find(|&&id| id as usize >= vocab_size) {
            Some(&token_id) => Err(LlmError::TokenOutOfVocab { token_id, vocab_size }),
            None => Ok(token_ids),
        }
    }

    /// The request's bad words in tokens.
    fn bad_words(&self, params: &SamplingParams) -> Result<Vec<Vec<TokenId>>, LlmError> {
        if params.bad_words.is_empty() {
            return Ok(Vec::new());
        }
        let sequences = bad_word_tokens(&params.bad_words, self.tokenizer_for("a bad word")?)?;
        Ok(sequences)
    }

    fn tokenizer_for(&self, what: &'static str) -> Result<&Tokenizer, LlmError> {
        self.tokenizer.as_ref().ok_or(LlmError::NoTokenizer { what })
    }

    fn render(&self, messages: &[Message]) -> Result<String, LlmError> {
        let tokenizer = self.tokenizer_for("a conversation")?;
        let template = self.chat_template.as_ref().ok_or(LlmError::NoChatTemplate)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let (bos_token, eos_token) = (tokenizer.bos_token(), tokenizer.eos_token());
        let options = RenderOptions {
            add_generation_prompt: true,
            bos_token: bos_token.as_deref(),
            eos_token: eos_token.as_deref(),
            now_unix_s: now.ok().map(|now| now.as_secs() as i64),
        };
        Ok(template.render(messages, &options)?)
    }

    /// Runs one step of the engine: some rows of some requests.
    ///
    /// # Errors
    /// [`LlmError::Step`]; the requests in flight are then lost.
    pub fn step(&mut self) -> Result<Vec<RequestUpdate>, LlmError> {
        let step_start = Instant::now();
        let report = match self.run_loop.step() {
            Ok(report) => report,
            Err(error) => {
                self.abort_all();
                return Err(error.into());
            }
        };
        let mut finished: BTreeMap<SeqId, FinishedSeq> =
            report.finished.into_iter().map(|seq| (seq.sequence.seq_id(), seq)).collect();
        let mut updates = Vec::with_capacity(report.updates.len());
        for update in report.updates {
            let seq_id = update.seq_id;
            let Some(state) = self.live.get_mut(&seq_id) else { continue };
            let new_token_ids = update.sampled.iter().map(|sampled| sampled.token_id.0).collect();
            let text_delta = state.update(update, step_start, self.tokenizer.as_ref());
            let ended = match finished.remove(&seq_id) {
                Some(seq) => Some(seq),
                None if state.hit_stop_text() => self.run_loop.finish(seq_id, FinishReason::Stop),
                None => None,
            };
            let mut request_update =
                RequestUpdate { id: state.id(), text_delta, new_token_ids, finished: None };
            if let Some(seq) = ended {
                self.finish(&seq, &mut request_update);
            }
            updates.push(request_update);
        }
        Ok(updates)
    }

    fn finish(&mut self, seq: &FinishedSeq, update: &mut RequestUpdate) {
        if let Some(state) = self.live.remove(&seq.sequence.seq_id()) {
            let (rest, output) = state.finish(seq);
            update.text_delta.push_str(&rest);
            update.finished = Some(output);
        }
    }

    /// Withdraws a request; what it gave so far is its answer. `None` if it has ended already.
    pub fn abort(&mut self, id: RequestId) -> Option<RequestOutput> {
        let (&seq_id, _) = self.live.iter().find(|(_, state)| state.id() == id)?;
        let seq = self.run_loop.finish(seq_id, FinishReason::Abort)?;
        self.live.remove(&seq_id).map(|state| state.finish(&seq).1)
    }

    fn abort_all(&mut self) {
        for seq_id in std::mem::take(&mut self.live).into_keys() {
            self.run_loop.finish(seq_id, FinishReason::Abort);
        }
    }

    /// Whether a request waits or runs.
    pub fn has_unfinished(&self) -> bool {
        self.run_loop.has_unfinished()
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

    /// Whether conversations can be answered.
    pub fn has_chat_template(&self) -> bool {
        self.chat_template.is_some() && self.tokenizer.is_some()
    }

    /// Counters of the scheduler since the start.
    pub fn stats(&self) -> SchedulerStats {
        self.run_loop.stats()
    }

    /// What computes: backend, ISA path, threads.
    pub fn device_name(&self) -> String {
        self.run_loop.device_name()
    }

    /// Two engines with equal ids give equal bits: backend, ISA path, formats, scales of the KV cache.
    pub fn numerics_id(&self) -> String {
        self.numerics_id.clone()
    }

    /// What the user should know of how the engine was started.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
