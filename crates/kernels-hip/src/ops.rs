//! The kernels as functions: arguments in the words of [`engine_core::ops`], checked before the launch.
//!
//! All of them give work to a stream and return. Work on different streams is in no order but that of events: a buffer
//! that two of them touch at once holds numbers that nobody promised, and nothing worse.

mod attention;
mod fp8_convert;
mod fp8_quantize;
mod kv_write;
mod mfma_probe;
mod paged_batch;
mod rms_norm;
mod rms_norm_fp8_quantize;
mod row_scales;
mod sample;
mod silu_mul_fp8_quantize;
mod vector_add;

pub use attention::{Attention, AttentionInputs, AttentionOutputs, AttentionShape};
pub use fp8_convert::Fp8Convert;
pub use fp8_quantize::{Fp8Quantize, Input, QuantizeShape, SCALE_GROUP, Scales, Scaling};
pub use kv_write::{KvRows, KvWrite, TokenScales};
pub use mfma_probe::{MfmaProbe, Operands};
pub use paged_batch::PagedBatch;
pub use rms_norm::RmsNorm;
pub use rms_norm_fp8_quantize::RmsNormFp8Quantize;
pub use row_scales::FusedShape;
pub use sample::{Sample, SampleRow};
pub use silu_mul_fp8_quantize::SiluMulFp8Quantize;
pub use vector_add::VectorAdd;

use engine_core::ops::Cols;

use crate::buffer::Buffer;
use crate::result::{Error, Result};
use crate::variant::{Variant, VariantInfo};

/// Every row of every op's table, compiled in or not; of each op, the best first.
#[must_use]
pub fn catalogue() -> Vec<VariantInfo> {
    fn rows<S>(table: &[Variant<S>]) -> impl Iterator<Item = VariantInfo> {
        table.iter().map(Variant::info)
    }
    rows(attention::PAGED)
        .chain(rows(attention::PREFILL))
        .chain(rows(attention::MERGE))
        .chain(rows(fp8_convert::VARIANTS))
        .chain(rows(fp8_quantize::VARIANTS))
        .chain(rows(kv_write::VARIANTS))
        .chain(rows(mfma_probe::VARIANTS))
        .chain(rows(rms_norm::VARIANTS))
        .chain(rows(rms_norm_fp8_quantize::VARIANTS))
        .chain(rows(sample::VARIANTS))
        .chain(rows(silu_mul_fp8_quantize::VARIANTS))
        .chain(rows(vector_add::VARIANTS))
        .collect()
}

/// Work-items of a work-group, for all of the v1 kernels.
const WORKGROUP_SIZE: u32 = 256;

/// Lanes of a wave.
const WAVE_SIZE: usize = 64;

/// A count that a kernel takes as u32.
fn count(what: &'static str, value: usize) -> Result<u32> {
    u32::try_from(value).map_err(|_| Error::Value {
        what,
        allowed: "below 2^32",
        found: value.to_string(),
    })
}

/// Fails unless the view has `width` columns inside its stride, and `num_rows` rows inside its buffer.
fn check_view<T: bytemuck::Pod>(
    what: &'static str,
    view: &Cols<&Buffer<T>>,
    num_rows: usize,
    width: usize,
) -> Result<()> {
    if view.first_col.checked_add(width).is_none_or(|end| end > view.stride) {
        let found = format!("{} for columns {}..+{width}", view.stride, view.first_col);
        return Err(Error::Value { what, allowed: "a view whose stride holds its columns", found });
    }
    // The last row may end with the view.
    let before = num_rows.saturating_sub(1).saturating_mul(view.stride);
    let least = if num_rows == 0 { 0 } else { before.saturating_add(view.first_col + width) };
    view.buffer.check_at_least(what, least)
}
