//! The engine's options as a record has them, and an engine with these options.

use std::path::{Path, PathBuf};

use engine_core::dtype::DType;
use engine_core::formats::Fp8Flavour;
use engine_core::sampling::LogprobsMode;
use kernels_cpu::CpuIsa;
use serde::{Deserialize, Serialize};

use super::Header;
use crate::builder::{Backend, LlmBuilder};
use crate::kv_cache::KvCacheDType;

/// Options besides the scheduler's.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordedOptions {
    pub(crate) backend: Backend,
    /// Of the CPU backend.
    pub(crate) cpu_isa: Option<String>,
    /// Of the HIP backend.
    #[serde(default)]
    pub(crate) pins: Vec<String>,
    pub(crate) dtype: DType,
    pub(crate) kv_cache_dtype: KvCacheDType,
    pub(crate) fp8_flavour: Option<Fp8Flavour>,
    pub(crate) kv_cache_scales: Option<PathBuf>,
    pub(crate) logprobs_mode: LogprobsMode,
}

/// Options that make the recorded engine again, with the model where it was or at `model`.
pub(super) fn builder(header: &Header, model: Option<&Path>) -> Result<LlmBuilder, String> {
    let Header { options, scheduler, .. } = header;
    let model = model.unwrap_or(Path::new(&header.model));
    let mut builder = LlmBuilder::new(model.to_path_buf())
        .backend(options.backend)
        .pins(options.pins.clone())
        .dtype(options.dtype)
        .kv_cache_dtype(options.kv_cache_dtype)
        .logprobs_mode(options.logprobs_mode)
        .scheduler_config(*scheduler);
    if let Some(name) = &options.cpu_isa {
        let isa = CpuIsa::ALL.into_iter().find(|isa| isa.name() == name);
        builder = builder.cpu_isa(isa.ok_or_else(|| format!("there is no CPU path {name:?}"))?);
    }
    if let Some(flavour) = options.fp8_flavour {
        builder = builder.fp8_flavour(flavour);
    }
    if let Some(scales) = &options.kv_cache_scales {
        builder = builder.kv_cache_scales(scales);
    }
    Ok(builder)
}
