//! Where a device's memory goes, and what fits in it.

use engine_core::capacity::{blocks_for_tokens, blocks_that_fit, weight_bytes, workspace_bytes};
use engine_core::config::ModelConfig;
use engine_core::device::KvCacheShape;
use engine_core::kv_dtype::KvDType;
use serde::Serialize;

use super::{DeviceProfile, PlanRequest};

/// Bytes of one device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Memory {
    /// That may be used.
    pub usable_bytes: u64,
    /// Weights.
    pub weight_bytes: u64,
    /// Activations of the largest step.
    pub activation_bytes: u64,
    /// What is left for KV; 0 if nothing is.
    pub kv_bytes: u64,
    /// kv_blocks that fit there.
    pub num_blocks: usize,
}

impl Memory {
    pub(super) fn new(
        part: &ModelConfig,
        device: &DeviceProfile,
        request: &PlanRequest,
        kv_dtype: KvDType,
    ) -> Memory {
        let usable_bytes = (device.memory_bytes as f64 * request.memory_utilization) as u64;
        let weight_bytes = weight_bytes(part, request.dtype.size_bytes());
        let act_size_bytes = (device.act_size_bytes)(request.dtype);
        let activation_bytes =
            workspace_bytes(part, act_size_bytes, request.max_num_batched_tokens);
        let kv_bytes = usable_bytes.saturating_sub(weight_bytes + activation_bytes);
        let num_blocks = blocks_that_fit(kv_bytes, &kv_shape(part, kv_dtype, request.block_size));
        Memory { usable_bytes, weight_bytes, activation_bytes, kv_bytes, num_blocks }
    }
}

/// What a device has room for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fit {
    /// Sequences of the asked context at once.
    pub max_batch: usize,
    /// Tokens of each of the asked batch's sequences, at most what the model was made for.
    pub max_context: usize,
    /// Tokens that each of the asked batch's sequences may have before the first is preempted; `None` if that never
    /// happens below the asked context.
    pub preempts_beyond: Option<usize>,
}

impl Fit {
    pub(super) fn new(memory: &Memory, config: &ModelConfig, request: &PlanRequest) -> Fit {
        let blocks_each = blocks_for_tokens(request.context.max(1), request.block_size);
        let max_batch = memory.num_blocks / blocks_each;
        let tokens_each = memory.num_blocks / request.batch.max(1) * request.block_size;
        Fit {
            max_batch,
            max_context: tokens_each.min(config.longest_model_len()),
            preempts_beyond: (max_batch < request.batch).then_some(tokens_each),
        }
    }
}

/// Keys and values of a token, of all heads that `config` has.
pub(super) fn kv_bytes_per_token(config: &ModelConfig, kv_dtype: KvDType) -> u64 {
    kv_shape(config, kv_dtype, 1).block_bytes()
}

fn kv_shape(config: &ModelConfig, dtype: KvDType, block_size: usize) -> KvCacheShape {
    KvCacheShape {
        num_layers: config.num_layers,
        num_blocks: 0,
        block_size,
        num_kv_heads: config.num_kv_heads,
        head_dim: config.head_dim,
        dtype,
    }
}
