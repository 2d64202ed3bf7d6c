//! The ops of a backend, loaded.

use std::collections::HashMap;
use std::sync::Arc;

use engine_core::dtype::DType;
use engine_core::kv_dtype::KvDType;

use crate::device::Device;
use crate::ops::{
    Attention, Convert, Embed, Gemm, HeadNorm, KvBlocks, KvWrite, KvWriteRope, RmsNorm, Rope,
    RopeAngles, RopeConvert, SiluMul,
};
use crate::result::Result;
use crate::variant::Choices;

/// Every op that a step is made of, for one format of weights and matrix inputs.
pub(super) struct Kernels {
    pub(super) embed: Embed,
    pub(super) gemm: Gemm,
    pub(super) rms_norm: RmsNorm,
    pub(super) head_norm: HeadNorm,
    pub(super) rope_angles: RopeAngles,
    pub(super) rope: Rope,
    pub(super) rope_convert: RopeConvert,
    pub(super) silu_mul: SiluMul,
    pub(super) convert: Convert,
    pub(super) paged_attention: Attention,
    pub(super) prefill_attention: Attention,
    device: Device,
    /// By format of the cache; loaded with the first cache of it.
    kv_writes: HashMap<KvDType, KvWrite>,
    kv_write_ropes: HashMap<KvDType, KvWriteRope>,
    /// By bytes of an element.
    kv_blocks: HashMap<usize, KvBlocks>,
}

impl Kernels {
    pub(super) fn new(device: &Device, dtype: DType, choices: &Arc<Choices>) -> Result<Self> {
        Ok(Kernels {
            embed: Embed::new(device, dtype)?,
            gemm: Gemm::new(device, dtype)?,
            rms_norm: RmsNorm::new(device, dtype)?,
            head_norm: HeadNorm::new(device)?,
            rope_angles: RopeAngles::new(device)?,
            rope: Rope::new(device)?,
            rope_convert: RopeConvert::new(device, dtype)?,
            silu_mul: SiluMul::new(device, dtype)?,
            convert: Convert::new(device, dtype)?,
            paged_attention: Attention::paged(device, Arc::clone(choices)),
            prefill_attention: Attention::prefill(device, Arc::clone(choices)),
            device: device.clone(),
            kv_writes: HashMap::new(),
            kv_write_ropes: HashMap::new(),
            kv_blocks: HashMap::new(),
        })
    }

    pub(super) fn kv_write(&mut self, dtype: KvDType) -> Result<&KvWrite> {
        if !self.kv_writes.contains_key(&dtype) {
            self.kv_writes.insert(dtype, KvWrite::new(&self.device, dtype)?);
        }
        Ok(&self.kv_writes[&dtype])
    }

    pub(super) fn kv_write_rope(&mut self, dtype: KvDType) -> Result<&KvWriteRope> {
        if !self.kv_write_ropes.contains_key(&dtype) {
            self.kv_write_ropes.insert(dtype, KvWriteRope::new(&self.device, dtype)?);
        }
        Ok(&self.kv_write_ropes[&dtype])
    }

    pub(super) fn kv_blocks(&mut self, size_bytes: usize) -> Result<&KvBlocks> {
        if !self.kv_blocks.contains_key(&size_bytes) {
            self.kv_blocks.insert(size_bytes, KvBlocks::new(&self.device, size_bytes)?);
        }
        Ok(&self.kv_blocks[&size_bytes])
    }
}
