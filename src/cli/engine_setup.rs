//! From flags to a running engine.

use std::path::Path;

use clap::ValueEnum;
use engine::{KvCacheDType, Llm, LlmBuilder, LlmError, LogprobsMode};

use super::args::{BackendArg, EngineArgs};
use super::bars::DownloadBars;
use super::error::CliError;
use super::kv_store_args::KvStoreArgs;
use super::scheduler_args::SchedulerArgs;

/// What commands say of the engine they want.
pub(crate) struct EngineSetup<'a> {
    pub engine: &'a EngineArgs,
    pub scheduler: &'a SchedulerArgs,
    pub kv_store: &'a KvStoreArgs,
    pub logprobs_mode: LogprobsMode,
    pub seed: Option<u64>,
    /// Where to write the run down.
    pub record: Option<&'a Path>,
}

/// Finds the model, fetching it if need be, and loads it.
pub(crate) fn load(setup: &EngineSetup<'_>) -> Result<Llm, CliError> {
    let llm = builder(setup)?.build().map_err(|error| engine_error(&error))?;
    llm.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    Ok(llm)
}

/// Finds the model, fetching it if need be; what is left is to load it.
pub(crate) fn builder(setup: &EngineSetup<'_>) -> Result<LlmBuilder, CliError> {
    let engine = setup.engine;
    refuse_idle_options(engine)?;
    let path = engine::hub::resolve(&engine.model, &DownloadBars::new())?;
    let mut builder = Llm::builder(path)
        .backend(engine.backend.into())
        .pins(engine.pins.clone())
        .kernel_log(|line| tracing::info!("{line}"))
        .logprobs_mode(setup.logprobs_mode);
    if let Some(isa) = engine.cpu_isa.isa() {
        builder = builder.cpu_isa(isa);
    }
    if let Some(dtype) = engine.dtype.dtype() {
        builder = builder.dtype(dtype);
    }
    builder = builder.kv_cache_dtype(engine.kv_cache_dtype);
    if let Some(flavour) = engine.fp8_flavour.flavour() {
        builder = builder.fp8_flavour(flavour);
    }
    if let Some(file) = &engine.kv_cache_scales {
        builder = builder.kv_cache_scales(file);
    }
    if let Some(tokens) = engine.max_model_len {
        builder = builder.max_model_len(tokens);
    }
    if let Some(count) = engine.max_num_seqs {
        builder = builder.max_num_seqs(count);
    }
    if let Some(tokens) = engine.max_num_batched_tokens {
        builder = builder.max_num_batched_tokens(tokens);
    }
    if let Some(tokens) = engine.block_size {
        builder = builder.block_size(tokens);
    }
    if let Some(bytes) = engine.kv_cache_memory_bytes {
        builder = builder.kv_cache_memory_bytes(bytes);
    }
    if let Some(count) = engine.threads {
        builder = builder.threads(count);
    }
    if let Some(seed) = setup.seed {
        builder = builder.seed(seed);
    }
    builder = setup.kv_store.apply(setup.scheduler.apply(builder))?;
    if let Some(path) = setup.record {
        builder = builder.record(path);
    }
    Ok(builder)
}

/// The CPU kernels alone have instructions and threads to choose, the GPU's alone variants, and FP8 alone
/// flavours: options for others would be ignored.
fn refuse_idle_options(engine: &EngineArgs) -> Result<(), CliError> {
    let is_fp8 = matches!(engine.kv_cache_dtype, KvCacheDType::Fp8E4m3 | KvCacheDType::Fp8E5m2);
    if engine.fp8_flavour.flavour().is_some() && !is_fp8 {
        return Err(CliError::usage("--fp8-flavour has no effect without an FP8 KV cache")
            .with_hint("leave it out, or add --kv-cache-dtype fp8"));
    }
    let (cpu, hip) = ((BackendArg::Cpu, "cpu"), (BackendArg::Hip, "hip"));
    let options = [
        ("--cpu-isa", engine.cpu_isa.isa().is_some(), cpu),
        ("--threads", engine.threads.is_some(), cpu),
        ("--pin", !engine.pins.is_empty(), hip),
    ];
    let is_idle = |&&(_, is_given, (backend, _)): &&(&str, bool, (BackendArg, &str))| {
        is_given && engine.backend != backend
    };
    let Some((flag, _, (_, name))) = options.iter().find(is_idle) else { return Ok(()) };
    let backend = engine.backend.to_possible_value();
    let backend = backend.as_ref().map_or("", clap::builder::PossibleValue::get_name);
    Err(CliError::usage(format!("{flag} has no effect with --backend {backend}"))
        .with_hint(format!("leave it out, or use --backend {name}")))
}

/// Tells what the user can mend from what is our fault.
pub(crate) fn engine_error(error: &LlmError) -> CliError {
    if !error.is_users() {
        CliError::from_internal_error(error)
    } else {
        CliError::from_usage_error(error)
    }
}
