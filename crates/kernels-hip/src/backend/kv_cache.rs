//! The paged KV cache on the device.

use engine_core::device::{KvCacheShape, OpError};
use engine_core::kv_dtype::KvDType;
use engine_core::kv_scales::KvScales;

use super::KernelsHip;
use super::error::op_error;
use super::memory::alloc;
use crate::buffer::Buffer;
use crate::kv_layout::KvLayout;

/// One K and one V pool per layer, in [`KvLayout`]'s order.
pub struct KvCache {
    pub(super) shape: KvCacheShape,
    pub(super) layout: KvLayout,
    pub(super) layers: Vec<Layer>,
}

pub(super) struct Layer {
    pub(super) k: Buffer<u8>,
    pub(super) v: Buffer<u8>,
    /// Each head's.
    pub(super) k_scales: Buffer<f32>,
    /// Each head's.
    pub(super) v_scales: Buffer<f32>,
}

const OP: &str = "alloc_kv_cache";

impl KvCache {
    pub(super) fn new(
        backend: &KernelsHip,
        shape: KvCacheShape,
        scales: &KvScales,
    ) -> Result<Self, OpError> {
        let KernelsHip { device, stream, compute_dtype, .. } = backend;
        let is_computed = |dtype| dtype == *compute_dtype;
        if let KvDType::Float(dtype) = shape.dtype
            && !is_computed(dtype)
        {
            let what = format!(
                "a KV cache in {dtype} beside weights in {compute_dtype} (it takes {compute_dtype} and fp8)"
            );
            return Err(OpError::Unsupported { op: OP, what });
        }
        let layout = KvLayout::new(&shape).map_err(|error| op_error(OP, error))?;
        shape.check_scales(scales)?;
        // Too much for any allocator, if there are not that many addresses.
        let pool_bytes = layout.pool_bytes(shape.num_blocks).unwrap_or(usize::MAX);
        let copied = |values: &[f32]| {
            device.buffer_from(stream, values).map_err(|error| op_error(OP, error))
        };
        let layer = |layer_idx: usize| {
            let scales = scales.layer(layer_idx);
            Ok(Layer {
                k: alloc(device, pool_bytes, "the KV cache")?,
                v: alloc(device, pool_bytes, "the KV cache")?,
                k_scales: copied(scales.k)?,
                v_scales: copied(scales.v)?,
            })
        };
        let layers = (0..shape.num_layers).map(layer).collect::<Result<_, OpError>>()?;
        Ok(KvCache { shape, layout, layers })
    }

    /// The pools of layer `layer_idx`.
    pub(super) fn layer(&self, op: &'static str, layer_idx: usize) -> Result<&Layer, OpError> {
        let expected = self.layers.len().saturating_sub(1);
        let outside = OpError::Shape { op, what: "layer_idx", found: layer_idx, expected };
        self.layers.get(layer_idx).ok_or(outside)
    }

    /// As [`KvCache::layer`], to be written.
    pub(super) fn layer_mut(
        &mut self,
        op: &'static str,
        layer_idx: usize,
    ) -> Result<&mut Layer, OpError> {
        let expected = self.layers.len().saturating_sub(1);
        let outside = OpError::Shape { op, what: "layer_idx", found: layer_idx, expected };
        self.layers.get_mut(layer_idx).ok_or(outside)
    }
}
