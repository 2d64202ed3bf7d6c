use ::half::f16;

use super::*;
use crate::exec::Mode;
use crate::exec::testing::inst;
use crate::isa::{Flags, Format, Modifiers, Op, Operand};
use crate::numeric::F16Rules;

const V: fn(u8) -> Operand = Operand::vgpr;

/// VOP3P's fields where nothing is said: each result from its own half.
const PLAIN: Modifiers = Modifiers { op_sel_hi: 7, ..NONE };
const NONE: Modifiers =
    Modifiers { neg: 0, abs: 0, omod: 0, op_sel: 0, op_sel_hi: 0, cbsz: 0, abid: 0, blgp: 0 };

/// Keep all denormals, round to nearest even, IEEE, clamp NaN to 0.
const MODE: Mode = Mode(0x3f0);

struct Case {
    op: Op,
    src: [Operand; 3],
    modifiers: Modifiers,
    flags: Flags,
    mode: Mode,
}

/// `op` on registers 2, 4 and 6.
fn case(op: Op) -> Case {
    Case { op, src: [V(2), V(4), V(6)], modifiers: PLAIN, flags: Flags::default(), mode: MODE }
}

impl Case {
    /// The result in registers 0 and 1 of a lane whose registers 2 to 7 hold `values`.
    fn run(&self, values: [u32; 6]) -> Result<[u32; 2], Trap> {
        let mut wave = Wave::new(0, self.mode, 1 << 5, 0x0bad_0bad);
        for (register, value) in (2..).zip(values) {
            wave.vector_mut(register)[5] = value;
        }
        let mut inst = inst(self.op, Format::Vop3p);
        inst.dst = V(0);
        inst.src[..3].copy_from_slice(&self.src);
        (inst.modifiers, inst.flags) = (self.modifiers, self.flags);
        run(&mut wave, &inst)?;
        assert_eq!([wave.vector(0)[4], wave.vector(1)[6]], [0x0bad_0bad; 2], "EXEC");
        Ok([wave.vector(0)[5], wave.vector(1)[5]])
    }

    /// The same with a, b and c in registers 2, 4 and 6.
    fn of(&self, a: u32, b: u32, c: u32) -> u32 {
        self.run([a, 0, b, 0, c, 0]).unwrap()[0]
    }
}

fn random(state: &mut u64) -> u32 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    (*state >> 32) as u32
}

/// The definition on each half: `function` as i128, saturated or wrapped.
fn check_integers(op: Op, signed: bool, function: fn(i128, i128, i128) -> i128) {
    let mut state = 1;
    let value =
        |bits: u32| if signed { i128::from(bits as u16 as i16) } else { i128::from(bits as u16) };
    let (min, max) = if signed { (-0x8000, 0x7fff) } else { (0, 0xffff) };
    for round in 0..2000 {
        let [a, b, c] = [(); 3].map(|()| random(&mut state));
        let (op_sel, op_sel_hi) = ((round & 7) as u8, (round >> 3 & 7) as u8);
        let clamp = round % 2 == 1 && !op.name().contains("rev");
        let flags = if clamp { Flags::CLAMP } else { Flags::default() };
        let ours = Case { modifiers: Modifiers { op_sel, op_sel_hi, ..NONE }, flags, ..case(op) }
            .of(a, b, c);
        let half = |fields: u8| {
            let source = |bits: u32, i: u8| value(bits >> (16 * u32::from(fields >> i & 1)));
            let exact = function(source(a, 0), source(b, 1), source(c, 2));
            if clamp { exact.clamp(min, max) as u16 } else { exact as u16 }
        };
        let theirs = u32::from(half(op_sel_hi)) << 16 | u32::from(half(op_sel));
        assert_eq!(ours, theirs, "{op:?} {a:x} {b:x} {c:x} {op_sel} {op_sel_hi} {clamp}");
    }
}

#[test]
fn integers_wrap_or_saturate_in_each_half() {
    check_integers(Op::v_pk_mad_i16, true, |a, b, c| a * b + c);
    check_integers(Op::v_pk_add_i16, true, |a, b, _| a + b);
    check_integers(Op::v_pk_sub_i16, true, |a, b, _| a - b);
    check_integers(Op::v_pk_max_i16, true, |a, b, _| a.max(b));
    check_integers(Op::v_pk_min_i16, true, |a, b, _| a.min(b));
    check_integers(Op::v_pk_mad_u16, false, |a, b, c| a * b + c);
    check_integers(Op::v_pk_mul_lo_u16, false, |a, b, _| a * b);
    check_integers(Op::v_pk_add_u16, false, |a, b, _| a + b);
    check_integers(Op::v_pk_sub_u16, false, |a, b, _| a - b);
    check_integers(Op::v_pk_max_u16, false, |a, b, _| a.max(b));
    check_integers(Op::v_pk_min_u16, false, |a, b, _| a.min(b));
    check_integers(Op::v_pk_lshlrev_b16, false, |a, b, _| b << (a & 15));
    check_integers(Op::v_pk_lshrrev_b16, false, |a, b, _| b >> (a & 15));
    check_integers(Op::v_pk_ashrrev_i16, true, |a, b, _| b >> (a & 15));
}

/// The rounding itself is proved in [`numeric::f16`](crate::numeric::f16).
#[test]
fn halves_are_signed_each_by_itself() {
    let mut state = 7;
    let rules = F16Rules::IEEE;
    for round in 0..20_000 {
        let [a, b, c] = [(); 3].map(|()| random(&mut state));
        let (neg, abs) = ((round & 7) as u8, (round >> 3 & 7) as u8);
        let modifiers = Modifiers { neg, abs, ..PLAIN };
        let ours = [Op::v_pk_fma_f16, Op::v_pk_add_f16, Op::v_pk_mul_f16]
            .map(|op| Case { modifiers, ..case(op) }.of(a, b, c));
        for (half, signs) in [(0, neg), (16, abs)] {
            let value = |bits: u32, i: u8| (bits >> half) as u16 ^ u16::from(signs >> i & 1) << 15;
            let (a, b, c) = (value(a, 0), value(b, 1), value(c, 2));
            let theirs = [rules.fma(a, b, c), rules.add(a, b), rules.mul(a, b)];
            assert_eq!(ours.map(|bits| (bits >> half) as u16), theirs, "{a:x} {b:x} {c:x}");
        }
    }
}

#[test]
fn extremes_and_clamps_of_halves() {
    let (min, max) = (case(Op::v_pk_min_f16), case(Op::v_pk_max_f16));
    // −0 and +0; 1 and a quiet NaN.
    assert_eq!(min.of(0x0000_3c00, 0x8000_7e00, 0), 0x8000_3c00);
    assert_eq!(max.of(0x0000_3c00, 0x8000_7e00, 0), 0x0000_3c00);
    // A signalling NaN is quieted in IEEE mode, and gives way otherwise.
    assert_eq!(max.of(0x7c01, 0x3c00, 0) & 0xffff, 0x7e01);
    let legacy = Case { mode: Mode(0xf0), ..case(Op::v_pk_max_f16) };
    assert_eq!(legacy.of(0x7c01, 0x3c00, 0) & 0xffff, 0x3c00);
    let clamp = Case { flags: Flags::CLAMP, ..case(Op::v_pk_add_f16) };
    assert_eq!(clamp.of(0x4000_bc00, 0, 0), 0x3c00_0000);
    assert_eq!(clamp.of(0x7e00_3800, 0, 0), 0x0000_3800);
    let keep_nan = Case { mode: Mode(0x2f0), ..clamp };
    assert_eq!(keep_nan.of(0x7e00_3800, 0, 0), 0x7e00_3800);
}

#[test]
fn constants_are_for_the_low_half_or_all_bits() {
    let with = |op, constant, op_sel_hi| {
        let src = [V(2), Operand(constant), Operand::NONE];
        Case { src, modifiers: Modifiers { op_sel_hi, ..NONE }, ..case(op) }
    };
    // 1.0 is an f16 in the low half.
    assert_eq!(with(Op::v_pk_add_f16, 242, 7).of(0x4000_4000, 0, 0), 0x4000_4200);
    assert_eq!(with(Op::v_pk_add_f16, 242, 1).of(0x4000_4000, 0, 0), 0x4200_4200);
    // To integers it is an f32.
    assert_eq!(with(Op::v_pk_add_u16, 242, 7).of(0, 0, 0), 0x3f80_0000);
    // −1 is 32 ones to both.
    assert_eq!(with(Op::v_pk_add_u16, 193, 7).of(0x0003_0003, 0, 0), 0x0002_0002);
    assert_eq!(with(Op::v_pk_max_f16, 193, 7).of(0, 0, 0), 0, "NaN");
    assert_eq!(with(Op::v_pk_add_u16, 135, 7).of(0x0003_0003, 0, 0), 0x0003_000a);
    assert!(with(Op::v_pk_add_u16, 255, 7).run([0; 6]).is_err(), "no literals");
}

#[test]
fn singles_pick_registers() {
    let values = [1.0, 2.0, 10.0, 20.0, 100.0, 200.0_f32].map(f32::to_bits);
    let run =
        |op, modifiers| Case { modifiers, ..case(op) }.run(values).unwrap().map(f32::from_bits);
    assert_eq!(run(Op::v_pk_fma_f32, PLAIN), [110.0, 240.0]);
    assert_eq!(
        run(Op::v_pk_fma_f32, Modifiers { op_sel: 1, op_sel_hi: 6, ..NONE }),
        [120.0, 220.0]
    );
    assert_eq!(run(Op::v_pk_mul_f32, Modifiers { neg: 1, abs: 2, ..PLAIN }), [-10.0, -40.0]);
    assert_eq!(run(Op::v_pk_add_f32, PLAIN), [11.0, 22.0]);
    let moved = run(Op::v_pk_mov_b32, Modifiers { op_sel: 2, op_sel_hi: 0, ..NONE });
    assert_eq!(moved, [1.0, 20.0]);
    let upward = Case { mode: Mode(0x3f1), ..case(Op::v_pk_add_f32) };
    let tiny = [1.0, 1.0, 1e-20, -1e-20, 0.0, 0.0_f32].map(f32::to_bits);
    assert_eq!(upward.run(tiny).unwrap().map(f32::from_bits), [1.0_f32.next_up(), 1.0]);
    let constant = |op_sel_hi| {
        let src = [V(2), Operand(244), V(6)];
        Case { src, modifiers: Modifiers { op_sel_hi, ..NONE }, ..case(Op::v_pk_mul_f32) }
            .run(values)
    };
    assert_eq!(constant(1).unwrap().map(f32::from_bits), [2.0, 4.0]);
    assert!(matches!(constant(3), Err(Trap::Unimplemented(_))), "no half of a constant is high");
}

#[test]
fn mixed_sources_are_read_as_what_they_are() {
    // 2.0 in the high half of source 0, 3.0 as f32, 1.0 in the low half of source 2.
    let (a, b, c) = (0x4000_0bad, 3.0_f32.to_bits(), 0x7fff_3c00);
    let mix = |op, neg, abs| Case {
        modifiers: Modifiers { op_sel: 1, op_sel_hi: 5, neg, abs, ..NONE },
        ..case(op)
    };
    assert_eq!(f32::from_bits(mix(Op::v_fma_mix_f32, 0, 0).of(a, b, c)), 7.0);
    assert_eq!(f32::from_bits(mix(Op::v_fma_mix_f32, 1, 0).of(a, b, c)), -5.0);
    assert_eq!(f32::from_bits(mix(Op::v_fma_mix_f32, 1, 1).of(a | 0x8000_0000, b, c)), -5.0);
    assert_eq!(mix(Op::v_fma_mixlo_f16, 0, 0).of(a, b, c), 0x0bad_4700);
    assert_eq!(mix(Op::v_fma_mixhi_f16, 0, 0).of(a, b, c), 0x4700_0bad);
}

#[test]
fn dot_products_of_integers() {
    let mut state = 3;
    for (op, signed, bits) in [
        (Op::v_dot2_i32_i16, true, 16),
        (Op::v_dot2_u32_u16, false, 16),
        (Op::v_dot4_i32_i8, true, 8),
        (Op::v_dot4_u32_u8, false, 8),
        (Op::v_dot8_i32_i4, true, 4),
        (Op::v_dot8_u32_u4, false, 4),
    ] {
        for round in 0..1000 {
            let [a, b, c] = [(); 3].map(|()| random(&mut state));
            let element = |word: u32, index: u32| {
                let value = i128::from(word >> (index * bits)) % (1 << bits);
                if signed && value >= 1 << (bits - 1) { value - (1 << bits) } else { value }
            };
            let c_value = if signed { i128::from(c as i32) } else { i128::from(c) };
            let exact =
                (0..32 / bits).map(|i| element(a, i) * element(b, i)).sum::<i128>() + c_value;
            let clamp = round % 2 == 1;
            let (min, max) =
                if signed { (i32::MIN.into(), i32::MAX.into()) } else { (0, u32::MAX.into()) };
            let theirs = if clamp { exact.clamp(min, max) as u32 } else { exact as u32 };
            let flags = if clamp { Flags::CLAMP } else { Flags::default() };
            assert_eq!(Case { flags, ..case(op) }.of(a, b, c), theirs, "{op:?} {a:x} {b:x} {c:x}");
        }
    }
}

#[test]
fn dot_products_of_halves_flush_denormals() {
    let dot = case(Op::v_dot2_f32_f16);
    let half = |low: f32, high: f32| {
        u32::from(f16::from_f32(high).to_bits()) << 16 | u32::from(f16::from_f32(low).to_bits())
    };
    let sum = f32::from_bits(dot.of(half(1.5, 2.0), half(4.0, -8.0), 0.25_f32.to_bits()));
    assert_eq!(sum, 0.25 + 6.0 - 16.0);
    assert_eq!(dot.of(0x0001_03ff, half(1024.0, 1024.0), 0x0000_0001), 0);
    let negated = Case { modifiers: Modifiers { neg: 1, ..PLAIN }, ..case(Op::v_dot2_f32_f16) };
    assert_eq!(f32::from_bits(negated.of(half(1.5, 2.0), half(4.0, -8.0), 0)), -22.0);
}

/// The VOP2 forms add to their destination, and have no fields that say otherwise.
#[test]
fn vop2_forms_accumulate() {
    let run_vop2 = |op, a: u32, b: u32, d: u32| {
        let mut wave = Wave::new(0, MODE, u64::MAX, d);
        wave.vector_mut(2).fill(a);
        wave.vector_mut(4).fill(b);
        let mut inst = inst(op, Format::Vop2);
        inst.dst = V(0);
        inst.src[..2].copy_from_slice(&[V(2), V(4)]);
        run(&mut wave, &inst).unwrap();
        wave.vector(0)[63]
    };
    assert_eq!(run_vop2(Op::v_dot4c_i32_i8, 0x01ff_0203, 0x0101_0101, 10), 15);
    assert_eq!(run_vop2(Op::v_dot2c_i32_i16, 0x0002_ffff, 0x0003_0005, 10), 11);
    assert_eq!(run_vop2(Op::v_dot8c_i32_i4, 0x1111_111f, 0x1111_1111, 10), 16);
    assert_eq!(
        run_vop2(Op::v_dot2c_f32_f16, 0x3c00_4000, 0x4000_4000, 1.0_f32.to_bits()),
        7.0_f32.to_bits()
    );
    assert_eq!(run_vop2(Op::v_pk_fmac_f16, 0x3c00_4000, 0x4000_4000, 0x3c00_3c00), 0x4200_4500);
}

#[test]
fn fields_that_mean_nothing_are_errors() {
    let error = |case: Case| assert!(case.run([0; 6]).is_err(), "{:?}", case.op);
    error(Case { modifiers: Modifiers { neg: 1, ..PLAIN }, ..case(Op::v_pk_add_u16) });
    error(Case { modifiers: Modifiers { neg: 1, ..PLAIN }, ..case(Op::v_dot4_i32_i8) });
    error(Case { modifiers: Modifiers { op_sel: 1, ..PLAIN }, ..case(Op::v_dot4_i32_i8) });
    error(Case { modifiers: Modifiers { omod: 1, ..PLAIN }, ..case(Op::v_pk_add_f16) });
    error(Case { flags: Flags::CLAMP, ..case(Op::v_pk_lshlrev_b16) });
    error(Case { mode: Mode(0x3f1), ..case(Op::v_fma_mix_f32) });
}
