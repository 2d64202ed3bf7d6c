//! Operations that look at other lanes, or do nothing.

use super::call::Call;
use crate::exec::Trap;
use crate::exec::sources::{scalar32, set_scalar32};
use crate::isa::Op;

/// Executes them.
pub(super) fn execute(call: &mut Call<'_>) -> Result<(), Trap> {
    use Op::*;
    match call.op() {
        v_nop | v_clrexcp => Ok(()),
        v_readlane_b32 => {
            let lane = scalar32(call.wave, call.inst, call.inst.src[1])? & 63;
            read(call, lane)
        }
        v_readfirstlane_b32 => read(call, call.wave.exec.trailing_zeros() & 63),
        v_writelane_b32 => {
            let value = scalar32(call.wave, call.inst, call.inst.src[0])?;
            let lane = scalar32(call.wave, call.inst, call.inst.src[1])? & 63;
            let register = vector(call, call.inst.dst)?;
            call.wave.vector_mut(register)[lane as usize] = value;
            Ok(())
        }
        v_swap_b32 => {
            let (a, b) = (vector(call, call.inst.dst)?, vector(call, call.inst.src[0])?);
            let (first, second) = (*call.wave.vector(a), *call.wave.vector(b));
            call.wave.set_vector(a, call.mask, &second);
            call.wave.set_vector(b, call.mask, &first);
            Ok(())
        }
        v_mbcnt_lo_u32_b32 => {
            call.lanes2(|lane, a: u32, b: u32| count_below(a, lane as u32).wrapping_add(b))
        }
        v_mbcnt_hi_u32_b32 => call.lanes2(|lane, a: u32, b: u32| {
            count_below(a, (lane as u32).saturating_sub(32)).wrapping_add(b)
        }),
        _ => call.unimplemented(),
    }
}

fn vector(call: &Call<'_>, operand: crate::isa::Operand) -> Result<usize, Trap> {
    let name = call.op().name();
    operand.vector_index().ok_or_else(|| Trap::Undefined(format!("{name} needs a vector register")))
}

/// One lane of the first source to the scalar destination, whatever EXEC is.
fn read(call: &mut Call<'_>, lane: u32) -> Result<(), Trap> {
    let value = match call.inst.src[0].vector_index() {
        Some(register) => call.wave.vector(register)[lane as usize],
        None => scalar32(call.wave, call.inst, call.inst.src[0])?,
    };
    set_scalar32(call.wave, call.inst.dst, value)
}

/// The ones among the lowest `num_bits` bits.
fn count_below(value: u32, num_bits: u32) -> u32 {
    let mask = if num_bits >= 32 { u32::MAX } else { (1 << num_bits) - 1 };
    (value & mask).count_ones()
}
