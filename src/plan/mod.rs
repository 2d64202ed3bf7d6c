//! What a model needs of a device: memory by the allocator's own arithmetic, and bounds of time by a roofline.
//!
//! The memory is exact for one device: it is what the engine allocates by (`engine_core::capacity`). With tensor
//! parallelism each device is planned as a model of its share of heads, intermediate rows and vocabulary. Times
//! are a model: what must be computed and moved, at the rates that good kernels reach; communication between
//! devices, scheduling and launches are not in them.

mod device;
mod memory;
mod models;
mod picture;
mod presets;
mod recipe;
mod shard;
mod tiers;
mod time;

pub use device::{DEVICES, DeviceProfile, Rates};
pub use memory::{Fit, Memory};
pub use picture::memory_picture;
pub use presets::{PRESETS, Preset, PresetCheck};
pub use recipe::{Example, Gigabytes, Recipe, RecipeError, Throughput};
pub use shard::ShardError;
pub use tiers::{PLACES, Place, TierLoad};
pub use time::{Estimate, Limit};

use engine::{Fp8Flavour, KvCacheDType};
use engine_core::config::ModelConfig;
use engine_core::dtype::DType;
use engine_core::kv_dtype::KvDType;
use serde::Serialize;

/// What is asked of a device. Sizes are tokens.
#[derive(Clone, Debug)]
pub struct PlanRequest {
    /// Prompt and answer of one sequence.
    pub context: usize,
    /// Sequences at once.
    pub batch: usize,
    /// Format of weights and matrix inputs.
    pub dtype: DType,
    /// Format of the KV cache.
    pub kv_cache_dtype: KvCacheDType,
    /// Devices that share the model.
    pub tp: usize,
    /// Token slots of a kv_block, at least 1.
    pub block_size: usize,
    /// Share of the device's memory that may be used, 0 to 1.
    pub memory_utilization: f64,
    /// Most token rows in a step.
    pub max_num_batched_tokens: usize,
}

impl PlanRequest {
    fn kv_dtype(&self, device: &DeviceProfile) -> KvDType {
        let flavour = if device.has_fnuz { Fp8Flavour::Fnuz } else { Fp8Flavour::Ocp };
        self.kv_cache_dtype.resolve(self.dtype, flavour)
    }
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The device.
    pub device: DeviceProfile,
    /// Devices that share the model.
    pub tp: usize,
    /// Prompt and answer of one sequence, tokens.
    pub context: usize,
    /// The longest context that the model can be asked for, tokens.
    pub longest_context: usize,
    /// Sequences at once.
    pub batch: usize,
    /// Format of the KV cache.
    pub kv_cache_dtype: &'static str,
    /// Keys and values of a token on all devices together, bytes.
    pub kv_bytes_per_token: u64,
    /// Where each device's memory goes.
    pub memory: Memory,
    /// What fits.
    pub fit: Fit,
    /// The fewest devices for which the batch fits at this context; `None` if the model cannot be shared among so many.
    pub devices_needed: Option<usize>,
    /// Computing one prompt of `context` tokens; where the device's rates are known.
    pub prefill: Option<Estimate>,
    /// One step that gives each of `batch` sequences of `context` tokens a token.
    pub decode_step: Option<Estimate>,
    /// Loading the KV of a prompt of `context` tokens instead of computing it.
    pub tiers: Vec<TierLoad>,
}

impl Plan {
    /// Plans a model for a device.
    ///
    /// # Errors
    /// [`ShardError`] if the model cannot be shared among so many devices.
    pub fn new(
        config: &ModelConfig,
        device: &DeviceProfile,
        request: &PlanRequest,
    ) -> Result<Plan, ShardError> {
        let kv_dtype = request.kv_dtype(device);
        let part = shard::shard(config, request.tp)?;
        let memory = Memory::new(&part, device, request, kv_dtype);
        let fit = Fit::new(&memory, config, request);
        let needed = shard::COUNTS.into_iter().find(|&tp| {
            shard::shard(config, tp).is_ok_and(|part| {
                let memory = Memory::new(&part, device, request, kv_dtype);
                Fit::new(&memory, config, request).max_batch >= request.batch
            })
        });
        let kv_bytes_per_token = memory::kv_bytes_per_token(config, kv_dtype);
        let estimate =
            |work: time::Work| device.rates.as_ref().map(|rates| work.on(rates, request.tp));
        let prefill_of = |num_tokens: usize| {
            estimate(time::Work::of_prefill(config, request.dtype, kv_dtype, num_tokens))
        };
        let decode_of = |batch: usize, num_tokens: usize| {
            estimate(time::Work::of_decode(config, request.dtype, kv_dtype, batch, num_tokens))
        };
        Ok(Plan {
            tp: request.tp,
            context: request.context,
            longest_context: config.longest_model_len(),
            batch: request.batch,
            kv_cache_dtype: kv_dtype.name(),
            kv_bytes_per_token,
            memory,
            fit,
            devices_needed: needed,
            prefill: prefill_of(request.context),
            decode_step: decode_of(request.batch, request.context),
            tiers: tiers::loads(device, request, kv_bytes_per_token, &prefill_of, &|n| {
                decode_of(1, n)
            }),
            device: device.clone(),
        })
    }
}
