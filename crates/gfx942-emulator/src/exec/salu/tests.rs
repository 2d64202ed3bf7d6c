//! Operations against values worked out by hand from the manual.

use super::*;
use crate::exec::Mode;
use crate::exec::testing::inst;
use crate::isa::Format;

/// EXEC before each operation.
const EXEC: u64 = 0xff00;

fn wave() -> Wave {
    Wave::new(0, Mode(0x3f0), EXEC, 0xdead)
}

/// `op s[8:9], s[2:3], s[4:5]`.
fn run(wave: &mut Wave, op: Op, a: u64, b: u64) -> Result<(), Trap> {
    wave.set_scalar64(2, a);
    wave.set_scalar64(4, b);
    let mut inst = inst(op, Format::Sop2);
    inst.dst = Operand::sgpr(8);
    inst.src[..2].copy_from_slice(&[Operand::sgpr(2), Operand::sgpr(4)]);
    execute(wave, &inst)
}

/// The result and SCC, which was `scc` before; of 32-bit results the high half stays 0.
fn apply(op: Op, a: u64, b: u64, scc: bool) -> (u64, bool) {
    let mut wave = wave();
    wave.set_scalar64(8, 0);
    wave.scc = scc;
    run(&mut wave, op, a, b).unwrap();
    (wave.scalar64(8), wave.scc)
}

#[test]
fn results_and_conditions() {
    use Op::*;
    const MINUS_1: u64 = 0xffff_ffff;
    let cases: &[(Op, u64, u64, u64, bool)] = &[
        (s_and_b32, 0xf0, 0x0f, 0, false),
        (s_and_b64, 1 << 40, 3 << 40, 1 << 40, true),
        (s_andn2_b32, 0xff, 0x0f, 0xf0, true),
        (s_orn2_b64, 0, 1, !1, true),
        (s_nand_b32, 5, 5, 0xffff_fffa, true),
        (s_xnor_b64, 7, 7, u64::MAX, true),
        (s_not_b32, MINUS_1, 0, 0, false),
        (s_lshl_b32, 3, 33, 6, true),
        (s_lshl_b64, 3, 65, 6, true),
        (s_ashr_i32, 0x8000_0000, 31, MINUS_1, true),
        (s_ashr_i64, 1 << 63, 63, u64::MAX, true),
        (s_add_u32, MINUS_1, 1, 0, true),
        (s_sub_u32, 1, 2, MINUS_1, true),
        (s_add_i32, 0x7fff_ffff, 1, 0x8000_0000, true),
        (s_add_i32, MINUS_1, 1, 0, false),
        (s_sub_i32, 0x8000_0000, 1, 0x7fff_ffff, true),
        (s_min_i32, MINUS_1, 1, MINUS_1, true),
        (s_min_u32, MINUS_1, 1, 1, false),
        (s_max_i32, 5, 5, 5, true),
        (s_max_u32, 1, MINUS_1, MINUS_1, false),
        (s_absdiff_i32, 3, 10, 7, true),
        (s_abs_i32, MINUS_1, 0, 1, true),
        (s_abs_i32, 0x8000_0000, 0, 0x8000_0000, true),
        (s_lshl2_add_u32, 0x4000_0000, 1, 1, true),
        (s_bcnt0_i32_b32, MINUS_1, 0, 0, false),
        (s_bcnt1_i32_b64, u64::MAX, 0, 64, true),
        (s_bfe_u32, 0xabcd_1234, 8 | 8 << 16, 0x12, true),
        (s_bfe_u32, 0xabcd_1234, 8 | 64 << 16, 0x00ab_cd12, true),
        (s_bfe_i32, 0x0000_8000, 12 | 4 << 16, 0xffff_fff8, true),
        (s_bfe_u64, 0xab << 40, 40 | 4 << 16, 0xb, true),
        (s_bfe_i64, 0x8 << 40, 40 | 4 << 16, (-8i64) as u64, true),
        (s_bfe_i64, 0x8 << 40, 40, 0, false),
        (s_wqm_b32, 0x0000_0100, 0, 0xf00, true),
        (s_wqm_b64, 1 << 63, 0, 0xf << 60, true),
        (s_quadmask_b64, 1 << 63 | 2, 0, 0x8001, true),
    ];
    for &(op, a, b, result, scc) in cases {
        assert_eq!(apply(op, a, b, !scc), (result, scc), "{} {a:#x} {b:#x}", op.name());
    }
}

#[test]
fn results_that_leave_the_condition() {
    use Op::*;
    let cases: &[(Op, u64, u64, u64)] = &[
        (s_mov_b32, 7, 0, 7),
        (s_mov_b64, 7 << 32, 0, 7 << 32),
        (s_mul_i32, 0xffff_ffff, 3, 0xffff_fffd),
        (s_mul_hi_u32, 0xffff_ffff, 3, 2),
        (s_mul_hi_i32, 0xffff_ffff, 3, 0xffff_ffff),
        (s_sext_i32_i8, 0x80, 0, 0xffff_ff80),
        (s_sext_i32_i16, 0x7fff, 0, 0x7fff),
        (s_brev_b64, 1, 0, 1 << 63),
        (s_ff0_i32_b32, 0b0111, 0, 3),
        (s_ff0_i32_b64, u64::MAX, 0, 0xffff_ffff),
        (s_ff1_i32_b64, 1 << 40, 0, 40),
        (s_ff1_i32_b32, 0, 0, 0xffff_ffff),
        (s_flbit_i32_b32, 1, 0, 31),
        (s_flbit_i32_b64, 0, 0, 0xffff_ffff),
        (s_flbit_i32, 0xffff_0000, 0, 16),
        (s_flbit_i32_i64, u64::MAX, 0, 0xffff_ffff),
        (s_bfm_b32, 4, 8, 0xf00),
        (s_bfm_b64, 4, 40, 0xf << 40),
        (s_pack_ll_b32_b16, 0x1111_2222, 0x3333_4444, 0x4444_2222),
        (s_pack_lh_b32_b16, 0x1111_2222, 0x3333_4444, 0x3333_2222),
        (s_pack_hh_b32_b16, 0x1111_2222, 0x3333_4444, 0x3333_1111),
        (s_bitreplicate_b64_b32, 0x8000_0005, 0, 0xc000_0000_0000_0033),
        (s_bitset1_b32, 4, 0, 0x10),
        (s_bitset1_b64, 40, 0, 1 << 40),
    ];
    for &(op, a, b, result) in cases {
        for scc in [false, true] {
            assert_eq!(apply(op, a, b, scc), (result, scc), "{} {a:#x} {b:#x}", op.name());
        }
    }
}

#[test]
fn operations_on_the_condition() {
    use Op::*;
    assert_eq!(apply(s_addc_u32, 0xffff_ffff, 0, true), (0, true));
    assert_eq!(apply(s_addc_u32, 0xffff_fffe, 0, true), (0xffff_ffff, false));
    assert_eq!(apply(s_subb_u32, 0, 0xffff_ffff, true), (0, true));
    assert_eq!(apply(s_subb_u32, 1, 0, true), (0, false));
    assert_eq!(apply(s_cselect_b32, 1, 2, true).0, 1);
    assert_eq!(apply(s_cselect_b64, 1, 2, false).0, 2);
    assert_eq!(apply(s_cmov_b32, 1, 2, true).0, 1);
    assert_eq!(apply(s_cmov_b64, 1, 2, false).0, 0);
}

#[test]
fn comparisons() {
    use Op::*;
    let minus_1 = 0xffff_ffff;
    let cases: &[(Op, u64, u64, bool)] = &[
        (s_cmp_eq_i32, 1 << 32 | 5, 5, true),
        (s_cmp_eq_u64, 1 << 32 | 5, 5, false),
        (s_cmp_lg_u64, 1 << 32 | 5, 5, true),
        (s_cmp_gt_i32, minus_1, 1, false),
        (s_cmp_gt_u32, minus_1, 1, true),
        (s_cmp_le_i32, minus_1, 1, true),
        (s_cmp_ge_u32, 1, 1, true),
        (s_cmp_lt_u32, 1, 1, false),
        (s_bitcmp0_b32, 4, 2 + 32, false),
        (s_bitcmp1_b64, 1 << 40, 40, true),
    ];
    for &(op, a, b, scc) in cases {
        assert_eq!(apply(op, a, b, !scc), (0, scc), "{}", op.name());
    }
}

#[test]
fn constants() {
    use Op::*;
    let run = |op, before: u32, simm16: i32| {
        let mut wave = wave();
        wave.set_scalar(8, before);
        let mut inst = inst(op, Format::Sopk);
        (inst.dst, inst.offset) = (Operand::sgpr(8), simm16);
        execute(&mut wave, &inst).unwrap();
        (wave.scalar(8), wave.scc)
    };
    assert_eq!(run(s_movk_i32, 0, -2), (0xffff_fffe, false));
    assert_eq!(run(s_cmovk_i32, 7, -2), (7, false));
    assert_eq!(run(s_cmpk_eq_i32, 0xffff_ffff, -1), (0xffff_ffff, true));
    assert_eq!(run(s_cmpk_eq_u32, 0xffff, -1), (0xffff, true));
    assert_eq!(run(s_cmpk_lt_i32, 0xffff_fff0, -1), (0xffff_fff0, true));
    assert_eq!(run(s_cmpk_gt_u32, 0x1_0000, -1), (0x1_0000, true));
    assert_eq!(run(s_addk_i32, 0x7fff_ffff, 1), (0x8000_0000, true));
    assert_eq!(run(s_mulk_i32, 5, -3), (0xffff_fff1, false));
}

#[test]
fn exec_masks() {
    use Op::*;
    let cases: &[(Op, u64, u64)] = &[
        (s_and_saveexec_b64, 0x0ff0, 0x0f00),
        (s_or_saveexec_b64, 0x0ff0, 0xfff0),
        (s_xor_saveexec_b64, 0x0ff0, 0xf0f0),
        (s_andn2_saveexec_b64, 0x0ff0, 0x00f0),
        (s_orn2_saveexec_b64, 0x0ff0, !0xf000),
        (s_andn1_saveexec_b64, 0x0ff0, 0xf000),
        (s_orn1_saveexec_b64, 0x0ff0, !0x00f0),
        (s_nand_saveexec_b64, 0x0ff0, !0x0f00),
        (s_nor_saveexec_b64, 0x0ff0, !0xfff0),
        (s_xnor_saveexec_b64, 0x0ff0, !0xf0f0),
    ];
    for &(op, a, exec) in cases {
        let mut wave = wave();
        run(&mut wave, op, a, 0).unwrap();
        assert_eq!((wave.scalar64(8), wave.exec, wave.scc), (EXEC, exec, true), "{}", op.name());
    }
    let mut wave = wave();
    run(&mut wave, s_andn1_wrexec_b64, EXEC, 0).unwrap();
    assert_eq!((wave.scalar64(8), wave.exec, wave.scc), (0, 0, false));
}

#[test]
fn indexed_registers() {
    let mut wave = wave();
    wave.set_scalar(Operand::M0.0, 3);
    wave.set_scalar(5, 55);
    run(&mut wave, Op::s_movrels_b32, 0, 0).unwrap();
    // s2 + 3; the operands of `run` overwrite s[4:5].
    assert_eq!(wave.scalar(8), 0);
    run(&mut wave, Op::s_movreld_b32, 7, 0).unwrap();
    assert_eq!(wave.scalar(11), 7);
    wave.set_scalar(Operand::M0.0, 100);
    assert!(matches!(run(&mut wave, Op::s_movreld_b32, 7, 0), Err(Trap::Undefined(_))));
    wave.set_scalar(Operand::M0.0, u32::MAX);
    assert!(matches!(run(&mut wave, Op::s_movrels_b32, 7, 0), Err(Trap::Undefined(_))));
}

#[test]
fn hardware_registers() {
    let mut wave = wave();
    // FP_DENORM: four bits from bit 4 of MODE on.
    let field = 1 | 4 << 6 | 3 << 11;
    let mut set = inst(Op::s_setreg_imm32_b32, Format::Sopk);
    (set.offset, set.literal) = (field, 0xff5);
    execute(&mut wave, &set).unwrap();
    assert_eq!(wave.mode, Mode(0x350));
    let mut get = inst(Op::s_getreg_b32, Format::Sopk);
    (get.dst, get.offset) = (Operand::sgpr(8), field);
    execute(&mut wave, &get).unwrap();
    assert_eq!(wave.scalar(8), 5);
    set.offset = 2;
    assert!(matches!(execute(&mut wave, &set), Err(Trap::Unimplemented(_))));
    get.offset = 63;
    assert!(matches!(execute(&mut wave, &get), Err(Trap::Unimplemented(_))));
}

#[test]
fn odd_pairs_and_foreign_destinations_are_refused() {
    let mut wave = wave();
    let mut inst = inst(Op::s_mov_b64, Format::Sop1);
    inst.src[0] = Operand::sgpr(3);
    inst.dst = Operand::sgpr(8);
    assert!(matches!(execute(&mut wave, &inst), Err(Trap::Undefined(_))));
    inst.src[0] = Operand::sgpr(2);
    inst.dst = Operand::sgpr(127);
    assert!(matches!(execute(&mut wave, &inst), Err(Trap::Undefined(_))));
    inst.dst = Operand::vgpr(0);
    assert!(matches!(execute(&mut wave, &inst), Err(Trap::Undefined(_))));
    // Trap temporaries read 0 and stay so.
    inst.dst = Operand::TTMP0;
    execute(&mut wave, &inst).unwrap();
    inst.src[0] = Operand::TTMP0;
    inst.dst = Operand::sgpr(8);
    execute(&mut wave, &inst).unwrap();
    assert_eq!(wave.scalar64(8), 0);
}

/// No operation of the scalar formats is forgotten: it executes here or in `control`, or is refused by name.
#[test]
fn every_scalar_operation_is_known() {
    let refused: Vec<_> = Op::ALL
        .iter()
        .filter(|op| op.name().starts_with("s_"))
        .filter(|op| {
            !op.name().contains("load")
                && !op.name().contains("store")
                && !op.name().contains("atomic")
        })
        .filter(|&&op| {
            let mut inst = inst(op, Format::Sop2);
            inst.dst = Operand::sgpr(8);
            inst.src[..2].copy_from_slice(&[Operand::sgpr(2), Operand::sgpr(4)]);
            inst.offset = 1;
            let [mut first, mut second] = [wave(), wave()];
            for wave in [&mut first, &mut second] {
                (2..6).for_each(|code| wave.set_scalar(code, 0));
                wave.set_scalar(Operand::M0.0, 0);
            }
            let is_refused = |trap: Trap| matches!(trap, Trap::Unimplemented(_));
            execute(&mut first, &inst).is_err_and(is_refused)
                && crate::exec::control::execute(&mut second, &inst).is_err_and(is_refused)
        })
        .map(|op| op.name())
        .collect();
    // The stack of forks, trap handlers, messages to the host, memory (`s_mem*`, `s_dcache*`).
    let expected = [
        "s_atc_probe",
        "s_atc_probe_buffer",
        "s_cbranch_g_fork",
        "s_cbranch_i_fork",
        "s_cbranch_join",
        "s_dcache_discard",
        "s_dcache_discard_x2",
        "s_dcache_inv",
        "s_dcache_inv_vol",
        "s_dcache_wb",
        "s_dcache_wb_vol",
        "s_endpgm_ordered_ps_done",
        "s_endpgm_saved",
        "s_memrealtime",
        "s_memtime",
        "s_rfe_b64",
        "s_sendmsg",
        "s_sendmsghalt",
        "s_sethalt",
        "s_setkill",
    ];
    assert_eq!(refused, expected);
}
