//! One instruction of one wave.

use super::program::Slot;
use super::{
    Context, Observer, Registers, Trap, Unit, Wave, control, index, memory, mfma, packed, salu,
    valu,
};
use crate::isa::Inst;

/// Where a wave goes after an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// On to the next instruction.
    Next,
    /// To another address.
    Jump(u64),
    /// It waits for the other waves of the work-group, then goes on to the next instruction.
    Barrier,
    /// It has ended.
    End,
}

/// Executes `slot`, which is at `wave.pc`, and moves the pc on. After a trap the pc is still that of the instruction.
///
/// # Errors
/// What the instruction is not allowed to do, or the emulator cannot.
#[inline]
pub fn step<O: Observer>(
    wave: &mut Wave,
    slot: &Slot,
    context: &mut Context<'_, O>,
) -> Result<Flow, Trap> {
    if !wave.registers.suffice(slot.needs) {
        return Err(wave.registers.trap(&slot.inst));
    }
    let flow = match slot.unit {
        Unit::Scalar => salu::execute(wave, &slot.inst).map(|()| Flow::Next)?,
        Unit::Control => control::execute(wave, &slot.inst)?,
        Unit::ScalarMemory => memory::execute(wave, &slot.inst, context).map(|()| Flow::Next)?,
        _ if wave.mode.vskip() => Flow::Next,
        _ if wave.mode.gpr_index() => vector_indexed(wave, slot, context).map(|()| Flow::Next)?,
        _ => vector(wave, slot.unit, &slot.inst, context).map(|()| Flow::Next)?,
    };
    wave.pc = match flow {
        Flow::Jump(pc) => pc,
        Flow::End => wave.pc,
        Flow::Next | Flow::Barrier => wave.pc.wrapping_add(u64::from(slot.inst.size)),
    };
    Ok(flow)
}

#[inline(always)]
fn vector<O: Observer>(
    wave: &mut Wave,
    unit: Unit,
    inst: &Inst,
    context: &mut Context<'_, O>,
) -> Result<(), Trap> {
    match unit {
        Unit::Vector | Unit::Transcendental => {
            valu::execute(wave, inst, context.options, context.simd)
        }
        Unit::Packed => packed::execute(wave, inst, context),
        Unit::Matrix => mfma::execute(wave, inst, context),
        _ => memory::execute(wave, inst, context),
    }
}

/// The same while M0 moves registers: for vector arithmetic only.
#[cold]
fn vector_indexed<O: Observer>(
    wave: &mut Wave,
    slot: &Slot,
    context: &mut Context<'_, O>,
) -> Result<(), Trap> {
    match slot.unit {
        Unit::Vector | Unit::Transcendental | Unit::Packed => {
            let inst = index::indexed(wave, &slot.inst)?;
            if !wave.registers.suffice(Registers::of(&inst)) {
                return Err(wave.registers.trap(&inst));
            }
            vector(wave, slot.unit, &inst, context)
        }
        Unit::Matrix => {
            Err(Trap::Unimplemented(format!("{} with VGPR indexing on", slot.inst.op.name())))
        }
        unit => vector(wave, unit, &slot.inst, context),
    }
}
