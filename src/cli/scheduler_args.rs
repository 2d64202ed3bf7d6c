//! The arguments of the scheduler and of the KV cache, by vLLM's names.

use clap::{Args, ValueEnum};
use engine::{LlmBuilder, NgramConfig, SchedulingPolicy};
use serde::Deserialize;

/// Who computes when, and what is kept.
#[derive(Args, Debug)]
#[command(next_help_heading = "Scheduler")]
pub(crate) struct SchedulerArgs {
    /// Use KV that earlier requests computed for the same beginning [default]
    #[arg(long, overrides_with = "no_enable_prefix_caching")]
    enable_prefix_caching: bool,

    /// Compute every prompt from its first token
    #[arg(long)]
    no_enable_prefix_caching: bool,

    /// Compute long prompts over several steps, beside the answers in progress [default]
    #[arg(long, overrides_with = "no_enable_chunked_prefill")]
    enable_chunked_prefill: bool,

    /// Compute a prompt in one step; --max-num-batched-tokens must hold the longest
    #[arg(long)]
    no_enable_chunked_prefill: bool,

    /// Most tokens of one prompt in a step while other requests live; 0: no limit [default: 0]
    #[arg(long, value_name = "TOKENS")]
    long_prefill_token_threshold: Option<usize>,

    /// Longest step while answers are in progress, in milliseconds: prompts beside them are
    /// computed in chunks that fit [default: no target]
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    tpot_target_ms: Option<f64>,

    /// Who is served first: fcfs, or the lower `priority` of the requests
    #[arg(long, value_enum, default_value_t = PolicyArg::Fcfs)]
    scheduling_policy: PolicyArg,

    /// Most requests that wait; more are refused [default: no limit]
    #[arg(long, value_name = "N")]
    max_num_queued_reqs: Option<usize>,

    /// Host memory for the KV of requests that had to give way, in GiB; 0: it is computed again
    /// [default: 0]
    #[arg(long, value_name = "GIB", value_parser = gibibytes)]
    swap_space: Option<f64>,

    /// Share of the memory for weights, activations and KV cache together, instead of
    /// --kv-cache-memory-bytes
    #[arg(long, value_name = "SHARE", value_parser = share, conflicts_with = "kv_cache_memory_bytes")]
    gpu_memory_utilization: Option<f64>,

    /// Guess tokens ahead from the text so far: {"method": "ngram", "num_speculative_tokens": 4,
    /// "prompt_lookup_min": 2, "prompt_lookup_max": 4}; the answers are the same, to the bit
    #[arg(long, value_name = "JSON", value_parser = speculative_config)]
    speculative_config: Option<NgramConfig>,
}

/// [`SchedulingPolicy`] on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PolicyArg {
    Fcfs,
    Priority,
}

impl SchedulerArgs {
    /// Whether they say how large the KV cache is.
    pub(crate) fn sizes_kv_cache(&self) -> bool {
        self.gpu_memory_utilization.is_some()
    }

    /// `builder` with what is given.
    pub(crate) fn apply(&self, mut builder: LlmBuilder) -> LlmBuilder {
        builder = builder
            .enable_prefix_caching(!self.no_enable_prefix_caching)
            .enable_chunked_prefill(!self.no_enable_chunked_prefill)
            .scheduling_policy(match self.scheduling_policy {
                PolicyArg::Fcfs => SchedulingPolicy::Fcfs,
                PolicyArg::Priority => SchedulingPolicy::Priority,
            });
        if let Some(tokens) = self.long_prefill_token_threshold {
            builder = builder.long_prefill_token_threshold(tokens);
        }
        if let Some(ms) = self.tpot_target_ms {
            builder = builder.tpot_target_ms(ms);
        }
        if let Some(count) = self.max_num_queued_reqs {
            builder = builder.max_num_queued_reqs(count);
        }
        if let Some(gib) = self.swap_space {
            builder = builder.swap_space(gib);
        }
        if let Some(share) = self.gpu_memory_utilization {
            builder = builder.gpu_memory_utilization(share);
        }
        match self.speculative_config {
            Some(ngram) => builder.speculative(ngram),
            None => builder,
        }
    }
}

fn milliseconds(text: &str) -> Result<f64, String> {
    number(text, |ms| ms > 0.0, "above 0")
}

fn gibibytes(text: &str) -> Result<f64, String> {
    number(text, |gib| gib >= 0.0, "from 0 up")
}

fn share(text: &str) -> Result<f64, String> {
    number(text, |share| share > 0.0 && share <= 1.0, "above 0 and up to 1")
}

fn number(text: &str, fits: impl Fn(f64) -> bool, words: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && fits(number) => Ok(number),
        _ => Err(format!("give a number {words}")),
    }
}

/// vLLM's JSON, as far as it is about prompt lookup.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SpeculativeConfig {
    method: String,
    num_speculative_tokens: usize,
    prompt_lookup_min: Option<usize>,
    prompt_lookup_max: Option<usize>,
}

/// vLLM's defaults: of the two lengths, one that is not given is the other, or 5.
fn speculative_config(text: &str) -> Result<NgramConfig, String> {
    const DEFAULT_LOOKUP: usize = 5;
    let config: SpeculativeConfig =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    if config.method != "ngram" {
        return Err(format!("method {:?} is not known; there is \"ngram\"", config.method));
    }
    let (min, max) = (config.prompt_lookup_min, config.prompt_lookup_max);
    Ok(NgramConfig {
        num_speculative_tokens: config.num_speculative_tokens,
        prompt_lookup_min: min.or(max).unwrap_or(DEFAULT_LOOKUP),
        prompt_lookup_max: max.or(min).unwrap_or(DEFAULT_LOOKUP),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_is_configured_as_in_vllm() {
        let parse =
            |text| speculative_config(text).map(|c| (c.prompt_lookup_min, c.prompt_lookup_max));
        assert_eq!(parse(r#"{"method": "ngram", "num_speculative_tokens": 4}"#), Ok((5, 5)));
        let max = r#"{"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 3}"#;
        assert_eq!(parse(max), Ok((3, 3)));
        let both = r#"{"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_min": 2,
                       "prompt_lookup_max": 6}"#;
        assert_eq!(parse(both), Ok((2, 6)));
    }

    #[test]
    fn what_is_not_known_is_named() {
        for (text, expected) in [
            (r#"{"method": "eagle", "num_speculative_tokens": 4}"#, "\"eagle\" is not known"),
            (r#"{"method": "ngram"}"#, "num_speculative_tokens"),
            (r#"{"method": "ngram", "num_speculative_tokens": 4, "model": "x"}"#, "`model`"),
            ("4", "expected struct"),
        ] {
            let error = speculative_config(text).unwrap_err();
            assert!(error.contains(expected), "{text} gave {error}");
        }
    }
}
