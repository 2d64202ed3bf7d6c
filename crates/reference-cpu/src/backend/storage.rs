//! Memory of the reference backend.

use core::ops::Range;

use engine_core::device::{KvCacheShape, OpError};
use engine_core::kv_run::KvPiece;
use engine_core::kv_scales::KvScales;

use crate::shape;

/// A host array.
#[derive(Clone, Debug)]
pub struct Buffer {
    pub(super) values: Vec<f32>,
    /// Made by `alloc_act`: holds values rounded to the compute dtype.
    pub(super) is_act: bool,
}

impl Buffer {
    /// All elements, widened.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    pub(super) fn new(len: usize, is_act: bool) -> Result<Self, OpError> {
        let values = unwritten("a buffer", Some(len))?;
        Ok(Buffer { values, is_act })
    }

    /// The first `len` elements of an f32 buffer.
    pub(super) fn f32(
        &self,
        op: &'static str,
        what: &'static str,
        len: usize,
    ) -> Result<&[f32], OpError> {
        self.check(op, what, len, false)?;
        Ok(&self.values[..len])
    }

    /// The first `len` elements of a matrix-input buffer.
    pub(super) fn act(
        &self,
        op: &'static str,
        what: &'static str,
        len: usize,
    ) -> Result<&[f32], OpError> {
        self.check(op, what, len, true)?;
        Ok(&self.values[..len])
    }

    /// As [`Buffer::f32`], to be written.
    pub(super) fn f32_mut(
        &mut self,
        op: &'static str,
        what: &'static str,
        len: usize,
    ) -> Result<&mut [f32], OpError> {
        self.check(op, what, len, false)?;
        Ok(&mut self.values[..len])
    }

    /// As [`Buffer::act`], to be written.
    pub(super) fn act_mut(
        &mut self,
        op: &'static str,
        what: &'static str,
        len: usize,
    ) -> Result<&mut [f32], OpError> {
        self.check(op, what, len, true)?;
        Ok(&mut self.values[..len])
    }

    fn check(
        &self,
        op: &'static str,
        what: &'static str,
        len: usize,
        is_act: bool,
    ) -> Result<(), OpError> {
        if self.is_act != is_act {
            let what = match is_act {
                true => "number of f32 buffers where a matrix input must be",
                false => "number of matrix-input buffers where an f32 must be",
            };
            return shape::equal(op, what, 1, 0);
        }
        shape::at_least(op, what, self.values.len(), len)
    }
}

/// A weight matrix `[out_features, in_features]`, row-major, rounded to the compute dtype.
#[derive(Clone, Debug)]
pub struct Matrix {
    pub(super) values: Vec<f32>,
    pub(super) in_features: usize,
}

impl Matrix {
    /// All elements, widened.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Columns.
    pub fn in_features(&self) -> usize {
        self.in_features
    }

    /// Rows.
    pub fn out_features(&self) -> usize {
        self.values.len() / self.in_features
    }
}

/// The paged cache: keys and values as `[layer][slot][kv_head][element]`, divided by their scales and
/// rounded to the cache's format.
#[derive(Clone, Debug)]
pub struct KvCache {
    pub(super) shape: KvCacheShape,
    pub(super) scales: KvScales,
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
}

impl KvCache {
    /// The cache's shape.
    pub fn shape(&self) -> &KvCacheShape {
        &self.shape
    }

    /// The scales.
    pub fn scales(&self) -> &KvScales {
        &self.scales
    }

    /// Keys and values of one layer, each `[num_slots, num_kv_heads, head_dim]`.
    pub fn layer(&self, layer_idx: usize) -> (&[f32], &[f32]) {
        let range = self.layer_range(layer_idx);
        (&self.keys[range.clone()], &self.values[range])
    }

    /// Each pool of one layer, to be written, with its scales.
    pub(super) fn layer_mut(&mut self, layer_idx: usize) -> [(&mut [f32], &[f32]); 2] {
        let range = self.layer_range(layer_idx);
        let scales = self.scales.layer(layer_idx);
        let (keys, values) = (&mut self.keys[range.clone()], &mut self.values[range]);
        [(keys, scales.k), (values, scales.v)]
    }

    /// The elements of kv_block `block` in each layer, of `keys` as of `values`.
    pub(super) fn block_ranges(&self, block: u32) -> impl Iterator<Item = Range<usize>> + use<> {
        let shape = &self.shape;
        let block_len = shape.block_size * shape.num_kv_heads * shape.head_dim;
        let layer_len = shape.num_blocks * block_len;
        let first = block as usize * block_len;
        (0..shape.num_layers)
            .map(move |layer_idx| layer_idx * layer_len + first)
            .map(move |first| first..first + block_len)
    }

    /// The elements of one slot of a piece, in either pool of a layer.
    pub(super) fn head_range(&self, piece: &KvPiece, slot: usize) -> Range<usize> {
        let KvCacheShape { block_size, num_kv_heads, head_dim, .. } = self.shape;
        let slot = piece.block as usize * block_size + slot;
        let first = (slot * num_kv_heads + piece.kv_head_idx) * head_dim;
        first..first + head_dim
    }

    fn layer_range(&self, layer_idx: usize) -> Range<usize> {
        let layer_len = self.keys.len() / self.shape.num_layers;
        layer_idx * layer_len..(layer_idx + 1) * layer_len
    }

    pub(super) fn new(shape: KvCacheShape, scales: &KvScales) -> Result<Self, OpError> {
        const OP: &str = "alloc_kv_cache";
        shape::at_least(OP, "num_layers", shape.num_layers, 1)?;
        shape::at_least(OP, "num_blocks", shape.num_blocks, 1)?;
        shape::at_least(OP, "block_size", shape.block_size, 1)?;
        shape::at_least(OP, "num_kv_heads", shape.num_kv_heads, 1)?;
        shape::at_least(OP, "head_dim", shape.head_dim, 1)?;
        shape.check_scales(scales)?;
        let len = [shape.num_blocks, shape.block_size, shape.num_kv_heads, shape.head_dim]
            .iter()
            .try_fold(shape.num_layers, |len, &factor| len.checked_mul(factor));
        Ok(KvCache {
            shape,
            scales: scales.clone(),
            keys: unwritten("the KV cache", len)?,
            values: unwritten("the KV cache", len)?,
        })
    }
}

/// Elements up to which fresh memory is NaN: 1 GiB.
const MAX_NAN_LEN: usize = 1 << 28;

/// `len` values that nobody has written; `None` for a length that overflowed.
///
/// NaN, so that reading them shows; but zeros above [`MAX_NAN_LEN`], whose pages the system hands
/// out when they are written: an engine reserves a pool of gigabytes and may use little of it.
pub(super) fn unwritten(what: &'static str, len: Option<usize>) -> Result<Vec<f32>, OpError> {
    let requested_bytes = (len.unwrap_or(usize::MAX) as u64).saturating_mul(4);
    let refused = OpError::OutOfMemory { what, requested_bytes };
    let Some(len) = len else {
        return Err(refused);
    };
    // Asks first, because `vec!` aborts where memory is refused.
    let mut values = Vec::new();
    if values.try_reserve_exact(len).is_err() {
        return Err(refused);
    }
    if len > MAX_NAN_LEN {
        drop(values);
        return Ok(vec![0.0; len]);
    }
    values.resize(len, f32::NAN);
    Ok(values)
}
