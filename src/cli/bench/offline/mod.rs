//! Benches with an engine of their own, without a server: what they have in common.

pub(super) mod context_scaling;
pub(super) mod latency;
pub(super) mod multi_user;
mod rounds;
pub(super) mod throughput;

use clap::Args;
use engine::{Llm, LogprobsMode, SamplingParams};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::cli::args::EngineArgs;
use crate::cli::engine_setup::{self, EngineSetup};
use crate::cli::error::CliError;
use crate::cli::kv_store_args::KvStoreArgs;
use crate::cli::scheduler_args::SchedulerArgs;

/// The engine that is measured.
#[derive(Args, Debug)]
pub(super) struct MeasuredEngineArgs {
    /// The model: as --model, which it replaces
    #[arg(value_name = "MODEL", conflicts_with = "model")]
    model_name: Option<String>,

    /// Seed of the prompts
    #[arg(long, default_value_t = 0)]
    seed: u64,

    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    scheduler: SchedulerArgs,
    #[command(flatten)]
    kv_store: KvStoreArgs,
}

impl MeasuredEngineArgs {
    fn model(&self) -> &str {
        self.model_name.as_ref().unwrap_or(&self.engine.model)
    }

    /// The options, with a longest sequence if the user named none.
    fn load(&self, max_model_len: Option<usize>) -> Result<Llm, CliError> {
        let mut engine = self.engine.clone();
        engine.model = self.model().to_owned();
        engine.max_model_len = engine.max_model_len.or(max_model_len);
        engine_setup::load(&EngineSetup {
            engine: &engine,
            scheduler: &self.scheduler,
            kv_store: &self.kv_store,
            logprobs_mode: LogprobsMode::default(),
            seed: None,
            record: None,
        })
    }

    fn rng(&self) -> StdRng {
        StdRng::seed_from_u64(self.seed)
    }
}

/// An answer of exactly so many tokens, always the same one.
fn greedy(num_tokens: usize) -> SamplingParams {
    SamplingParams {
        max_tokens: num_tokens,
        temperature: 0.0,
        ignore_eos: true,
        ..SamplingParams::default()
    }
}

/// A prompt of random tokens, as many as asked for.
fn random_prompt(llm: &Llm, num_tokens: usize, rng: &mut impl Rng) -> Vec<u32> {
    let vocab_size = llm.config().vocab_size as u32;
    (0..num_tokens).map(|_| rng.random_range(0..vocab_size)).collect()
}

/// Empties the prefix cache: what was computed before would be found, and not computed.
fn forget(llm: &mut Llm) -> Result<(), CliError> {
    match llm.reset_prefix_cache() {
        true => Ok(()),
        false => Err(CliError::internal("a request is still running")),
    }
}

/// Refuses lengths that the model does not take.
fn check_length(llm: &Llm, input_len: usize, output_len: usize) -> Result<(), CliError> {
    let longest = llm.scheduler_config().max_model_len;
    match input_len + output_len <= longest {
        true => Ok(()),
        false => Err(CliError::usage(format!(
            "{input_len} tokens of prompt and {output_len} of answer are more than the model's {longest}"
        ))
        .with_hint("give a smaller --input-len or --output-len, or a larger --max-model-len")),
    }
}
