//! `kv_write_rope`.

use engine_core::kv_dtype::KvDType;

use super::kv_write::{KvRows, KvWrite};
use super::rope::RopeLayout;
use super::{count, plain};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::kv_layout::KvLayout;
use crate::launch::Argument;
use crate::result::{Error, Result};
use crate::stream::Stream;
use crate::variant::{Any, Variant};

const NAME: &str = "kv_write_rope_v1_naive";

/// What there is.
pub(super) const VARIANTS: &[Variant<Any>] =
    &[plain("kv_write_rope", NAME, "none: maxima have no order")];

/// [`super::Rope`] of the keys and [`KvWrite`] in one, with the bytes of the two.
pub struct KvWriteRope {
    write: KvWrite,
}

/// How keys turn.
#[derive(Clone, Copy)]
pub struct KeyRope<'a> {
    /// `[num_tokens, rotary_dim]`: each token's cosines, then its sines.
    pub angles: &'a Buffer<f32>,
    /// Leading elements of a head that turn; even.
    pub rotary_dim: usize,
    /// Which of them together.
    pub layout: RopeLayout,
}

impl KvWriteRope {
    /// Loads `kv_write_rope_v1_naive` for a cache of `dtype`.
    ///
    /// # Errors
    ///
    /// If `dtype` is not one of gfx942's, or the build has none for this device; HIP's.
    pub fn new(device: &Device, dtype: KvDType) -> Result<Self> {
        Ok(KvWriteRope { write: KvWrite::of(&device.variant(NAME)?, NAME, dtype)? })
    }

    /// As [`KvWriteRope::new`], of a code object from elsewhere.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_code_object(device: &Device, code_object: &[u8], dtype: KvDType) -> Result<Self> {
        Ok(KvWriteRope { write: KvWrite::of(&device.module(code_object)?, NAME, dtype)? })
    }

    /// Turns the keys of `rows`, which stay as they are, and writes them and the values as [`KvWrite::run`] does.
    ///
    /// # Errors
    ///
    /// As there; and if `rotary_dim` is odd or above `head_dim`.
    pub fn run(
        &self,
        stream: &Stream,
        layout: &KvLayout,
        pools: [&mut Buffer<u8>; 2],
        rows: KvRows<'_>,
        rope: KeyRope<'_>,
    ) -> Result<()> {
        let KeyRope { angles, rotary_dim, layout: rope_layout } = rope;
        let head_dim = layout.head_dim();
        if rotary_dim > head_dim || !rotary_dim.is_multiple_of(2) {
            let found = format!("{rotary_dim} of {head_dim}");
            let (what, allowed) = ("rotary_dim", "even, up to head_dim");
            return Err(Error::Value { what, allowed, found });
        }
        angles.check_at_least("angles", rows.num_tokens.saturating_mul(rotary_dim))?;
        let rotary_dim = count("rotary_dim", rotary_dim)?;
        let interleaved = u32::from(rope_layout == RopeLayout::Interleaved);
        let more = vec![
            Argument::input(angles),
            Argument::value(&rotary_dim),
            Argument::value(&interleaved),
        ];
        // SAFETY: of `angles` the kernel reads `rotary_dim` for each token, as many as there are, and pairs inside the
        // head, whose elements are at least as many; checked above.
        unsafe { self.write.run_with(stream, layout, pools, rows, more) }
    }
}
