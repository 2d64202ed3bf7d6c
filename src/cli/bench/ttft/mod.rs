//! `kvasir bench ttft`: what a prefix that is kept somewhere saves.
//!
//! One prompt, from its text to its first token: computed (cold), and with its KV on the device, in host
//! memory, and in a directory. The answers are compared, and the counters say that the KV really came from
//! there. Beside each stands what the machine allows in the same run: the text cut into tokens, the KV's
//! bytes copied or read raw, and one step of decode.

mod limits;
mod prompt;
mod report;
mod runs;

use std::path::PathBuf;

use clap::Args;
use engine::kv_store::store::StoreConfig;
use engine::{DirectoryConfig, HostConfig, Llm, LlmBuilder, LogprobsMode};
use engine_core::limits::MAX_BLOCK_SIZE;

use super::memory::MemorySampler;
use super::output::OutputArgs;
use super::progress;
use super::spread::Spread;
use crate::cli::args::EngineArgs;
use crate::cli::engine_setup::{self, EngineSetup, engine_error};
use crate::cli::error::CliError;
use crate::cli::kv_store_args::KvStoreArgs;
use crate::cli::scheduler_args::SchedulerArgs;
use limits::Limits;
use report::{Method, Report, Row};
use runs::{NUM_OUTPUT_TOKENS, Place, Runs};

/// `kvasir bench ttft`.
#[derive(Args, Debug)]
pub(crate) struct TtftArgs {
    /// The model: as --model, which it replaces
    #[arg(value_name = "MODEL", conflicts_with = "model")]
    model_name: Option<String>,

    /// Tokens of the prompt, or a few more: it ends with a sentence
    #[arg(long, value_name = "TOKENS", default_value_t = 7900)]
    prompt_tokens: usize,

    /// Runs of each kind that are measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    repeats: u32,

    /// Keep the directory's tier below this folder; what is written is removed
    #[arg(long, value_name = "FOLDER", default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,

    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    scheduler: SchedulerArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Tiers keep one prompt, and room enough that none of it has to leave.
const CAP_PER_KV_BYTE: u64 = 4;

pub(super) fn run(args: &TtftArgs) -> Result<(), CliError> {
    let mut engine = args.engine.clone();
    if let Some(model) = &args.model_name {
        engine.model.clone_from(model);
    }
    let report = measure(args, &engine)?;
    args.output.give(&report, &report.to_string(), || report.page())
}

fn measure(args: &TtftArgs, engine: &EngineArgs) -> Result<Report, CliError> {
    let sampler = MemorySampler::start();
    let folder = tempfile::Builder::new().prefix("kvasir-bench-").tempdir_in(&args.directory);
    let folder = folder.map_err(|error| {
        CliError::output(&args.directory.display().to_string(), &error)
            .with_hint("name a folder that can be written to with --directory")
    })?;
    let bar = progress(num_runs(args.repeats));
    let builder = builder(engine, &args.scheduler)?;

    let mut llm = build(builder.clone())?;
    let text = prompt::text(&llm, args.prompt_tokens)?;
    let mut runs = Runs::new(text, args.repeats, &bar);
    let cold = runs.measure(&mut llm, Place::Nowhere)?;
    let device = runs.measure(&mut llm, Place::Device)?;
    let kv_bytes_per_token = llm.kv_bytes_per_token();
    let kv_bytes = kv_bytes_per_token * runs.num_prompt_tokens() as u64;
    let header = (llm.device_name(), llm.numerics_id());
    drop(llm);

    bar.set_message("what the machine allows");
    let limits = Limits::measure(&runs, kv_bytes, folder.path())
        .map_err(|error| CliError::output(&folder.path().display().to_string(), &error))?;

    let cap_bytes = kv_bytes * CAP_PER_KV_BYTE;
    let builder = match engine.kv_cache_memory_bytes.is_some() || args.scheduler.sizes_kv_cache() {
        true => builder,
        false => small(builder, runs.num_prompt_tokens(), kv_bytes_per_token),
    };
    let host = StoreConfig { host: Some(HostConfig::lru(cap_bytes)), ..StoreConfig::default() };
    let host = runs.measure(&mut build(builder.clone().kv_store(host))?, Place::Host)?;
    let directory = DirectoryConfig::new(folder.path().join("kv"), cap_bytes);
    let disk = StoreConfig { directory: Some(directory), ..StoreConfig::default() };
    let disk = runs.measure(&mut build(builder.kv_store(disk))?, Place::Disk)?;
    bar.finish_and_clear();

    let row =
        |method: Method, ttft: Spread, limit_s: Option<f64>| Row::new(method, ttft, &cold, limit_s);
    Ok(Report {
        model: engine.model.clone(),
        device: header.0,
        numerics_id: header.1,
        num_prompt_tokens: runs.num_prompt_tokens(),
        kv_bytes,
        rows: vec![
            row(Method::Computed, cold, None),
            row(Method::Device, device, Some(limits.with_nothing_moved_s())),
            row(Method::Host, host, Some(limits.with_copy_s())),
            row(Method::Disk, disk, Some(limits.with_read_s())),
        ],
        limits,
        memory: sampler.stop(),
    })
}

fn builder(engine: &EngineArgs, scheduler: &SchedulerArgs) -> Result<LlmBuilder, CliError> {
    engine_setup::builder(&EngineSetup {
        engine,
        scheduler,
        kv_store: &KvStoreArgs::default(),
        logprobs_mode: LogprobsMode::default(),
        seed: None,
        record: None,
    })
}

fn build(builder: LlmBuilder) -> Result<Llm, CliError> {
    builder.build().map_err(|error| engine_error(&error))
}

/// An engine whose pool of kv_blocks holds the prompt, its answer and little more. So every page of it was used
/// before anything is measured, as in an engine that has served for a while: what the system takes to give a page
/// belongs to no load.
fn small(builder: LlmBuilder, num_prompt_tokens: usize, kv_bytes_per_token: u64) -> LlmBuilder {
    let max_model_len = num_prompt_tokens + NUM_OUTPUT_TOKENS + 1;
    let num_tokens = max_model_len + max_model_len / 8 + MAX_BLOCK_SIZE;
    builder
        .max_model_len(max_model_len)
        .kv_cache_memory_bytes(kv_bytes_per_token * num_tokens as u64)
}

/// One tick for each prompt that is answered, those that only store among them.
fn num_runs(repeats: u32) -> u64 {
    u64::from(repeats) * Place::ALL.len() as u64 + Place::NUM_PRIMING
}
