//! How long an instruction occupies the part of the SIMD that executes it.

use crate::exec::Unit;
use crate::isa::{Op, matrix_cycles};

/// Cycles in which a SIMD of 16 lanes issues a wave's instruction.
const FULL_RATE: u32 = 4;
/// The same for transcendentals and 32-bit integer multiplication.
const QUARTER_RATE: u32 = 16;

/// Issue cycles of a vector or matrix instruction. AccVGPR moves, which the matrix unit executes, issue as vector ones.
pub fn issue_cycles(op: Op, unit: Unit) -> u32 {
    match op {
        _ if unit == Unit::Transcendental => QUARTER_RATE,
        Op::v_mul_lo_u32
        | Op::v_mul_hi_u32
        | Op::v_mul_hi_i32
        | Op::v_mad_u64_u32
        | Op::v_mad_i64_i32 => QUARTER_RATE,
        _ => matrix_cycles(op).unwrap_or(FULL_RATE),
    }
}
