//! The kernels as functions: arguments in the words of [`engine_core::ops`], checked before the launch.
//!
//! All of them give work to a stream and return. Work on different streams is in no order but that of events: a buffer
//! that two of them touch at once holds numbers that nobody promised, and nothing worse.

mod add_rms_norm;
mod argmax;
mod attention;
mod elementwise;
mod embed;
mod fp8_convert;
mod fp8_quantize;
mod gemm;
mod gemm_fp8;
mod gemm_int4;
mod head_norm;
mod kv_blocks;
mod kv_copy;
mod kv_read;
mod kv_write;
mod kv_write_rope;
mod mfma_probe;
mod paged_batch;
mod rms_norm;
mod rms_norm_fp8_quantize;
mod rope;
mod row_scales;
mod sample;
mod silu_mul_fp8_quantize;
mod vector_add;

pub use add_rms_norm::AddRmsNorm;
pub use argmax::Argmax;
pub use attention::{Attention, AttentionInputs, AttentionOutputs, AttentionShape};
pub use elementwise::{Convert, SiluMul};
pub use embed::Embed;
pub use fp8_convert::Fp8Convert;
pub use fp8_quantize::{Fp8Quantize, Input, QuantizeShape, SCALE_GROUP, Scales, Scaling};
pub use gemm::{Gemm, GemmShape, Product};
pub use gemm_fp8::{GemmFp8, GemmFp8Shape, GemmScaling, ScaledProduct};
pub use gemm_int4::{GemmInt4, GemmInt4Shape, Int4Packing, Int4Weights};
pub use head_norm::HeadNorm;
pub use kv_blocks::{DenseBlocks, KvBlocks, KvPart};
pub use kv_copy::KvCopy;
pub use kv_read::{KvRead, KvSlots};
pub use kv_write::{KvRows, KvWrite, TokenScales};
pub use kv_write_rope::{KeyRope, KvWriteRope};
pub use mfma_probe::{MfmaProbe, Operands};
pub use paged_batch::PagedBatch;
pub use rms_norm::{NormRows, RmsNorm};
pub use rms_norm_fp8_quantize::RmsNormFp8Quantize;
pub use rope::{Rope, RopeAngles, RopeConvert, RopeLayout, RopeShape};
pub use row_scales::FusedShape;
pub use sample::{Sample, SampleRow};
pub use silu_mul_fp8_quantize::SiluMulFp8Quantize;
pub use vector_add::VectorAdd;

use bytemuck::Pod;
use engine_core::dtype::DType;
use engine_core::ops::Cols;

use crate::buffer::Buffer;
use crate::result::{Error, Result};
use crate::variant::{Any, Variant, VariantInfo, everything, infos};

/// Every row of every op's table, compiled in or not; of each op, the best first.
#[must_use]
pub fn catalogue() -> Vec<VariantInfo> {
    infos(add_rms_norm::VARIANTS)
        .chain(infos(argmax::VARIANTS))
        .chain(infos(attention::PAGED))
        .chain(infos(attention::PREFILL))
        .chain(infos(elementwise::CONVERT_VARIANTS))
        .chain(infos(elementwise::SILU_MUL_VARIANTS))
        .chain(infos(embed::VARIANTS))
        .chain(infos(attention::MERGE))
        .chain(infos(attention::REPACK))
        .chain(infos(fp8_convert::VARIANTS))
        .chain(infos(fp8_quantize::VARIANTS))
        .chain(infos(gemm::VARIANTS))
        .chain(infos(head_norm::VARIANTS))
        .chain(infos(kv_blocks::GATHER_VARIANTS))
        .chain(infos(kv_blocks::SCATTER_VARIANTS))
        .chain(infos(gemm_fp8::VARIANTS))
        .chain(infos(gemm_int4::VARIANTS))
        .chain(infos(kv_copy::VARIANTS))
        .chain(infos(kv_read::VARIANTS))
        .chain(infos(kv_write::VARIANTS))
        .chain(infos(kv_write_rope::VARIANTS))
        .chain(infos(mfma_probe::VARIANTS))
        .chain(infos(rms_norm::VARIANTS))
        .chain(infos(rope::ANGLES_VARIANTS))
        .chain(infos(rope::VARIANTS))
        .chain(infos(rope::CONVERT_VARIANTS))
        .chain(infos(rms_norm_fp8_quantize::VARIANTS))
        .chain(infos(sample::VARIANTS))
        .chain(infos(silu_mul_fp8_quantize::VARIANTS))
        .chain(infos(vector_add::VARIANTS))
        .collect()
}

/// Work-items of a work-group, for all of the v1 kernels.
const WORKGROUP_SIZE: u32 = 256;

/// Lanes of a wave.
const WAVE_SIZE: usize = 64;

/// Numbers that travel with a launch: `ROW_LIST_LEN` of `kernels/include/row_list.h`.
const ROW_LIST_LEN: usize = 256;

/// At most [`ROW_LIST_LEN`] `rows`, and zeros.
fn row_list(rows: &[u32]) -> [u32; ROW_LIST_LEN] {
    let mut list = [0; ROW_LIST_LEN];
    list.iter_mut().zip(rows).for_each(|(to, from)| *to = *from);
    list
}

/// The row of an op's only variant, which serves every shape.
const fn plain(
    op: &'static str,
    name: &'static str,
    reduction_class: &'static str,
) -> Variant<Any> {
    Variant { op, name, reduction_class, supports: everything }
}

/// A format's name in the names of kernels.
fn element_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "f32",
        DType::F16 => "f16",
        DType::BF16 => "bf16",
    }
}

/// The same of a format of 16 bits: of weights and of what they are multiplied with.
fn format_name(dtype: DType) -> Result<&'static str> {
    if dtype.size_bytes() == 2 {
        return Ok(element_name(dtype));
    }
    let (what, allowed) = ("the format of matrix inputs", "bfloat16 or float16");
    Err(Error::Value { what, allowed, found: dtype.to_string() })
}

/// Fails unless `T` has the bytes of `dtype`'s elements.
fn check_element<T: Pod>(dtype: DType) -> Result<()> {
    if size_of::<T>() == dtype.size_bytes() {
        return Ok(());
    }
    let found = format!("{} bytes, for {dtype}", size_of::<T>());
    Err(Error::Value { what: "an element of a buffer", allowed: "as large as its format", found })
}

/// A count that a kernel takes as u32.
fn count(what: &'static str, value: usize) -> Result<u32> {
    u32::try_from(value).map_err(|_| Error::Value {
        what,
        allowed: "below 2^32",
        found: value.to_string(),
    })
}

/// Fails unless the view has `width` columns inside its stride, and `num_rows` rows inside its buffer.
fn check_view<T: Pod>(
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
