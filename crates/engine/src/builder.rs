//! Starting an engine: options with vLLM's names, and what they default to.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

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
use engine_core::scheduler::{Scheduler, SchedulerConfig, SchedulingPolicy};
use engine_core::speculative::NgramConfig;
use kernels_cpu::{CpuIsa, KernelsCpu};
use kernels_hip::variant::Choices;
use kernels_hip::{KernelsHip, Runtime};
use kv_store::config::KvConfig;
use kv_store::store::StoreConfig;
use reference_cpu::ReferenceCpu;
use serde::{Deserialize, Serialize};

use crate::calibrate::{CalibrateProgress, Calibration, calibrate};
use crate::error::LlmError;
use crate::glue;
use crate::hub::{self, Quiet};
use crate::kv_cache::KvCacheDType;
use crate::kv_memory::{KvMemory, PoolLoad};
use crate::kv_scales::{self, ChosenScales};
use crate::kv_tier::{self, KvStoreSetup, KvTier, LoadPolicy, OpenKvStore};
use crate::llm::{Llm, LlmParts};
use crate::record::{Header, RecordedOptions, Recorder};
use crate::run_loop::{Engine, EngineParts, RunLoop};
use crate::weights;

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// The fast CPU kernels.
    #[default]
    Cpu,
    /// The oracle: plain loops with f64 sums, slow.
    Reference,
    /// The kernels for MI300X, on the GPU of ROCm or of the library that `KVASIR_HIP_LIBRARY` names.
    Hip,
}

/// Options of an engine; `build` starts it.
#[derive(Clone, Debug)]
#[must_use = "call build() to start the engine"]
pub struct LlmBuilder {
    model: PathBuf,
    backend: Backend,
    cpu_isa: Option<CpuIsa>,
    pins: Vec<String>,
    kernel_log: fn(&str),
    dtype: DType,
    kv_cache_dtype: KvCacheDType,
    fp8_flavour: Option<Fp8Flavour>,
    kv_cache_scales: Option<PathBuf>,
    max_model_len: Option<usize>,
    kv_memory: KvMemory,
    tpot_target_ms: Option<f64>,
    /// All but what depends on model and machine.
    scheduler: SchedulerConfig,
    threads: Option<NonZero<usize>>,
    seed: u64,
    logprobs_mode: LogprobsMode,
    record: Option<PathBuf>,
    kv_store: KvStoreSetup,
    /// Exactly this instead of what follows from model and machine.
    scheduler_config: Option<SchedulerConfig>,
    is_identified: bool,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty => $($field:ident).+ = $value:expr;)*) => {$(
        $(#[$doc])*
        pub fn $name(mut self, $name: $type) -> Self {
            self.$($field).+ = $value;
            self
        }
    )*};
}

/// A backend with a model on it.
struct Started {
    run_loop: Box<dyn RunLoop>,
    numerics_id: String,
    /// If something asks for it: the model's files are read for it.
    kv_identity: Option<String>,
    kv_bytes_per_token: u64,
    kv_dtype: KvDType,
    warnings: Vec<String>,
}

impl LlmBuilder {
    pub(crate) fn new(model: PathBuf) -> Self {
        LlmBuilder {
            model,
            backend: Backend::default(),
            cpu_isa: None,
            pins: Vec::new(),
            kernel_log: |_| (),
            dtype: DType::BF16,
            kv_cache_dtype: KvCacheDType::default(),
            fp8_flavour: None,
            kv_cache_scales: None,
            max_model_len: None,
            kv_memory: KvMemory::default(),
            tpot_target_ms: None,
            scheduler: SchedulerConfig::DEFAULT,
            threads: None,
            seed: 0,
            logprobs_mode: LogprobsMode::default(),
            record: None,
            kv_store: KvStoreSetup::default(),
            scheduler_config: None,
            is_identified: false,
        }
    }

    setters! {
        /// What computes; default [`Backend::Cpu`].
        backend: Backend => backend = backend;
        /// Instruction-set path of the CPU backend; default the best of this machine.
        cpu_isa: CpuIsa => cpu_isa = Some(cpu_isa);
        /// Variants of GPU kernels, `op=variant` each, instead of those that are chosen.
        pins: Vec<String> => pins = pins;
        /// Format of weights and matrix inputs; default bfloat16.
        dtype: DType => dtype = dtype;
        /// Flavour of an FP8 KV cache; default what the backend has in hardware, else OCP.
        fp8_flavour: Fp8Flavour => fp8_flavour = Some(fp8_flavour);
        /// Most tokens of a sequence, prompt and output; default what the model was made for.
        max_model_len: usize => max_model_len = Some(max_model_len);
        /// Most sequences that run at once; default 256.
        max_num_seqs: usize => scheduler.max_num_seqs = max_num_seqs;
        /// Most token rows in a step; default 2048.
        max_num_batched_tokens: usize => scheduler.max_num_batched_tokens = max_num_batched_tokens;
        /// Token slots of a kv_block, 1 to 256; default 16.
        block_size: usize => scheduler.block_size = block_size;
        /// Memory for the KV cache; default 4 GiB, or less if that is more than can be used.
        kv_cache_memory_bytes: u64 => kv_memory.kv_cache_memory_bytes = Some(kv_cache_memory_bytes);
        /// Instead: the share of all memory that weights, activations and KV cache fill together.
        gpu_memory_utilization: f64 =>
            kv_memory.gpu_memory_utilization = Some(gpu_memory_utilization);
        /// GiB of host memory for the KV of preempted sequences; default 0: it is computed again.
        swap_space: f64 => kv_memory.swap_space = swap_space;
        /// Use KV that earlier sequences computed; default true.
        enable_prefix_caching: bool => scheduler.enable_prefix_caching = enable_prefix_caching;
        /// Compute long prompts over several steps; default true.
        enable_chunked_prefill: bool => scheduler.enable_chunked_prefill = enable_chunked_prefill;
        /// Most rows of a prompt in a step while other requests live; default 0: no limit.
        long_prefill_token_threshold: usize =>
            scheduler.long_prefill_token_threshold = long_prefill_token_threshold;
        /// Who is served first; default first come, first served.
        scheduling_policy: SchedulingPolicy => scheduler.policy = scheduling_policy;
        /// Most requests that wait; more are refused. Default, as vLLM's: no limit, for who adds
        /// requests here holds them all anyway, and a batch may be large. [`AsyncLlm`], whose
        /// callers do not know of each other, has one:
        /// [`AsyncLlm::DEFAULT_MAX_NUM_QUEUED_REQS`].
        ///
        /// [`AsyncLlm`]: crate::AsyncLlm
        /// [`AsyncLlm::DEFAULT_MAX_NUM_QUEUED_REQS`]: crate::AsyncLlm::DEFAULT_MAX_NUM_QUEUED_REQS
        max_num_queued_reqs: usize => scheduler.max_num_queued_reqs = Some(max_num_queued_reqs);
        /// Milliseconds that a step with decodes is to take at most: prompts beside them are
        /// computed in chunks that fit. Default: no target.
        tpot_target_ms: f64 => tpot_target_ms = Some(tpot_target_ms);
        /// Guess tokens ahead from what was said before; default: do not. Does not change a bit of
        /// the output.
        speculative: NgramConfig => scheduler.speculative = Some(speculative);
        /// CPU threads; default all cores. Does not change a bit of the output.
        threads: NonZero<usize> => threads = Some(threads);
        /// Seed of requests that have none of their own; default 0.
        seed: u64 => seed = seed;
        /// What is reported as log-probabilities; default those of the raw logits.
        logprobs_mode: LogprobsMode => logprobs_mode = logprobs_mode;
    }

    /// Keeps KV in these tiers, and loads it from there instead of computing it again; default: nowhere. Does
    /// not change a bit of the output. Tails of prompts are kept in whole kv_blocks, whatever the
    /// configuration says.
    pub fn kv_store(mut self, config: StoreConfig) -> Self {
        self.kv_store.tiers(config);
        self
    }

    /// The same by a configuration as LMCache's users have it, see [`KvConfig::read`]. Its metrics are served as long
    /// as the engine lives.
    pub fn kv_config(mut self, config: KvConfig) -> Self {
        self.kv_store.config(config);
        self
    }

    /// The same by vLLM's `kv_connector` and `kv_transfer_config`: `lmcache`, and a Python dict or JSON such as
    /// `{'backend': 'nfs://server/export'}`.
    pub fn kv_transfer_config(
        mut self,
        kv_connector: impl Into<String>,
        kv_transfer_config: impl Into<String>,
    ) -> Self {
        self.kv_store.transfer(kv_connector.into(), kv_transfer_config.into());
        self
    }

    /// Who opens what a configuration describes; default tiers of memory and directories. `kv_store_object::open` has
    /// buckets too.
    pub fn open_kv_store_with(mut self, open: OpenKvStore) -> Self {
        self.kv_store.open = open;
        self
    }

    /// Whether KV that the store has is loaded or computed; default [`LoadPolicy::Planned`] with a
    /// [`LlmBuilder::kv_config`], else [`LoadPolicy::Always`]. Does not change a bit of the output.
    pub fn kv_load_policy(mut self, policy: LoadPolicy) -> Self {
        self.kv_store.load_policy = Some(policy);
        self
    }

    /// Longest that a request waits for its KV to be loaded before it is computed; default 10 seconds.
    pub fn kv_load_timeout(mut self, timeout: Duration) -> Self {
        self.kv_store.load_timeout = timeout;
        self
    }

    /// Who is told of each variant of a GPU kernel when it is taken for the first time; default nobody.
    pub fn kernel_log(mut self, kernel_log: fn(&str)) -> Self {
        self.kernel_log = kernel_log;
        self
    }

    /// A file of scales for an FP8 KV cache, made by `kvasir calibrate`; default those that the
    /// checkpoint brings, else 1.
    pub fn kv_cache_scales(mut self, file: impl Into<PathBuf>) -> Self {
        self.kv_cache_scales = Some(file.into());
        self
    }

    /// Writes the run down in this file, for `kvasir replay`: requests, durations, and a digest of
    /// every step.
    pub fn record(mut self, file: impl Into<PathBuf>) -> Self {
        self.record = Some(file.into());
        self
    }

    /// The scheduler of a recorded run, pool sizes included.
    pub(crate) fn scheduler_config(mut self, config: SchedulerConfig) -> Self {
        self.max_model_len = Some(config.max_model_len);
        self.scheduler = config;
        self.scheduler_config = Some(config);
        self
    }

    /// An engine that knows its [`Llm::kv_identity`].
    pub(crate) fn identified(mut self) -> Self {
        self.is_identified = true;
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
            Backend::Cpu => self.start(self.kernels_cpu()?, &model, None)?,
            Backend::Reference => self.start(ReferenceCpu::new(self.dtype), &model, None)?,
            Backend::Hip => {
                let (backend, memory_bytes) = self.kernels_hip()?;
                self.start(backend, &model, Some(memory_bytes))?
            }
        };
        let started = match &self.record {
            Some(path) => self.recorder(started, path)?,
            None => started,
        };
        Ok(Llm::new(LlmParts {
            run_loop: started.run_loop,
            numerics_id: started.numerics_id,
            kv_identity: started.kv_identity,
            kv_bytes_per_token: started.kv_bytes_per_token,
            kv_dtype: started.kv_dtype,
            warnings: started.warnings,
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
            Backend::Hip => calibrate(self.kernels_hip()?.0, &model, texts, progress),
        }
    }

    /// With everything written to `path`.
    fn recorder(&self, started: Started, path: &Path) -> Result<Started, LlmError> {
        let Started { run_loop, numerics_id, kv_identity, .. } = &started;
        let isa = self.cpu_isa.unwrap_or_else(CpuIsa::detect);
        let options = RecordedOptions {
            backend: self.backend,
            cpu_isa: (self.backend == Backend::Cpu).then(|| isa.name().to_owned()),
            pins: self.pins.clone(),
            dtype: self.dtype,
            kv_cache_dtype: self.kv_cache_dtype,
            fp8_flavour: self.fp8_flavour,
            kv_cache_scales: self.kv_cache_scales.clone(),
            logprobs_mode: self.logprobs_mode,
        };
        let (model, config) = (self.model.display().to_string(), *run_loop.scheduler().config());
        let kv_identity = kv_identity.clone().unwrap_or_default();
        let header = Header::new(model, numerics_id.clone(), kv_identity, options, config);
        let run_loop = Box::new(Recorder::new(started.run_loop, path, &header)?);
        Ok(Started { run_loop, ..started })
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

    /// The first GPU, and its memory.
    fn kernels_hip(&self) -> Result<(KernelsHip, u64), LlmError> {
        let choices = Choices::new(&self.pins, Box::new(self.kernel_log))?;
        let device = Runtime::load()?.device(0)?;
        let memory_bytes = device.memory()?.total_bytes;
        Ok((KernelsHip::new(&device, self.dtype, choices)?, memory_bytes))
    }

    fn num_threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
        self.threads.map_or_else(cores, NonZero::get)
    }

    /// `memory_bytes`: of the device, if it has its own.
    fn start<O>(
        &self,
        mut ops: O,
        model: &weights::Model,
        memory_bytes: Option<u64>,
    ) -> Result<Started, LlmError>
    where
        O: Ops<Buffer: Send, KvCache: Send, Batch: Send, Matrix: Send> + Send + 'static,
    {
        let config = model.config();
        let max_model_len = self.max_model_len.unwrap_or(config.default_max_model_len());
        let longest = config.longest_model_len();
        if max_model_len > longest {
            return Err(LlmError::ModelLenTooLong { max_model_len, longest });
        }
        let flavour = self.fp8_flavour.unwrap_or_else(|| ops.fp8_flavour());
        let dtype = self.kv_cache_dtype.resolve(self.dtype, flavour);
        let ChosenScales { scales, warning } =
            kv_scales::choose(model, dtype, self.kv_cache_scales.as_deref())?;
        let numerics_id = format!("{} {}", ops.numerics_id(), kv_scales::identity(dtype, &scales));
        let mut shape = self.kv_cache_shape(config, dtype);
        let scheduler = Scheduler::new(match self.scheduler_config {
            Some(recorded) => recorded,
            None => SchedulerConfig {
                max_model_len,
                num_blocks: self.kv_memory.num_blocks(
                    &shape,
                    &self.pool_load(&ops, config, max_model_len, memory_bytes),
                )?,
                num_host_blocks: self.kv_memory.num_host_blocks(&shape)?,
                tpot_target_us: self.tpot_target_us()?,
                kv_identity: BlockHash::identity(&numerics_id),
                ..self.scheduler
            },
        })?;
        shape.num_blocks = scheduler.config().num_blocks;
        check_kv_format(&mut ops, shape)?;
        let start = Instant::now();
        let device_model = Model::load(&mut ops, model.checkpoint(), max_model_len)?;
        let seconds = start.elapsed().as_secs_f64();
        tracing::info!(model = %self.model.display(), numerics_id, seconds, "the weights are loaded");
        let kv_cache = ops.alloc_kv_cache(shape, &scales)?;
        let (num_blocks, block_size) = (shape.num_blocks, shape.block_size);
        let (num_tokens, bytes) =
            (num_blocks * block_size, num_blocks as u64 * shape.block_bytes());
        tracing::info!(num_blocks, block_size, num_tokens, bytes, "the KV cache is allocated");
        let mut warnings: Vec<String> = warning.into_iter().collect();
        let is_asked = self.kv_store.is_asked() || self.record.is_some() || self.is_identified;
        let lossy_codec = self.kv_store.lossy_codec()?;
        let format = (dtype, &scales);
        let identity =
            || kv_tier::identity(model, max_model_len, format, &numerics_id, lossy_codec);
        let identity = is_asked.then(identity).transpose()?;
        let kv_identity = identity.as_ref().map(|identity| hex(&identity.digest()));
        let kv_tier = match identity.filter(|_| self.kv_store.is_asked()) {
            Some(identity) => {
                let used = kv_tier::used(max_model_len, &shape, identity);
                let opened = self.kv_store.open(used)?;
                let notes = opened.iter().flat_map(|opened| &opened.notes);
                warnings.extend(notes.map(|note| note.text.clone()));
                opened.map(|opened| KvTier::new(opened, shape.block_size)).transpose()?
            }
            None => None,
        };
        let engine = Engine::new(EngineParts {
            ops,
            model: device_model,
            kv_cache,
            scheduler,
            block_bytes: shape.block_bytes(),
            logprobs_mode: self.logprobs_mode,
            kv_tier,
        })?;
        let kv_bytes_per_token = shape.block_bytes() / shape.block_size as u64;
        Ok(Started {
            run_loop: Box::new(engine),
            numerics_id,
            kv_identity,
            kv_bytes_per_token,
            kv_dtype: dtype,
            warnings,
        })
    }

    fn tpot_target_us(&self) -> Result<Option<u64>, LlmError> {
        match self.tpot_target_ms {
            Some(ms) if !(ms > 0.0 && ms.is_finite()) => Err(LlmError::TpotTarget(ms)),
            target_ms => Ok(target_ms.map(|ms| (ms * 1e3) as u64)),
        }
    }

    fn kv_cache_shape(&self, config: &ModelConfig, dtype: KvDType) -> KvCacheShape {
        KvCacheShape {
            num_layers: config.num_layers,
            num_blocks: 0,
            block_size: self.scheduler.block_size,
            num_kv_heads: config.num_kv_heads,
            head_dim: config.head_dim,
            dtype,
        }
    }

    fn pool_load<'a>(
        &self,
        ops: &impl Ops,
        config: &'a ModelConfig,
        max_model_len: usize,
        memory_bytes: Option<u64>,
    ) -> PoolLoad<'a> {
        PoolLoad {
            memory_bytes,
            config,
            weight_size_bytes: ops.weight_size_bytes(),
            act_size_bytes: ops.act_size_bytes(),
            max_model_len,
            max_num_seqs: self.scheduler.max_num_seqs,
            max_num_batched_tokens: self.scheduler.max_num_batched_tokens,
            enable_prefix_caching: self.scheduler.enable_prefix_caching,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
