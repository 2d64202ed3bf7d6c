//! How large the pools of kv_blocks are, on the device and on the host.

use engine_core::capacity::{blocks_at_most, blocks_that_fit, weight_bytes, workspace_bytes};
use engine_core::config::ModelConfig;
use engine_core::device::KvCacheShape;
use engine_core::dtype::DType;
use kernels_cpu::CpuIsa;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use crate::error::LlmError;

/// Memory for the KV cache when nothing else is said: vLLM's default on a CPU. Pages are taken from
/// the system only when they are written.
const DEFAULT_KV_CACHE_BYTES: u64 = 4 << 30;

/// What the user says of KV memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KvMemory {
    pub(crate) kv_cache_memory_bytes: Option<u64>,
    /// Of all memory, weights and activations included.
    pub(crate) gpu_memory_utilization: Option<f64>,
    /// GiB of host memory for preempted sequences.
    pub(crate) swap_space: f64,
}

/// What a pool is for.
pub(crate) struct PoolLoad<'a> {
    /// The device's memory, if it has its own.
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) config: &'a ModelConfig,
    pub(crate) weight_size_bytes: usize,
    pub(crate) act_size_bytes: usize,
    pub(crate) max_model_len: usize,
    pub(crate) max_num_seqs: usize,
    pub(crate) max_num_batched_tokens: usize,
    pub(crate) enable_prefix_caching: bool,
}

impl KvMemory {
    /// kv_blocks of `shape` in the pool: as many as the memory holds, but no more than can ever be
    /// of use. A prefix cache has a use for all.
    pub(crate) fn num_blocks(
        &self,
        shape: &KvCacheShape,
        load: &PoolLoad<'_>,
    ) -> Result<usize, LlmError> {
        let num_blocks = blocks_that_fit(self.kv_cache_bytes(load)?, shape);
        if load.enable_prefix_caching {
            return Ok(num_blocks);
        }
        // The scheduler names a block size of 0; here it only must not divide.
        let block_size = shape.block_size.max(1);
        Ok(num_blocks.min(blocks_at_most(load.max_num_seqs, load.max_model_len, block_size)))
    }

    fn kv_cache_bytes(&self, load: &PoolLoad<'_>) -> Result<u64, LlmError> {
        match (self.kv_cache_memory_bytes, self.gpu_memory_utilization) {
            (Some(_), Some(_)) => Err(LlmError::TwoKvCacheSizes),
            (Some(bytes), None) => Ok(bytes),
            (None, Some(utilization)) => {
                let total_bytes = load.memory_bytes.unwrap_or_else(host_memory_bytes);
                bytes_left(utilization, total_bytes, load)
            }
            (None, None) => Ok(DEFAULT_KV_CACHE_BYTES),
        }
    }

    /// kv_blocks of `shape` that fit in the swap space.
    pub(crate) fn num_host_blocks(&self, shape: &KvCacheShape) -> Result<usize, LlmError> {
        const GIB: f64 = (1u64 << 30) as f64;
        let bytes = self.swap_space * GIB;
        if !(0.0..=host_memory_bytes() as f64).contains(&bytes) {
            return Err(LlmError::SwapSpace(self.swap_space));
        }
        Ok(blocks_that_fit(bytes as u64, shape))
    }
}

/// What a share of the memory leaves for KV.
fn bytes_left(utilization: f64, total_bytes: u64, load: &PoolLoad<'_>) -> Result<u64, LlmError> {
    if !(utilization > 0.0 && utilization <= 1.0) {
        return Err(LlmError::MemoryUtilization(utilization));
    }
    let usable_bytes = (total_bytes as f64 * utilization) as u64;
    let used_bytes = weight_bytes(load.config, load.weight_size_bytes)
        + workspace_bytes(load.config, load.act_size_bytes, load.max_num_batched_tokens);
    usable_bytes.checked_sub(used_bytes).filter(|&bytes| bytes > 0).ok_or(LlmError::NoMemoryForKv {
        utilization,
        total_bytes,
        used_bytes,
    })
}

/// Memory that this process may use: the machine's, or its control group's if that is less.
pub fn host_memory_bytes() -> u64 {
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(memory);
    let total = system.total_memory();
    system.cgroup_limits().map_or(total, |limits| limits.total_memory.min(total))
}

/// Bytes that an element of a matrix input of `dtype` takes in the CPU backend, by this machine's best
/// instructions.
pub fn host_act_size_bytes(dtype: DType) -> usize {
    CpuIsa::detected_act_size_bytes(dtype)
}
