//! Requests that are answered together, and when each token came.

use std::collections::BTreeMap;
use std::time::Instant;

use engine::{Llm, RequestId, RequestOptions, RequestOutput, SamplingParams};

use crate::cli::engine_setup::engine_error;
use crate::cli::error::CliError;

/// Several answers. Times are seconds.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// From the first request to the last token.
    pub elapsed_s: f64,
    /// One for each request, in their order.
    pub answers: Vec<Timed>,
}

/// An answer, and its times since the round began.
#[derive(Debug, Default)]
pub(super) struct Timed {
    pub ttft_s: f64,
    pub latency_s: f64,
    /// From each of the later tokens' steps to the next.
    pub itls_s: Vec<f64>,
    pub output: Option<RequestOutput>,
    last_s: Option<f64>,
}

impl Timed {
    /// Prompt tokens whose KV was there already: on the device, or in the KV store.
    pub(super) fn num_found_tokens(&self) -> usize {
        let Some(output) = &self.output else { return 0 };
        let loaded = &output.metrics.num_loaded_tokens;
        output.metrics.num_cached_tokens + loaded.host + loaded.disk
    }

    pub(super) fn num_output_tokens(&self) -> usize {
        let outputs = self.output.iter().flat_map(|output| &output.outputs);
        outputs.map(|output| output.token_ids.len()).sum()
    }
}

/// Answers all prompts at once.
///
/// # Errors
/// If one is refused, or the engine fails.
pub(super) fn answer(
    llm: &mut Llm,
    prompts: &[Vec<u32>],
    params: &SamplingParams,
    options: impl Fn(usize) -> RequestOptions,
) -> Result<Round, CliError> {
    let start = Instant::now();
    let mut answers: Vec<Timed> = prompts.iter().map(|_| Timed::default()).collect();
    let mut places: BTreeMap<RequestId, usize> = BTreeMap::new();
    for (index, prompt) in prompts.iter().enumerate() {
        let id = llm.add_request_with(prompt.clone().into(), params.clone(), options(index));
        places.insert(id.map_err(|error| engine_error(&error))?, index);
    }
    while !places.is_empty() {
        for update in llm.step() {
            if let Some(error) = update.error {
                return Err(engine_error(&error.into()));
            }
            let Some(&index) = places.get(&update.id) else { continue };
            let (answer, now_s) = (&mut answers[index], start.elapsed().as_secs_f64());
            if !update.new_token_ids.is_empty() {
                match answer.last_s.replace(now_s) {
                    Some(last_s) => answer.itls_s.push(now_s - last_s),
                    None => answer.ttft_s = now_s,
                }
            }
            if let Some(output) = update.finished {
                answer.latency_s = now_s;
                answer.output = Some(output);
                places.remove(&update.id);
            }
        }
    }
    Ok(Round { elapsed_s: start.elapsed().as_secs_f64(), answers })
}
