//! Branches, calls, barriers, waits, the end (manual, chapter 4 and 12.5).

use super::sources::{scalar64, set_scalar64};
use super::{Flow, Trap, Wave};
use crate::isa::{Inst, Op, Operand};

/// Executes `inst`.
pub(super) fn execute(wave: &mut Wave, inst: &Inst) -> Result<Flow, Trap> {
    use Op::*;
    let next = wave.pc.wrapping_add(u64::from(inst.size));
    let target = next.wrapping_add_signed(i64::from(inst.offset as i16) * 4);
    let branch = |taken| Ok(if taken { Flow::Jump(target) } else { Flow::Next });
    match inst.op {
        s_branch => branch(true),
        s_cbranch_scc0 => branch(!wave.scc),
        s_cbranch_scc1 => branch(wave.scc),
        s_cbranch_vccz => branch(wave.vcc() == 0),
        s_cbranch_vccnz => branch(wave.vcc() != 0),
        s_cbranch_execz => branch(wave.exec == 0),
        s_cbranch_execnz => branch(wave.exec != 0),
        // No debugger is attached.
        s_cbranch_cdbgsys
        | s_cbranch_cdbguser
        | s_cbranch_cdbgsys_or_user
        | s_cbranch_cdbgsys_and_user => branch(false),
        s_getpc_b64 => set_scalar64(wave, inst.dst, next).map(|()| Flow::Next),
        s_setpc_b64 => Ok(Flow::Jump(address(wave, inst)?)),
        s_swappc_b64 => {
            let target = address(wave, inst)?;
            set_scalar64(wave, inst.dst, next)?;
            Ok(Flow::Jump(target))
        }
        s_call_b64 => {
            set_scalar64(wave, inst.dst, next)?;
            Ok(Flow::Jump(target))
        }
        s_barrier => Ok(Flow::Barrier),
        s_endpgm => Ok(Flow::End),
        s_set_gpr_idx_off => {
            wave.mode = wave.mode.with_gpr_index(false);
            Ok(Flow::Next)
        }
        s_set_gpr_idx_mode => {
            let m0 = wave.scalar(Operand::M0.0);
            wave.set_scalar(Operand::M0.0, m0 & !0xf000 | (inst.offset as u32 & 15) << 12);
            Ok(Flow::Next)
        }
        // They order or pace what this emulator does at once.
        s_nop | s_waitcnt | s_sleep | s_wakeup | s_setprio | s_icache_inv | s_incperflevel
        | s_decperflevel | s_ttracedata => Ok(Flow::Next),
        s_trap => Err(Trap::Undefined(trap_message(inst.offset as u32 & 0xff))),
        _ => Err(Trap::Unimplemented(inst.op.name().into())),
    }
}

fn address(wave: &Wave, inst: &Inst) -> Result<u64, Trap> {
    Ok(scalar64(wave, inst, inst.src[0])? & !3)
}

fn trap_message(id: u32) -> String {
    match id {
        2 => "s_trap 2: the kernel called __builtin_trap, abort or a failed assert".into(),
        _ => format!("s_trap {id}: the kernel entered the trap handler, and there is none"),
    }
}

#[cfg(test)]
mod tests;
