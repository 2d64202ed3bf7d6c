//! How many tokens a request took.

use engine::RequestUpdate;
use engine::output::RequestOutput;
use serde_json::{Value, json};

use super::answer::StreamOptions;

/// Tokens of prompts and answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    num_prompt_tokens: usize,
    num_completion_tokens: usize,
    num_cached_tokens: usize,
    num_lossy_tokens: usize,
}

impl Usage {
    /// Adds what a request took.
    pub(super) fn add(&mut self, output: &RequestOutput) {
        let lengths = output.outputs.iter().map(|completion| completion.token_ids.len());
        let num_prompt_tokens = output.prompt_token_ids.len();
        // As vLLM counts: found on the device, or by its connector elsewhere.
        let kv = output.prompt_kv;
        self.num_prompt_tokens += num_prompt_tokens;
        self.num_completion_tokens += lengths.sum::<usize>();
        self.num_cached_tokens += kv.num_cached_tokens + kv.num_loaded_tokens;
        self.num_lossy_tokens += output.metrics.num_lossy_tokens;
    }

    /// In the words of `/v1/responses`.
    pub(super) fn response_json(self) -> Value {
        json!({
            "input_tokens": self.num_prompt_tokens,
            "input_tokens_details": self.details(),
            "output_tokens": self.num_completion_tokens,
            "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": self.num_prompt_tokens + self.num_completion_tokens,
        })
    }

    pub(super) fn json(self) -> Value {
        json!({
            "prompt_tokens": self.num_prompt_tokens,
            "total_tokens": self.num_prompt_tokens + self.num_completion_tokens,
            "completion_tokens": self.num_completion_tokens,
            "prompt_tokens_details": self.details(),
        })
    }

    /// What became of a prompt's tokens.
    fn details(self) -> Value {
        let mut details = json!({ "cached_tokens": self.num_cached_tokens });
        // Ours: the store's KV is not bit for bit what would have been computed.
        if self.num_lossy_tokens > 0 {
            details["lossy_tokens"] = self.num_lossy_tokens.into();
        }
        details
    }
}

/// What the chunks of a stream say of usage before its end.
#[derive(Debug)]
pub(super) struct UsageSoFar {
    options: StreamOptions,
    /// Of each sequence.
    num_completion_tokens: Vec<usize>,
}

impl UsageSoFar {
    pub(super) fn new(options: StreamOptions) -> Self {
        UsageSoFar { options, num_completion_tokens: Vec::new() }
    }

    /// Whether the stream ends with its usage.
    pub(super) fn is_told(&self) -> bool {
        self.options.include_usage
    }

    /// Counts what came of sequence `index`, and gives the field `usage` of its chunks, if they have one.
    pub(super) fn add(&mut self, index: usize, update: &RequestUpdate) -> Option<Value> {
        let num_sequences = self.num_completion_tokens.len().max(index + 1);
        self.num_completion_tokens.resize(num_sequences, 0);
        self.num_completion_tokens[index] += update.new_token_ids.len();
        self.is_told().then(|| match self.options.continuous_usage_stats {
            false => Value::Null,
            true => json!({
                "prompt_tokens": update.num_prompt_tokens,
                "total_tokens": update.num_prompt_tokens + self.num_completion_tokens[index],
                "completion_tokens": self.num_completion_tokens[index],
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounded_kv_is_said_and_nothing_else_is() {
        let exact = Usage { num_prompt_tokens: 9, num_cached_tokens: 8, ..Usage::default() };
        let lossy = Usage { num_lossy_tokens: 8, ..exact };
        let details = |usage: Usage| usage.json()["prompt_tokens_details"].clone();
        assert_eq!(details(exact), json!({ "cached_tokens": 8 }));
        assert_eq!(details(lossy), json!({ "cached_tokens": 8, "lossy_tokens": 8 }));
    }
}
