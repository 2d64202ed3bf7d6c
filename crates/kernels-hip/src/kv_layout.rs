//! The order of elements in the paged KV cache; `kernels/include/kv_layout.h` says the same for kernels.

use engine_core::device::KvCacheShape;
use engine_core::dtype::DType;
use engine_core::formats::Fp8Format;
use engine_core::kv_dtype::KvDType;

use crate::result::{Error, Result};

/// What a load of one lane brings, bytes.
const VECTOR_BYTES: usize = 16;

/// Slots of a kv_block come in this many: a V load of FP8 is 16 tokens, and so is a tile of a matrix instruction.
const SLOT_GRANULE: usize = 16;

/// Where keys and values lie. With x = elements in 16 bytes and `padded` = slots of a kv_block up to the next multiple
/// of 16:
///
/// ```text
/// K             [block][kv_head][head_dim / x][padded][x]
/// V             [block][kv_head][padded / x][head_dim][x]
/// token scales  [block][kv_head][padded]
/// ```
///
/// So a lane's 16-byte load is x elements along the k dimension of its matrix instruction: head elements in q·Kᵀ, tokens in
/// p·V. Padding serves every block size with the same loads; it is never written, and may hold NaN.
///
/// One pool for K and one for V per layer. Everything here is in elements but what says bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KvLayout {
    block_size: usize,
    num_kv_heads: usize,
    head_dim: usize,
    dtype: KvDType,
}

impl KvLayout {
    /// The layout of a cache.
    ///
    /// # Errors
    ///
    /// If `head_dim` is no multiple of 16, the format is not one of gfx942's, or a size is 0 or beyond 32 bits.
    pub fn new(shape: &KvCacheShape) -> Result<Self> {
        let KvCacheShape { block_size, num_kv_heads, head_dim, dtype, .. } = *shape;
        let refused = |what, allowed, found| Err(Error::Value { what, allowed, found });
        if head_dim == 0 || !head_dim.is_multiple_of(SLOT_GRANULE) {
            return refused("head_dim", "a multiple of 16", head_dim.to_string());
        }
        require_kernel_name(dtype)?;
        let layout = KvLayout { block_size, num_kv_heads, head_dim, dtype };
        let head_block = block_size
            .checked_next_multiple_of(SLOT_GRANULE)
            .and_then(|padded| padded.checked_mul(head_dim));
        let fits = head_block.is_some_and(|len| u32::try_from(len).is_ok());
        if block_size == 0 || num_kv_heads == 0 || !fits || u32::try_from(num_kv_heads).is_err() {
            let found = format!("{block_size} slots of {num_kv_heads} heads of {head_dim}");
            return refused("a kv_block", "at least one slot and head, below 2^32 elements", found);
        }
        Ok(layout)
    }

    /// Token slots of a kv_block that hold tokens.
    #[must_use]
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// Key and value heads.
    #[must_use]
    pub fn num_kv_heads(&self) -> usize {
        self.num_kv_heads
    }

    /// Elements of a head, a multiple of 16.
    #[must_use]
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// The format.
    #[must_use]
    pub fn dtype(&self) -> KvDType {
        self.dtype
    }

    /// Slots of a kv_block with their padding.
    #[must_use]
    pub fn padded(&self) -> usize {
        self.block_size.next_multiple_of(SLOT_GRANULE)
    }

    /// Neighbouring elements that one 16-byte load brings.
    #[must_use]
    pub fn x(&self) -> usize {
        VECTOR_BYTES / self.dtype.size_bytes()
    }

    /// First element of a head of a kv_block, in either pool.
    #[must_use]
    pub fn head_block(&self, block: usize, kv_head: usize) -> usize {
        (block * self.num_kv_heads + kv_head) * self.head_dim * self.padded()
    }

    /// K element `d` of the token in `slot`, from [`KvLayout::head_block`].
    #[must_use]
    pub fn k_offset(&self, slot: usize, d: usize) -> usize {
        (d / self.x() * self.padded() + slot) * self.x() + d % self.x()
    }

    /// V element `d` of the token in `slot`, from [`KvLayout::head_block`].
    #[must_use]
    pub fn v_offset(&self, slot: usize, d: usize) -> usize {
        (slot / self.x() * self.head_dim + d) * self.x() + slot % self.x()
    }

    /// The scale of a token slot and head, where each has its own.
    #[must_use]
    pub fn token_scale(&self, block: usize, kv_head: usize, slot: usize) -> usize {
        (block * self.num_kv_heads + kv_head) * self.padded() + slot
    }

    /// Bytes of a pool of `num_blocks`, `None` beyond the address space.
    #[must_use]
    pub fn pool_bytes(&self, num_blocks: usize) -> Option<usize> {
        self.padded()
            .checked_mul(self.head_dim * self.dtype.size_bytes())?
            .checked_mul(self.num_kv_heads)?
            .checked_mul(num_blocks)
    }
}

/// A format's name in the names of kernels.
///
/// # Errors
///
/// If gfx942 does not compute with it.
pub(crate) fn require_kernel_name(dtype: KvDType) -> Result<&'static str> {
    match dtype {
        KvDType::Float(DType::BF16) => Ok("bf16"),
        KvDType::Float(DType::F16) => Ok("f16"),
        KvDType::Fp8(Fp8Format::E4m3Fnuz) => Ok("e4m3fnuz"),
        KvDType::Fp8(Fp8Format::E5m2Fnuz) => Ok("e5m2fnuz"),
        KvDType::Float(DType::F32) | KvDType::Fp8(Fp8Format::E4m3 | Fp8Format::E5m2) => {
            Err(Error::Value {
                what: "the format of the KV cache",
                allowed: "bfloat16, float16, fp8_e4m3fnuz or fp8_e5m2fnuz",
                found: dtype.to_string(),
            })
        }
    }
}
