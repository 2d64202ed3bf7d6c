//! Starting an engine: options with vLLM's names, and what they default to.

use std::num::NonZero;
use std::path::PathBuf;

use engine_core::capacity::{blocks_at_most, blocks_that_fit};
use engine_core::config::ModelConfig;
use engine_core::device::KvCacheShape;
use engine_core::dtype::DType;
use engine_core::formats::Fp8Flavour;
use engine_core::kv_check::check_kv_format;
use engine_core::kv_dtype::KvDType;
use engine_core::model::Model;
use engine_core::ops::Ops;
use engine_core::prefix_cache::BlockHash;
use engine_core::sampling::LogprobsMode;
use engine_core::scheduler::{Scheduler, SchedulerConfig};
use kernels_cpu::{CpuIsa, KernelsCpu};
use reference_cpu::ReferenceCpu;

use crate::calibrate::{CalibrateProgress, Calibration, calibrate};
use crate::error::LlmError;
use crate::glue;
use crate::hub::{self, Quiet};
use crate::kv_cache::KvCacheDType;
use crate::kv_scales::{self, ChosenScales};
use crate::llm::{Llm, LlmParts};
use crate::run_loop::{Engine, RunLoop};
use crate::weights;

/// Memory for the KV cache when nothing else is said: vLLM's default on a CPU. Pages are taken from
/// the system only when they are written.
const DEFAULT_KV_CACHE_BYTES: u64 = 4 << 30;
/// Sequences at once: vLLM's default on a CPU.
const DEFAULT_MAX_NUM_SEQS: usize = 256;
/// Token rows in a step: large enough that weights are read for many rows, small enough that the
/// activations stay in cache and a step stays short.
const DEFAULT_MAX_NUM_BATCHED_TOKENS: usize = 2048;
/// Token slots of a kv_block: vLLM's default.
const DEFAULT_BLOCK_SIZE: usize = 16;

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The fast CPU kernels.
    #[default]
    Cpu,
    /// The oracle: plain loops with f64 sums, slow.
    Reference,
}

/// Options of an engine; `build` starts it.
#[derive(Clone, Debug)]
#[must_use = "call build() to start the engine"]
pub struct LlmBuilder {
    model: PathBuf,
    backend: Backend,
    cpu_isa: Option<CpuIsa>,
    dtype: DType,
    kv_cache_dtype: KvCacheDType,
    fp8_flavour: Option<Fp8Flavour>,
    kv_cache_scales: Option<PathBuf>,
    max_model_len: Option<usize>,
    max_num_seqs: usize,
    max_num_batched_tokens: usize,
    block_size: usize,
    kv_cache_memory_bytes: Option<u64>,
    threads: Option<NonZero<usize>>,
    seed: u64,
    logprobs_mode: LogprobsMode,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty => $value:expr;)*) => {$(
        $(#[$doc])*
        pub fn $name(mut self, $name: $type) -> Self {
            self.$name = $value;
            self
        }
    )*};
}

/// A backend with a model on it.
struct Started {
    run_loop: Box<dyn RunLoop>,
    numerics_id: String,
    warning: Option<String>,
}

impl LlmBuilder {
    pub(crate) fn new(model: PathBuf) -> Self {
        LlmBuilder {
            model,
            backend: Backend::default(),
            cpu_isa: None,
            dtype: DType::BF16,
            kv_cache_dtype: KvCacheDType::default(),
            fp8_flavour: None,
            kv_cache_scales: None,
            max_model_len: None,
            max_num_seqs: DEFAULT_MAX_NUM_SEQS,
            max_num_batched_tokens: DEFAULT_MAX_NUM_BATCHED_TOKENS,
            block_size: DEFAULT_BLOCK_SIZE,
            kv_cache_memory_bytes: None,
            threads: None,
            seed: 0,
            logprobs_mode: LogprobsMode::default(),
        }
    }

    setters! {
        /// What computes; default [`Backend::Cpu`].
        backend: Backend => backend;
        /// Instruction-set path of the CPU backend; default the best of this machine.
        cpu_isa: CpuIsa => Some(cpu_isa);
        /// Format of weights and matrix inputs; default bfloat16.
        dtype: DType => dtype;
        /// Flavour of an FP8 KV cache; default what the backend has in hardware, else OCP.
        fp8_flavour: Fp8Flavour => Some(fp8_flavour);
        /// Most tokens of a sequence, prompt and output; default what the model was made for.
        max_model_len: usize => Some(max_model_len);
        /// Most sequences that run at once; default 256.
        max_num_seqs: usize => max_num_seqs;
        /// Most token rows in a step; default 2048.
        max_num_batched_tokens: usize => max_num_batched_tokens;
        /// Token slots of a kv_block, 1 to 256; default 16.
        block_size: usize => block_size;
        /// Memory for the KV cache; default 4 GiB, or less if that is more than can be used.
        kv_cache_memory_bytes: u64 => Some(kv_cache_memory_bytes);
        /// CPU threads; default all cores. Does not change a bit of the output.
        threads: NonZero<usize> => Some(threads);
        /// Seed of requests that have none of their own; default 0.
        seed: u64 => seed;
        /// What is reported as log-probabilities; default those of the raw logits.
        logprobs_mode: LogprobsMode => logprobs_mode;
    }

    /// A file of scales for an FP8 KV cache, made by `kvasir calibrate`; default those that the
    /// checkpoint brings, else 1.
    pub fn kv_cache_scales(mut self, file: impl Into<PathBuf>) -> Self {
        self.kv_cache_scales = Some(file.into());
        self
    }

    /// Format of the KV cache; default that of weights.
    pub fn kv_cache_dtype(mut self, kv_cache_dtype: impl Into<KvCacheDType>) -> Self {
        self.kv_cache_dtype = kv_cache_dtype.into();
        self
    }

    /// Loads the model and starts the engine.
    ///
    /// # Errors
    /// [`LlmError`], naming the file, tensor or option at fault.
    pub fn build(self) -> Result<Llm, LlmError> {
        let model = self.open()?;
        let tokenizer = glue::tokenizer(&model)?;
        let chat_template = glue::chat_template(&model, tokenizer.as_ref())?;
        let started = match self.backend {
            Backend::Cpu => self.start(self.kernels_cpu()?, &model)?,
            Backend::Reference => self.start(ReferenceCpu::new(self.dtype), &model)?,
        };
        Ok(Llm::new(LlmParts {
            run_loop: started.run_loop,
            numerics_id: started.numerics_id,
            warnings: started.warning.into_iter().collect(),
            config: model.config().clone(),
            generation_config: model.generation_config().clone(),
            tokenizer,
            chat_template,
            seed: self.seed,
        }))
    }

    /// Measures the scales of an FP8 KV cache on `texts` instead of starting an engine; of the options,
    /// model, backend, ISA path, dtype and threads count.
    ///
    /// # Errors
    /// [`LlmError`], as [`calibrate`].
    pub fn calibrate(
        self,
        texts: &[Vec<u32>],
        progress: &mut dyn FnMut(CalibrateProgress),
    ) -> Result<Calibration, LlmError> {
        let model = self.open()?;
        match self.backend {
            Backend::Cpu => calibrate(self.kernels_cpu()?, &model, texts, progress),
            Backend::Reference => calibrate(ReferenceCpu::new(self.dtype), &model, texts, progress),
        }
    }

    fn open(&self) -> Result<weights::Model, LlmError> {
        let path = match self.model.to_str() {
            Some(name) => hub::resolve(name, &Quiet)?,
            None => self.model.clone(),
        };
        Ok(weights::open(&path)?)
    }

    fn kernels_cpu(&self) -> Result<KernelsCpu, LlmError> {
        let isa = self.cpu_isa.unwrap_or_else(CpuIsa::detect);
        Ok(KernelsCpu::new(isa, self.dtype, self.num_threads())?)
    }

    fn num_threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
        self.threads.map_or_else(cores, NonZero::get)
    }

    fn start<O: Ops + 'static>(
        &self,
        mut ops: O,
        model: &weights::Model,
    ) -> Result<Started, LlmError> {
        let config = model.config();
        let max_model_len = self.max_model_len.unwrap_or(config.default_max_model_len());
        let longest = config.longest_model_len();
        if max_model_len > longest {
            return Err(LlmError::ModelLenTooLong { max_model_len, longest });
        }
        let flavour = self.fp8_flavour.unwrap_or_else(|| ops.fp8_flavour());
        let dtype = self.kv_cache_dtype.resolve(self.dtype, flavour);
        let shape = self.kv_cache_shape(config, max_model_len, dtype);
        let ChosenScales { scales, warning } =
            kv_scales::choose(model, dtype, self.kv_cache_scales.as_deref())?;
        let kv_identity = format!("{} {}", ops.numerics_id(), kv_scales::identity(dtype, &scales));
        let scheduler = Scheduler::new(SchedulerConfig {
            max_num_seqs: self.max_num_seqs,
            max_num_batched_tokens: self.max_num_batched_tokens,
            max_model_len,
            block_size: self.block_size,
            num_blocks: shape.num_blocks,
            kv_identity: BlockHash::identity(&kv_identity),
            ..SchedulerConfig::DEFAULT
        })?;
        check_kv_format(&mut ops, shape)?;
        let device_model = Model::load(&mut ops, model.checkpoint(), max_model_len)?;
        let kv_cache = ops.alloc_kv_cache(shape, &scales)?;
        let engine = Engine::new(ops, device_model, kv_cache, scheduler, self.logprobs_mode)?;
        Ok(Started { run_loop: Box::new(engine), numerics_id: kv_identity, warning })
    }

    /// The pool: as many kv_blocks as the memory holds, but no more than can ever be used.
    fn kv_cache_shape(
        &self,
        config: &ModelConfig,
        max_model_len: usize,
        dtype: KvDType,
    ) -> KvCacheShape {
        let mut shape = KvCacheShape {
            num_layers: config.num_layers,
            num_blocks: 0,
            block_size: self.block_size,
            num_kv_heads: config.num_kv_heads,
            head_dim: config.head_dim,
            dtype,
        };
        let kv_cache_bytes = self.kv_cache_memory_bytes.unwrap_or(DEFAULT_KV_CACHE_BYTES);
        // The scheduler names a block size of 0; here it only must not divide.
        let block_size = self.block_size.max(1);
        let at_most = blocks_at_most(self.max_num_seqs, max_model_len, block_size);
        shape.num_blocks = blocks_that_fit(kv_cache_bytes, &shape).min(at_most);
        shape
    }
}
