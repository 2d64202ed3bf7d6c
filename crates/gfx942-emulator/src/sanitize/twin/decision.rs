//! What an instruction decides by what it reads.

use crate::exec::Unit;
use crate::isa::{Format, Op};
use crate::sanitize::effects::{Effects, Role};

/// What a register decides about.
pub(super) enum Decision {
    /// It goes to device memory.
    Stored,
    /// Something else, in words.
    Other(&'static str),
}

/// What a register that is read as `role` decides about, if it does.
pub(super) fn decision(effects: &Effects, role: Role) -> Option<Decision> {
    let inst = &effects.inst;
    let is_memory = matches!(effects.unit, Unit::ScalarMemory | Unit::Lds | Unit::VectorMemory);
    match (role, inst.format) {
        (Role::Address, _) => Some(Decision::Other("the address depends on")),
        (Role::Select, _) if is_memory => Some(Decision::Other("the address depends on")),
        (Role::Data, Format::Scratch | Format::Ds) => None,
        (Role::Data, _) => Some(Decision::Stored),
        (Role::Source(_), _) => match inst.op {
            Op::s_setpc_b64 | Op::s_swappc_b64 => Some(Decision::Other("the jump depends on")),
            Op::s_set_gpr_idx_on | Op::s_set_gpr_idx_idx => {
                Some(Decision::Other("which register is meant depends on"))
            }
            Op::s_setreg_b32 => Some(Decision::Other("the mode depends on")),
            _ => None,
        },
        _ => None,
    }
}

/// The bits of the `i`th register that a store stores.
pub(super) fn stored_bits(op: Op, i: usize) -> u32 {
    let name = op.name();
    let is_hi = name.contains("d16_hi");
    let ends_in = |end| name.ends_with(end);
    if name.contains("store_byte") {
        if is_hi { 0xff_0000 } else { 0xff }
    } else if name.contains("store_short") || ends_in("d16_hi_x") || ends_in("d16_x") {
        if is_hi { 0xffff_0000 } else { 0xffff }
    } else if ends_in("d16_xyz") && i == 1 {
        0xffff
    } else {
        u32::MAX
    }
}
