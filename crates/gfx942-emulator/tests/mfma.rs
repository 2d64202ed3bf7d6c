//! The matrix instructions: against numpy (`oracles/mfma_layout.py`), and their rules one by one.

mod mfma_support;

use std::collections::{HashMap, HashSet};

use gfx942_emulator::WAVE_SIZE;
use gfx942_emulator::exec::mfma::{Accuracy, run};
use gfx942_emulator::exec::{Mode, Trap, Wave};
use gfx942_emulator::isa::{Modifiers, Op, Operand};
use mfma_support::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    values: HashMap<String, Vec<u64>>,
    pairs: Vec<u64>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    op: String,
    cbsz: u8,
    abid: u8,
    blgp: u8,
    seed: u64,
    d: Vec<u32>,
}

fn draw(random: &mut Random, num_items: usize, table: &[u64]) -> Vec<[u64; WAVE_SIZE]> {
    let mut value = || table[random.next() as usize % table.len()];
    (0..num_items).map(|_| std::array::from_fn(|_| value())).collect()
}

impl Case {
    fn wave(&self, fixture: &Fixture) -> Wave {
        let shape = Shape::of(&self.op);
        let mut random = Random(self.seed);
        let mut wave = Wave::new(0, MODE, 0, 0xdead_beef);
        let stored = if shape.sparse { shape.items() / 2 } else { shape.items() };
        let mut fill = |operand: Operand, num, table: &[u64], bits| {
            pack(&mut wave, operand.vector_index().unwrap(), &draw(&mut random, num, table), bits);
        };
        fill(A, stored, &fixture.values[&shape.a], num_bits(&shape.a));
        fill(B, shape.items(), &fixture.values[&shape.b], num_bits(&shape.b));
        let c = if shape.sparse { D } else { C };
        fill(c, shape.num_outputs(), &fixture.values[&shape.d], num_bits(&shape.d));
        if shape.sparse {
            fill(C, 8, &fixture.pairs, 4);
        }
        wave
    }
}

#[test]
fn every_instruction_and_modifier_is_as_in_numpy() {
    let fixture: Fixture = serde_json::from_str(include_str!("oracles/mfma_layout.json")).unwrap();
    let mut seen = HashSet::new();
    for case in &fixture.cases {
        let exact = !case.op.contains("smfmac_f32");
        for accuracy in [Accuracy::Fast, Accuracy::Exact].into_iter().take(1 + usize::from(exact)) {
            let mut wave = case.wave(&fixture);
            let (cbsz, abid, blgp) = (case.cbsz, case.abid, case.blgp);
            let modifiers = Modifiers { cbsz, abid, blgp, ..Modifiers::default() };
            execute(&mut wave, &case.op, modifiers, accuracy).unwrap();
            let ours = checksums(&wave, case.d.len());
            assert_eq!(
                ours, case.d,
                "{} {accuracy:?} cbsz:{cbsz} abid:{abid} blgp:{blgp}",
                case.op
            );
        }
        seen.insert(case.op.as_str());
    }
    let all = Op::ALL.iter().map(|op| op.name());
    for name in all.filter(|name| name.contains("mfma") || name.contains("smfmac")) {
        assert!(seen.contains(name), "the oracle has no {name}");
    }
}

#[test]
fn modifiers_that_an_instruction_does_not_have_are_errors() {
    let error = |name: &str, cbsz, abid, blgp| {
        let modifiers = Modifiers { cbsz, abid, blgp, ..Modifiers::default() };
        let mut wave = Wave::new(0, MODE, 0, 0);
        wave.vector_mut(C.vector_index().unwrap()).fill(0x4444_4444);
        execute(&mut wave, name, modifiers, Accuracy::Fast).unwrap_err().to_string()
    };
    for (name, cbsz, abid, blgp) in [
        ("v_mfma_f32_32x32x8_f16", 1, 0, 0),
        ("v_mfma_f32_32x32x8_f16", 0, 0, 1),
        ("v_mfma_f32_32x32x4_2b_f16", 2, 0, 0),
        ("v_mfma_f32_32x32x4_2b_f16", 1, 2, 0),
        ("v_mfma_f32_4x4x4_16b_f16", 0, 1, 0),
        ("v_smfmac_f32_32x32x16_f16", 0, 4, 0),
        ("v_smfmac_f32_32x32x16_f16", 4, 0, 0),
        ("v_smfmac_f32_32x32x16_f16", 0, 0, 1),
        ("v_smfmac_f32_32x32x32_fp8_fp8", 0, 2, 0),
    ] {
        let error = error(name, cbsz, abid, blgp);
        assert!(error.starts_with(&format!("{name} cannot have")), "{error}");
    }
    let partial = error("v_mfma_f32_4x4x4_16b_f16", 2, 0, 0);
    assert!(partial.contains("cbsz:2, a partial broadcast, is not implemented"), "{partial}");
}

#[test]
fn operands_that_are_no_matrix_are_errors() {
    let run = |dst, src| {
        let inst = inst("v_mfma_f32_32x32x8_f16", dst, src, Modifiers::default());
        run(&mut Wave::new(0, MODE, 0, 0), &inst, Accuracy::Fast)
    };
    let (v, s) = (Operand::vgpr, Operand::sgpr);
    run(v(240), [v(0), v(2), v(16)]).unwrap();
    for (dst, src) in [
        (v(241), [v(0), v(2), v(16)]),
        (v(0), [v(255), v(2), v(16)]),
        (Operand::acc(250), [v(0), v(2), v(16)]),
        (v(0), [s(0), v(2), v(16)]),
        (v(0), [v(0), v(2), s(16)]),
        (v(0), [v(0), v(2), Operand::LITERAL]),
        (s(0), [v(0), v(2), v(16)]),
    ] {
        assert!(matches!(run(dst, src), Err(Trap::Undefined(_))), "{dst:?} {src:?}");
    }
}

#[test]
fn an_index_that_does_not_name_two_of_four_is_an_error() {
    let mut wave = Wave::new(0, MODE, 0, 0);
    wave.vector_mut(C.vector_index().unwrap()).fill(0x4444_4444);
    wave.vector_mut(C.vector_index().unwrap())[7] = 0x4444_4454;
    let modifiers = Modifiers::default();
    let error =
        execute(&mut wave, "v_smfmac_f32_32x32x16_f16", modifiers, Accuracy::Fast).unwrap_err();
    assert!(error.to_string().contains("lane 7"), "{error}");
}

/// C may be a constant, D may be C, and D may overlap everything.
#[test]
fn c_can_be_a_constant_and_d_can_overlap_the_sources() {
    let name = "v_mfma_f32_16x16x16_f16";
    let v = Operand::vgpr;
    let result = |dst: Operand, c: Operand| {
        let mut wave = Wave::new(0, MODE, 0, 0);
        for register in 0..4 {
            // 1.0 or 2.0 in each half.
            for (lane, bits) in wave.vector_mut(register).iter_mut().enumerate() {
                *bits = [0x3c00_4000, 0x4000_3c00, 0x3c00_3c00][(lane + register) % 3];
            }
            wave.vector_mut(8 + register).fill((register as f32).to_bits());
        }
        let inst = inst(name, dst, [v(0), v(2), c], Modifiers::default());
        run(&mut wave, &inst, Accuracy::Fast).unwrap();
        let first = dst.vector_index().unwrap();
        wave.vectors(first..first + 4).to_vec()
    };
    let apart = result(v(32), v(8));
    assert_eq!(result(v(8), v(8)), apart, "D is C");
    assert_eq!(result(v(0), v(8)), apart, "D is A and B");
    assert_eq!(result(v(9), v(8)), apart, "D is one register on from C");
    assert_eq!(result(v(7), v(8)), apart, "D is one register before C");
    let add = |constant: f32| {
        let zero = result(v(32), Operand(128));
        zero.iter()
            .map(|register| register.map(|bits| (f32::from_bits(bits) + constant).to_bits()))
            .collect::<Vec<_>>()
    };
    assert_eq!(result(v(32), Operand(242)), add(1.0));
    assert_eq!(result(v(32), Operand(247)), add(-4.0));
    assert_eq!(result(v(32), Operand(129)), add(f32::from_bits(1)), "integers are bits");
}

/// Only the f32 instructions flush, and only A and B.
#[test]
fn f32_sources_are_flushed_where_mode_says_so() {
    let run = |name, mode: u32, a: f32, c: f32| {
        let mut wave = Wave::new(0, Mode(mode), 0, 0);
        for (operand, value) in [(A, a), (B, 1.0), (C, c)] {
            let first = operand.vector_index().unwrap();
            wave.vectors_mut(first..first + 16)
                .iter_mut()
                .for_each(|register| register.fill(value.to_bits()));
        }
        execute(&mut wave, name, Modifiers::default(), Accuracy::Fast).unwrap();
        f32::from_bits(wave.vector(D.vector_index().unwrap())[0])
    };
    let (f32, xf32) = ("v_mfma_f32_16x16x4_f32", "v_mfma_f32_16x16x8_xf32");
    let small = f32::from_bits(0x2000);
    assert_eq!(run(f32, 0, small, 0.0), 0.0);
    assert_eq!(run(f32, 0x10, small, 0.0), 4.0 * small);
    assert_eq!(run(f32, 0, 0.0, small), small);
    assert_eq!(run(xf32, 0, small, 0.0), 8.0 * small);
}

/// FP16_OVFL clamps what overflows, not what was infinite before.
#[test]
fn overflow_is_clamped_where_mode_says_so() {
    let run = |name, mode: u32, a: u32, b: u32, c: u32| {
        let mut wave = Wave::new(0, Mode(mode), 0, 0);
        for (operand, bits) in [(A, a), (B, b), (C, c)] {
            let first = operand.vector_index().unwrap();
            wave.vectors_mut(first..first + 16).iter_mut().for_each(|register| register.fill(bits));
        }
        execute(&mut wave, name, Modifiers::default(), Accuracy::Fast).unwrap();
        wave.vector(D.vector_index().unwrap())[0]
    };
    let (floats, integers) = ("v_mfma_f32_16x16x4_f32", "v_mfma_i32_16x16x32_i8");
    let (saturate, big, infinity) = (0xf0 | 1 << 23, f32::MAX.to_bits(), f32::INFINITY.to_bits());
    assert_eq!(run(floats, 0xf0, big, big, 0), infinity);
    assert_eq!(run(floats, saturate, big, big, 0), big);
    assert_eq!(run(floats, saturate, infinity, big, 0), infinity);
    assert_eq!(run(floats, saturate, big, big, infinity), infinity);
    assert_eq!(run(floats, 0xf0, infinity, 0, 0), 0x7fc0_0000);
    let (ones, minus) = (0x7f7f_7f7f, 0x8080_8080);
    assert_eq!(
        run(integers, 0xf0, ones, ones, 0x7fff_ffff) as i32,
        i32::MAX.wrapping_add(32 * 127 * 127)
    );
    assert_eq!(run(integers, saturate, ones, ones, 0x7fff_ffff) as i32, i32::MAX);
    assert_eq!(run(integers, saturate, ones, minus, 0x8000_0000) as i32, i32::MIN);
    assert_eq!(run(integers, 0xf0, minus, minus, 0) as i32, 32 * 128 * 128);
}

/// Unlike matrix instructions, moves obey EXEC.
#[test]
fn accvgpr_moves_copy_active_lanes() {
    let mut wave = Wave::new(0, MODE, 0b10, 7);
    wave.vector_mut(5).fill(9);
    wave.set_scalar(3, 11);
    let mut moved = |name: &str, dst: Operand, src| {
        let inst = inst(name, dst, [src, Operand::NONE, Operand::NONE], Modifiers::default());
        run(&mut wave, &inst, Accuracy::Fast).unwrap();
        wave.vector(dst.vector_index().unwrap())[..2].to_vec()
    };
    assert_eq!(moved("v_accvgpr_write_b32", Operand::acc(1), Operand::vgpr(5)), [7, 9]);
    assert_eq!(moved("v_accvgpr_mov_b32", Operand::acc(2), Operand::acc(1)), [7, 9]);
    assert_eq!(moved("v_accvgpr_read_b32", Operand::vgpr(1), Operand::acc(2)), [7, 9]);
    assert_eq!(moved("v_accvgpr_write_b32", Operand::acc(3), Operand::sgpr(3)), [7, 11]);
    assert_eq!(moved("v_accvgpr_write_b32", Operand::acc(4), Operand(193)), [7, u32::MAX]);
}
