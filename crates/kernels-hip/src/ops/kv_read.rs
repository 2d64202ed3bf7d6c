//! `kv_read`.

use bytemuck::Pod;
use engine_core::dtype::DType;
use engine_core::kv_dtype::KvDType;

use super::kv_blocks::KvPart;
use super::{WAVE_SIZE, check_element, count, element_name, plain};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::kv_layout::{KvLayout, require_kernel_name};
use crate::launch::{Argument, Geometry};
use crate::module::{Kernel, Module};
use crate::result::{Error, Result};
use crate::stream::Stream;
use crate::variant::{Any, Variant};

const NAME: &str = "kv_read_v1_naive";

/// What there is.
pub(super) const VARIANTS: &[Variant<Any>] = &[plain("kv_read", NAME, "none: no sums")];

/// Keys or values of tokens from their slots, as numbers: what [`super::KvWrite`] wrote.
pub struct KvRead {
    kernels: [Kernel; 2],
    dtype: KvDType,
    out: DType,
}

/// What is read.
pub struct KvSlots<'a> {
    /// The slot of each token, `block * block_size + offset`; of one that is negative or past the end come zeros.
    pub slot_mapping: &'a Buffer<i64>,
    /// Tokens.
    pub num_tokens: usize,
    /// Each head's scale.
    pub head_scales: &'a Buffer<f32>,
    /// FP8 only: that of every token slot and head, in [`KvLayout::token_scale`]'s order.
    pub token_scales: Option<&'a Buffer<f32>>,
}

impl KvRead {
    /// Loads `kv_read_v1_naive` for a cache of `dtype` and results of `out`.
    ///
    /// # Errors
    ///
    /// If `dtype` is not one of gfx942's, or the build has none for this device; HIP's.
    pub fn new(device: &Device, dtype: KvDType, out: DType) -> Result<Self> {
        Self::of(&device.variant(NAME)?, dtype, out)
    }

    /// As [`KvRead::new`], of a code object from elsewhere.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_code_object(
        device: &Device,
        code_object: &[u8],
        dtype: KvDType,
        out: DType,
    ) -> Result<Self> {
        Self::of(&device.module(code_object)?, dtype, out)
    }

    fn of(module: &Module, dtype: KvDType, out: DType) -> Result<Self> {
        let (format, to) = (require_kernel_name(dtype)?, element_name(out));
        let kernel = |part: &str| module.kernel(&format!("{NAME}__{part}_{format}_{to}"));
        Ok(KvRead { kernels: [kernel("k")?, kernel("v")?], dtype, out })
    }

    /// `out` is rows of `num_kv_heads * head_dim`, one for each token, of the type of [`KvRead::new`].
    ///
    /// # Errors
    ///
    /// If a length or format does not fit; HIP's.
    pub fn run<T: Pod>(
        &self,
        stream: &Stream,
        layout: &KvLayout,
        out: &mut Buffer<T>,
        (pool, part): (&Buffer<u8>, KvPart),
        slots: &KvSlots<'_>,
    ) -> Result<()> {
        let KvSlots { slot_mapping, num_tokens, head_scales, token_scales } = *slots;
        check_element::<T>(self.out)?;
        let num_blocks = self.num_blocks(layout, pool)?;
        let width = layout.num_kv_heads() * layout.head_dim();
        out.check_at_least("out", num_tokens.saturating_mul(width))?;
        slot_mapping.check_at_least("slot_mapping", num_tokens)?;
        head_scales.check_at_least("head_scales", layout.num_kv_heads())?;
        if let Some(token_scales) = token_scales {
            token_scales.check_at_least("token_scales", layout.token_scale(num_blocks, 0, 0))?;
        }
        let num_tokens = count("num_tokens", num_tokens)?;
        let sizes = [
            count("num_blocks", num_blocks)?,
            count("block_size", layout.block_size())?,
            count("num_kv_heads", layout.num_kv_heads())?,
            count("head_dim", layout.head_dim())?,
        ];
        let args = [
            Argument::output(out),
            Argument::input(pool),
            Argument::input(slot_mapping),
            Argument::input(head_scales),
            token_scales.map_or_else(Argument::null, Argument::input),
            Argument::value(&sizes[0]),
            Argument::value(&sizes[1]),
            Argument::value(&sizes[2]),
            Argument::value(&sizes[3]),
        ];
        let workgroups = [num_tokens, sizes[2], 1];
        let geometry = Geometry { workgroups, ..Geometry::linear(1, WAVE_SIZE as u32) };
        // SAFETY: a work-group writes one head of one token, below the counts checked above, and reads its slot, and of the
        // pool and the token scales kv_blocks below `num_blocks`: for other slots it reads nothing.
        unsafe { self.kernels[part as usize].launch(stream, geometry, &args) }
    }

    /// How many kv_blocks the pool holds.
    fn num_blocks(&self, layout: &KvLayout, pool: &Buffer<u8>) -> Result<usize> {
        let refused = |what, allowed, found| Err(Error::Value { what, allowed, found });
        if layout.dtype() != self.dtype {
            let found = format!("{}, and the kernel was loaded for {}", layout.dtype(), self.dtype);
            return refused("the format of the KV cache", "that of KvRead::new", found);
        }
        let block_bytes = layout.pool_bytes(1).unwrap_or(usize::MAX);
        if !pool.len().is_multiple_of(block_bytes) {
            let found = format!("{} bytes for kv_blocks of {block_bytes}", pool.len());
            return refused("the pool", "whole kv_blocks", found);
        }
        Ok(pool.len() / block_bytes)
    }
}
