//! One instruction of one wave.

use super::program::Slot;
use super::{Context, Observer, Trap, Unit, Wave, control, memory, mfma, packed, salu, valu};

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
pub fn step<O: Observer>(
    wave: &mut Wave,
    slot: &Slot,
    context: &mut Context<'_, O>,
) -> Result<Flow, Trap> {
    let inst = &slot.inst;
    let mut flow = Flow::Next;
    match slot.unit {
        Unit::Scalar => salu::execute(wave, inst)?,
        Unit::Control => flow = control::execute(wave, inst)?,
        Unit::Vector | Unit::Transcendental => valu::execute(wave, inst, context.options)?,
        Unit::Packed => packed::execute(wave, inst, context)?,
        Unit::Matrix => mfma::execute(wave, inst, context)?,
        Unit::ScalarMemory | Unit::Lds | Unit::VectorMemory => {
            memory::execute(wave, inst, context)?
        }
    }
    wave.pc = match flow {
        Flow::Jump(pc) => pc,
        Flow::End => wave.pc,
        Flow::Next | Flow::Barrier => wave.pc + u64::from(inst.size),
    };
    Ok(flow)
}
