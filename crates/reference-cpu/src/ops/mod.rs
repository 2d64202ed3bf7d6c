//! Every op of [`engine_core::ops`] as a pure function over slices.
//!
//! Inputs hold the values that the op reads: weights and matrix inputs already rounded to the
//! compute dtype. Outputs are f32, rounded once from an f64 sum; whoever stores a matrix input
//! rounds it to the compute dtype. Slices have exactly the shapes written at each function;
//! [`crate::backend`] checks arguments before it calls.

mod attention;
mod attention_row;
mod embed;
mod fp8_convert;
mod fp8_quantize;
mod gemm_fp8;
mod head_norm;
mod int4_dequantize;
mod kv_write;
mod linear;
mod rms_norm;
mod rope;
mod rope_angles;
mod silu_mul;

pub use attention::{Attention, attend, attended, attention};
pub use attention_row::{Attended, AttendedToken, AttentionRow, WeightRounding};
pub use embed::embed;
pub use fp8_convert::{Converted, fp8_convert, fp8_convert_scale, other_flavour};
pub use fp8_quantize::{fp8_quantize, fp8_row_scale};
pub use gemm_fp8::{GemmFp8, GemmScales, SCALE_BLOCK, gemm_fp8};
pub use head_norm::head_norm;
pub use int4_dequantize::{Int4Format, Int4Weight, int4_dequantize};
pub use kv_write::kv_write;
pub use linear::{dot, linear};
pub use rms_norm::rms_norm;
pub use rope::rope;
pub use rope_angles::rope_angles;
pub use silu_mul::silu_mul;
