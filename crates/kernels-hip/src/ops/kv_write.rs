//! `kv_write`.

use engine_core::kv_dtype::KvDType;
use engine_core::ops::Cols;

use super::{WAVE_SIZE, check_view, count, plain};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::kv_layout::{self, KvLayout};
use crate::launch::{Argument, Geometry};
use crate::module::{Kernel, Module};
use crate::result::{Error, Result};
use crate::stream::Stream;
use crate::variant::{Any, Variant};

const NAME: &str = "kv_write_v1_naive";

/// What there is.
pub(super) const VARIANTS: &[Variant<Any>] =
    &[plain("kv_write", NAME, "none: maxima have no order")];

/// Keys and values of tokens to their slots of one layer's pools: [`engine_core::ops::KvWrite`].
pub struct KvWrite {
    kernel: Kernel,
    dtype: KvDType,
}

/// What is written, and where.
pub struct KvRows<'a> {
    /// The slot of each token, `block * block_size + offset`; negative: skipped.
    pub slot_mapping: &'a Buffer<i64>,
    /// Tokens.
    pub num_tokens: usize,
    /// Keys, `[num_tokens, num_kv_heads * head_dim]`.
    pub k: Cols<&'a Buffer<f32>>,
    /// Values, likewise.
    pub v: Cols<&'a Buffer<f32>>,
    /// Each head's scale of keys.
    pub k_scales: &'a Buffer<f32>,
    /// Each head's scale of values.
    pub v_scales: &'a Buffer<f32>,
    /// FP8 only: where each token and head gets a scale of its own, on top of its head's.
    pub token_scales: Option<TokenScales<'a>>,
}

/// The scales of every token slot and head, in [`KvLayout::token_scale`]'s order.
pub struct TokenScales<'a> {
    /// Of keys.
    pub k: &'a mut Buffer<f32>,
    /// Of values.
    pub v: &'a mut Buffer<f32>,
}

impl KvWrite {
    /// Loads `kv_write_v1_naive` for a cache of `dtype`.
    ///
    /// # Errors
    ///
    /// If `dtype` is not one of gfx942's, or the build has none for this device; HIP's.
    pub fn new(device: &Device, dtype: KvDType) -> Result<Self> {
        Self::of(&device.variant(NAME)?, NAME, dtype)
    }

    /// As [`KvWrite::new`], of a code object from elsewhere.
    ///
    /// # Errors
    ///
    /// If it has no such kernel; HIP's.
    pub fn from_code_object(device: &Device, code_object: &[u8], dtype: KvDType) -> Result<Self> {
        Self::of(&device.module(code_object)?, NAME, dtype)
    }

    /// The kernel of a variant of this op, or of one that does more before.
    pub(super) fn of(module: &Module, variant: &str, dtype: KvDType) -> Result<Self> {
        let format = kv_layout::require_kernel_name(dtype)?;
        Ok(KvWrite { kernel: module.kernel(&format!("{variant}__f32_{format}"))?, dtype })
    }

    /// Writes `rows` to the pools, which hold whole kv_blocks of `layout`. A slot past their end is skipped.
    ///
    /// # Errors
    ///
    /// If a length or format does not fit; HIP's.
    pub fn run(
        &self,
        stream: &Stream,
        layout: &KvLayout,
        pools: [&mut Buffer<u8>; 2],
        rows: KvRows<'_>,
    ) -> Result<()> {
        // SAFETY: the kernel takes nothing more.
        unsafe { self.run_with(stream, layout, pools, rows, Vec::new()) }
    }

    /// The same, with `more` arguments behind those of `kv_write`.
    ///
    /// # Safety
    ///
    /// What the kernel touches by `more` must be there for every token of `rows`.
    pub(super) unsafe fn run_with(
        &self,
        stream: &Stream,
        layout: &KvLayout,
        [k_pool, v_pool]: [&mut Buffer<u8>; 2],
        rows: KvRows<'_>,
        more: Vec<Argument<'_>>,
    ) -> Result<()> {
        let num_blocks = self.num_blocks(layout, k_pool, v_pool)?;
        let KvRows { slot_mapping, num_tokens, k, v, k_scales, v_scales, token_scales } = rows;
        slot_mapping.check_at_least("slot_mapping", num_tokens)?;
        let width = layout.num_kv_heads() * layout.head_dim();
        check_view("k", &k, num_tokens, width)?;
        check_view("v", &v, num_tokens, width)?;
        k_scales.check_at_least("k_scales", layout.num_kv_heads())?;
        v_scales.check_at_least("v_scales", layout.num_kv_heads())?;
        let token_scales = match token_scales {
            None => [Argument::null(), Argument::null()],
            Some(scales) => self.token_scales(layout, num_blocks, scales)?,
        };
        let num_tokens = count("num_tokens", num_tokens)?;
        let num_kv_heads = count("num_kv_heads", layout.num_kv_heads())?;
        let sizes = [
            count("num_blocks", num_blocks)?,
            count("block_size", layout.block_size())?,
            num_kv_heads,
            count("head_dim", layout.head_dim())?,
        ];
        let (k_stride, v_stride) = (k.stride as u64, v.stride as u64);
        let [k_token_scales, v_token_scales] = token_scales;
        let mut args = vec![
            Argument::output(k_pool),
            Argument::output(v_pool),
            Argument::input(slot_mapping),
            Argument::input_from(k.buffer, k.first_col),
            Argument::input_from(v.buffer, v.first_col),
            Argument::value(&k_stride),
            Argument::value(&v_stride),
            Argument::input(k_scales),
            Argument::input(v_scales),
            k_token_scales,
            v_token_scales,
            Argument::value(&sizes[0]),
            Argument::value(&sizes[1]),
            Argument::value(&sizes[2]),
            Argument::value(&sizes[3]),
        ];
        args.extend(more);
        let geometry = Geometry {
            workgroups: [num_tokens, num_kv_heads, 1],
            ..Geometry::linear(1, WAVE_SIZE as u32)
        };
        // SAFETY: a work-group reads a slot and the view's columns of one head of one token, below the counts checked
        // above, and writes, to pools and token scales alike, inside kv_blocks below `num_blocks`: it skips other slots.
        // For `more` the caller answers.
        unsafe { self.kernel.launch(stream, geometry, &args) }
    }

    /// How many kv_blocks the pools hold.
    fn num_blocks(&self, layout: &KvLayout, k: &Buffer<u8>, v: &Buffer<u8>) -> Result<usize> {
        if layout.dtype() != self.dtype {
            let found = format!("{}, and the kernel was loaded for {}", layout.dtype(), self.dtype);
            let (what, allowed) = ("the format of the KV cache", "that of KvWrite::new");
            return Err(Error::Value { what, allowed, found });
        }
        v.check_len("the pool of values", k.len())?;
        let block_bytes = layout.pool_bytes(1).unwrap_or(usize::MAX);
        if !k.len().is_multiple_of(block_bytes) {
            let found = format!("{} bytes for kv_blocks of {block_bytes}", k.len());
            let (what, allowed) = ("the pool of keys", "whole kv_blocks");
            return Err(Error::Value { what, allowed, found });
        }
        Ok(k.len() / block_bytes)
    }

    fn token_scales<'a>(
        &self,
        layout: &KvLayout,
        num_blocks: usize,
        scales: TokenScales<'a>,
    ) -> Result<[Argument<'a>; 2]> {
        if self.dtype.fp8().is_none() {
            let (what, allowed) = ("the format of a cache with token scales", "FP8");
            return Err(Error::Value { what, allowed, found: self.dtype.to_string() });
        }
        let least = layout.token_scale(num_blocks, 0, 0);
        scales.k.check_at_least("the token scales of keys", least)?;
        scales.v.check_at_least("the token scales of values", least)?;
        Ok([Argument::output(scales.k), Argument::output(scales.v)])
    }
}
