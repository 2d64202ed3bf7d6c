//! How long matrix instructions occupy their unit.

use super::Op;

/// Cycles in a pass, the unit in which the manual states the wait states of matrix instructions.
pub const CYCLES_PER_PASS: u32 = 4;

/// Cycles for which a matrix instruction occupies the SIMD's matrix unit; `None` for any other operation.
///
/// Source: the manual, table 28, for the dense forms. A sparse form takes as long as the dense one of the same tile
/// whose K is half as long.
pub const fn matrix_cycles(op: Op) -> Option<u32> {
    Some(match op {
        Op::v_mfma_f32_4x4x1_16b_f32
        | Op::v_mfma_f32_4x4x4_16b_f16
        | Op::v_mfma_f32_4x4x4_16b_bf16
        | Op::v_mfma_i32_4x4x4_16b_i8 => 8,
        Op::v_mfma_f64_4x4x4_4b_f64
        | Op::v_mfma_f32_16x16x16_f16
        | Op::v_mfma_f32_16x16x16_bf16
        | Op::v_mfma_i32_16x16x32_i8
        | Op::v_mfma_f32_16x16x8_xf32
        | Op::v_mfma_f32_16x16x32_bf8_bf8
        | Op::v_mfma_f32_16x16x32_bf8_fp8
        | Op::v_mfma_f32_16x16x32_fp8_bf8
        | Op::v_mfma_f32_16x16x32_fp8_fp8
        | Op::v_smfmac_f32_16x16x32_f16
        | Op::v_smfmac_f32_16x16x32_bf16
        | Op::v_smfmac_i32_16x16x64_i8
        | Op::v_smfmac_f32_16x16x64_bf8_bf8
        | Op::v_smfmac_f32_16x16x64_bf8_fp8
        | Op::v_smfmac_f32_16x16x64_fp8_bf8
        | Op::v_smfmac_f32_16x16x64_fp8_fp8 => 16,
        Op::v_mfma_f32_16x16x1_4b_f32
        | Op::v_mfma_f32_16x16x4_f32
        | Op::v_mfma_f32_16x16x4_4b_f16
        | Op::v_mfma_f32_16x16x4_4b_bf16
        | Op::v_mfma_i32_16x16x4_4b_i8
        | Op::v_mfma_f64_16x16x4_f64
        | Op::v_mfma_f32_32x32x8_f16
        | Op::v_mfma_f32_32x32x8_bf16
        | Op::v_mfma_i32_32x32x16_i8
        | Op::v_mfma_f32_32x32x4_xf32
        | Op::v_mfma_f32_32x32x16_bf8_bf8
        | Op::v_mfma_f32_32x32x16_bf8_fp8
        | Op::v_mfma_f32_32x32x16_fp8_bf8
        | Op::v_mfma_f32_32x32x16_fp8_fp8
        | Op::v_smfmac_f32_32x32x16_f16
        | Op::v_smfmac_f32_32x32x16_bf16
        | Op::v_smfmac_i32_32x32x32_i8
        | Op::v_smfmac_f32_32x32x32_bf8_bf8
        | Op::v_smfmac_f32_32x32x32_bf8_fp8
        | Op::v_smfmac_f32_32x32x32_fp8_bf8
        | Op::v_smfmac_f32_32x32x32_fp8_fp8 => 32,
        Op::v_mfma_f32_32x32x1_2b_f32
        | Op::v_mfma_f32_32x32x2_f32
        | Op::v_mfma_f32_32x32x4_2b_f16
        | Op::v_mfma_f32_32x32x4_2b_bf16
        | Op::v_mfma_i32_32x32x4_2b_i8 => 64,
        _ => return None,
    })
}
