//! Output lines: vLLM's `RequestOutput` as JSON.

use engine::LoadedTokens;
use engine::output::{CompletionOutput, Logprob, RequestMetrics, RequestOutput, StopReason};
use serde::Serialize;

/// One line. Field names and order are the format.
#[derive(Serialize)]
pub(crate) struct OutputLine<'a> {
    index: usize,
    prompt_token_ids: &'a [u32],
    prompt_logprobs: Option<Vec<Option<Vec<LogprobEntry<'a>>>>>,
    outputs: Vec<Completion<'a>>,
    metrics: Metrics,
}

#[derive(Serialize)]
struct Completion<'a> {
    index: usize,
    text: &'a str,
    token_ids: &'a [u32],
    finish_reason: &'static str,
    stop_reason: Option<Stop<'a>>,
    cumulative_logprob: Option<f32>,
    logprobs: Option<Vec<Vec<LogprobEntry<'a>>>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Stop<'a> {
    Text(&'a str),
    Token(u32),
}

#[derive(Serialize)]
struct LogprobEntry<'a> {
    token_id: u32,
    logprob: f32,
    rank: u32,
    decoded_token: Option<&'a str>,
}

#[derive(Serialize)]
struct Metrics {
    queue_time_s: f64,
    time_to_first_token_s: f64,
    e2e_latency_s: f64,
    num_prefill_chunks: u32,
    num_preemptions: u32,
    num_kv_blocks: u32,
    num_cached_tokens: usize,
    num_loaded_tokens: Loaded,
    num_lossy_tokens: usize,
    num_draft_tokens: usize,
    num_accepted_tokens: usize,
}

/// Tokens whose KV came from the store, by tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Loaded {
    pub host: usize,
    pub disk: usize,
    pub object: usize,
}

impl From<LoadedTokens> for Loaded {
    fn from(LoadedTokens { host, disk, object }: LoadedTokens) -> Loaded {
        Loaded { host, disk, object }
    }
}

impl<'a> OutputLine<'a> {
    /// `output` as the answer to the `index`-th request.
    pub(crate) fn new(index: usize, output: &'a RequestOutput) -> OutputLine<'a> {
        OutputLine {
            index,
            prompt_token_ids: &output.prompt_token_ids,
            prompt_logprobs: output.prompt_logprobs.as_ref().map(|positions| {
                let entries = |position: &'a Option<Vec<Logprob>>| position.as_deref().map(entries);
                positions.iter().map(entries).collect()
            }),
            outputs: output.outputs.iter().map(completion).collect(),
            metrics: metrics(&output.metrics),
        }
    }
}

fn completion(output: &CompletionOutput) -> Completion<'_> {
    Completion {
        index: output.index,
        text: &output.text,
        token_ids: &output.token_ids,
        finish_reason: output.finish_reason.name(),
        stop_reason: output.stop_reason.as_ref().map(|reason| match reason {
            StopReason::Text(text) => Stop::Text(text),
            StopReason::Token(id) => Stop::Token(*id),
        }),
        cumulative_logprob: output.cumulative_logprob,
        logprobs: output
            .logprobs
            .as_ref()
            .map(|positions| positions.iter().map(|position| entries(position)).collect()),
    }
}

fn entries(position: &[Logprob]) -> Vec<LogprobEntry<'_>> {
    fn entry(candidate: &Logprob) -> LogprobEntry<'_> {
        LogprobEntry {
            token_id: candidate.token_id,
            logprob: candidate.logprob,
            rank: candidate.rank,
            decoded_token: candidate.decoded_token.as_deref(),
        }
    }
    position.iter().map(entry).collect()
}

fn metrics(metrics: &RequestMetrics) -> Metrics {
    Metrics {
        queue_time_s: metrics.queue_time_s,
        time_to_first_token_s: metrics.time_to_first_token_s,
        e2e_latency_s: metrics.e2e_latency_s,
        num_prefill_chunks: metrics.num_prefill_chunks,
        num_preemptions: metrics.num_preemptions,
        num_kv_blocks: metrics.num_kv_blocks,
        num_cached_tokens: metrics.num_cached_tokens,
        num_loaded_tokens: metrics.num_loaded_tokens.into(),
        num_lossy_tokens: metrics.num_lossy_tokens,
        num_draft_tokens: metrics.num_draft_tokens,
        num_accepted_tokens: metrics.num_accepted_tokens,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::FinishReason;
    use engine::output::PromptKv;

    #[test]
    fn the_format_is_vllms() {
        let logprob = |token_id, logprob, rank, text: &str| Logprob {
            token_id,
            logprob,
            rank,
            decoded_token: Some(text.to_owned()),
        };
        let output = RequestOutput {
            index: 0,
            prompt_token_ids: vec![1, 2],
            prompt_logprobs: Some(vec![None, Some(vec![logprob(2, -0.1, 1, "b")])]),
            prompt_kv: PromptKv::default(),
            outputs: vec![CompletionOutput {
                index: 0,
                text: "é\n".to_owned(),
                token_ids: vec![5],
                finish_reason: FinishReason::Stop,
                stop_reason: Some(StopReason::Token(5)),
                cumulative_logprob: Some(-0.3),
                logprobs: Some(vec![vec![logprob(5, -0.3, 2, "é"), logprob(6, -0.2, 1, "x")]]),
            }],
            metrics: RequestMetrics::default(),
        };
        let line = serde_json::to_string(&OutputLine::new(3, &output)).unwrap();
        assert_eq!(
            line,
            "{\"index\":3,\"prompt_token_ids\":[1,2],\"prompt_logprobs\":[null,\
             [{\"token_id\":2,\"logprob\":-0.1,\"rank\":1,\"decoded_token\":\"b\"}]],\
             \"outputs\":[{\"index\":0,\"text\":\"é\\n\",\"token_ids\":[5],\"finish_reason\":\"stop\",\
             \"stop_reason\":5,\"cumulative_logprob\":-0.3,\"logprobs\":[[\
             {\"token_id\":5,\"logprob\":-0.3,\"rank\":2,\"decoded_token\":\"é\"},\
             {\"token_id\":6,\"logprob\":-0.2,\"rank\":1,\"decoded_token\":\"x\"}]]}],\
             \"metrics\":{\"queue_time_s\":0.0,\"time_to_first_token_s\":0.0,\"e2e_latency_s\":0.0,\
             \"num_prefill_chunks\":0,\"num_preemptions\":0,\"num_kv_blocks\":0,\"num_cached_tokens\":0,\
             \"num_loaded_tokens\":{\"host\":0,\"disk\":0,\"object\":0},\"num_lossy_tokens\":0,\
             \"num_draft_tokens\":0,\"num_accepted_tokens\":0}}"
        );
    }
}
