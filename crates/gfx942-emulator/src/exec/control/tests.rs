//! Where instructions lead.

use super::*;
use crate::exec::Mode;
use crate::exec::testing::inst;
use crate::isa::Format;

fn run(wave: &mut Wave, op: Op, offset: i32) -> Result<Flow, Trap> {
    let mut inst = inst(op, Format::Sopp);
    inst.offset = offset;
    inst.dst = Operand::sgpr(30);
    inst.src[0] = Operand::sgpr(32);
    execute(wave, &inst)
}

#[test]
fn branches() {
    use Op::*;
    let mut wave = Wave::new(0x1000, Mode(0), 0, 0);
    let taken = |wave: &mut Wave, op| match run(wave, op, -3) {
        Ok(Flow::Jump(target)) => {
            assert_eq!(target, 0x1000 + 4 - 12);
            true
        }
        other => {
            assert_eq!(other, Ok(Flow::Next));
            false
        }
    };
    assert!(taken(&mut wave, s_branch));
    assert!(taken(&mut wave, s_cbranch_scc0) && !taken(&mut wave, s_cbranch_scc1));
    assert!(taken(&mut wave, s_cbranch_execz) && !taken(&mut wave, s_cbranch_execnz));
    assert!(taken(&mut wave, s_cbranch_vccz) && !taken(&mut wave, s_cbranch_vccnz));
    (wave.scc, wave.exec) = (true, 1 << 63);
    wave.set_scalar64(Operand::VCC.0, 1 << 63);
    assert!(!taken(&mut wave, s_cbranch_scc0) && taken(&mut wave, s_cbranch_scc1));
    assert!(!taken(&mut wave, s_cbranch_execz) && taken(&mut wave, s_cbranch_execnz));
    assert!(!taken(&mut wave, s_cbranch_vccz) && taken(&mut wave, s_cbranch_vccnz));
}

#[test]
fn calls_and_returns() {
    let mut wave = Wave::new(0x1000, Mode(0), 0, 0);
    assert_eq!(run(&mut wave, Op::s_call_b64, 4), Ok(Flow::Jump(0x1014)));
    assert_eq!(wave.scalar64(30), 0x1004);
    wave.set_scalar64(32, 0x7000_0000_2000);
    assert_eq!(run(&mut wave, Op::s_setpc_b64, 0), Ok(Flow::Jump(0x7000_0000_2000)));
    wave.set_scalar64(30, 0);
    assert_eq!(run(&mut wave, Op::s_swappc_b64, 0), Ok(Flow::Jump(0x7000_0000_2000)));
    assert_eq!(wave.scalar64(30), 0x1004);
    wave.set_scalar64(30, 0);
    assert_eq!(run(&mut wave, Op::s_getpc_b64, 0), Ok(Flow::Next));
    assert_eq!(wave.scalar64(30), 0x1004);
}

#[test]
fn ends_waits_and_traps() {
    let mut wave = Wave::new(0x1000, Mode(0), 0, 0);
    assert_eq!(run(&mut wave, Op::s_endpgm, 0), Ok(Flow::End));
    assert_eq!(run(&mut wave, Op::s_barrier, 0), Ok(Flow::Barrier));
    assert_eq!(run(&mut wave, Op::s_waitcnt, 0), Ok(Flow::Next));
    let message = run(&mut wave, Op::s_trap, 2).unwrap_err().to_string();
    assert!(message.contains("__builtin_trap"), "{message}");
    assert!(matches!(run(&mut wave, Op::s_sendmsg, 1), Err(Trap::Unimplemented(_))));
    assert!(matches!(run(&mut wave, Op::s_sethalt, 1), Err(Trap::Unimplemented(_))));
}
