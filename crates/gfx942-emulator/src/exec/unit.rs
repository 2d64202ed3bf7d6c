//! What part of a compute unit executes an instruction.

use crate::isa::{Format, Inst, Op};

/// What part of a compute unit executes an instruction: the module that emulates it, and the class it is counted in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Unit {
    /// Scalar arithmetic.
    Scalar,
    /// Branches, barriers, waits, messages, the end.
    Control,
    /// Vector arithmetic.
    Vector,
    /// Vector arithmetic at a quarter of the rate: `exp`, `log`, `rcp`, `rsq`, `sqrt`, `sin`, `cos`.
    Transcendental,
    /// Packed, dot-product and mixed-precision arithmetic.
    Packed,
    /// Matrix instructions and AccVGPR moves.
    Matrix,
    /// Scalar memory.
    ScalarMemory,
    /// LDS.
    Lds,
    /// Flat, global, scratch and buffer memory.
    VectorMemory,
}

impl Unit {
    /// What executes `inst`.
    pub const fn of(inst: &Inst) -> Self {
        match inst.format {
            Format::Sop2 | Format::Sop1 | Format::Sopk | Format::Sopc => match inst.op {
                Op::s_getpc_b64
                | Op::s_setpc_b64
                | Op::s_swappc_b64
                | Op::s_call_b64
                | Op::s_rfe_b64
                | Op::s_rfe_restore_b64
                | Op::s_cbranch_g_fork
                | Op::s_cbranch_i_fork
                | Op::s_cbranch_join => Self::Control,
                _ => Self::Scalar,
            },
            Format::Sopp => Self::Control,
            Format::Smem => Self::ScalarMemory,
            Format::Ds => Self::Lds,
            Format::Flat | Format::Global | Format::Scratch | Format::Mubuf | Format::Mtbuf => {
                Self::VectorMemory
            }
            Format::Vop3p => Self::Packed,
            Format::Mai => Self::Matrix,
            Format::Vop1 | Format::Vop2 | Format::Vop3 | Format::Vopc => Self::of_vector(inst.op),
        }
    }

    const fn of_vector(op: Op) -> Self {
        match op {
            Op::v_accvgpr_mov_b32 | Op::v_accvgpr_read_b32 | Op::v_accvgpr_write_b32 => {
                Self::Matrix
            }
            Op::v_dot2c_f32_f16
            | Op::v_dot2c_i32_i16
            | Op::v_dot4c_i32_i8
            | Op::v_dot8c_i32_i4
            | Op::v_pk_fmac_f16 => Self::Packed,
            Op::v_exp_f32
            | Op::v_exp_legacy_f32
            | Op::v_exp_f16
            | Op::v_log_f32
            | Op::v_log_legacy_f32
            | Op::v_log_f16
            | Op::v_rcp_f32
            | Op::v_rcp_iflag_f32
            | Op::v_rcp_f16
            | Op::v_rcp_f64
            | Op::v_rsq_f32
            | Op::v_rsq_f16
            | Op::v_rsq_f64
            | Op::v_sqrt_f32
            | Op::v_sqrt_f16
            | Op::v_sqrt_f64
            | Op::v_sin_f32
            | Op::v_sin_f16
            | Op::v_cos_f32
            | Op::v_cos_f16 => Self::Transcendental,
            _ => Self::Vector,
        }
    }
}
