//! One request in flight: its sequences, and the answer that they make together.

use crate::llm::RequestId;
use crate::output::{CompletionOutput, Logprob, PromptKv, RequestMetrics, RequestOutput};
use crate::sequence_state::{EndedSequence, SequenceState};

/// A live request. Sequences are known by their place in it.
pub(crate) struct RequestState {
    id: RequestId,
    prompt_token_ids: Vec<u32>,
    live: Vec<Option<SequenceState>>,
    completions: Vec<Option<CompletionOutput>>,
    /// They come with the first sequence.
    prompt_logprobs: Option<Vec<Option<Vec<Logprob>>>>,
    metrics: Option<RequestMetrics>,
    /// Known once a sequence has given tokens.
    prompt_kv: Option<PromptKv>,
}

impl RequestState {
    pub(crate) fn new(
        id: RequestId,
        prompt_token_ids: Vec<u32>,
        sequences: Vec<SequenceState>,
    ) -> Self {
        RequestState {
            id,
            prompt_token_ids,
            completions: vec![None; sequences.len()],
            live: sequences.into_iter().map(Some).collect(),
            prompt_logprobs: None,
            metrics: None,
            prompt_kv: None,
        }
    }

    /// Tokens of the prompt.
    pub(crate) fn num_prompt_tokens(&self) -> usize {
        self.prompt_token_ids.len()
    }

    /// A sequence, until it ends.
    pub(crate) fn sequence_mut(&mut self, index: usize) -> Option<&mut SequenceState> {
        self.live.get_mut(index)?.as_mut()
    }

    /// A sequence gave its first tokens. If they are the request's first, they tell of its prompt.
    pub(crate) fn begin_answer(&mut self, prompt_kv: PromptKv) -> Option<PromptKv> {
        let is_first = self.prompt_kv.is_none();
        is_first.then(|| *self.prompt_kv.insert(prompt_kv))
    }

    /// Takes out a sequence that has ended; [`RequestState::end`] wants what it gave.
    pub(crate) fn take(&mut self, index: usize) -> Option<SequenceState> {
        self.live.get_mut(index)?.take()
    }

    /// A sequence has ended and gave this; answers its last text.
    pub(crate) fn end(&mut self, ended: EndedSequence) -> String {
        let index = ended.completion.index;
        self.completions[index] = Some(ended.completion);
        self.prompt_logprobs = self.prompt_logprobs.take().or(ended.prompt_logprobs);
        match &mut self.metrics {
            Some(metrics) => metrics.merge(&ended.metrics),
            None => self.metrics = Some(ended.metrics),
        }
        ended.rest
    }

    /// Whether all sequences have ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.completions.iter().all(Option::is_some)
    }

    /// The answer, once all sequences have ended.
    pub(crate) fn into_output(self) -> RequestOutput {
        RequestOutput {
            index: self.id.0 as usize,
            prompt_token_ids: self.prompt_token_ids,
            prompt_logprobs: self.prompt_logprobs,
            prompt_kv: self.prompt_kv.unwrap_or_default(),
            outputs: self.completions.into_iter().flatten().collect(),
            metrics: self.metrics.unwrap_or_default(),
        }
    }
}
