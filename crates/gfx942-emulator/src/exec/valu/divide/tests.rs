//! Division as LLVM lowers it, against the host's.

use super::*;
use crate::WAVE_SIZE;
use crate::exec::valu::tests::{MODE, run, three};
use crate::exec::{Lanes, Wave};
use crate::isa::{Inst, Operand};

/// `op dst, sources…`, with the mask in VCC.
fn inst(op: Op, dst: u8, sources: &[u8]) -> Inst {
    let mut inst = three(op);
    inst.dst = Operand::vgpr(dst);
    inst.sdst = Operand::VCC;
    inst.src = [Operand::NONE; 4];
    for (slot, &source) in inst.src.iter_mut().zip(sources) {
        *slot = Operand::vgpr(source);
    }
    inst
}

fn negate(mut inst: Inst, source: u8) -> Inst {
    inst.modifiers.neg = 1 << source;
    inst
}

/// A reproducible stream of bits.
struct Bits(u64);

impl Bits {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 ^ self.0 >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ self.0 >> 31
    }
}

const SPECIAL: [f64; 12] = [
    0.0,
    -0.0,
    1.0,
    -3.0,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
    f64::MAX,
    f64::MIN_POSITIVE,
    5e-324,
    1e-45,
    3.4e38,
];

/// The sequence of f32 division: v0 ÷ v1, with v2 and up for what comes between.
fn divide_f32(wave: &mut Wave) {
    use Op::*;
    let (num, den, scaled_den, scaled_num, rcp, error, quotient) = (0, 1, 2, 3, 4, 5, 6);
    let steps = [
        inst(v_div_scale_f32, scaled_den, &[den, den, num]),
        inst(v_div_scale_f32, scaled_num, &[num, den, num]),
        inst(v_rcp_f32, rcp, &[scaled_den]),
        negate(inst(v_fma_f32, error, &[scaled_den, rcp, 10]), 0),
        inst(v_fma_f32, rcp, &[error, rcp, rcp]),
        inst(v_mul_f32, quotient, &[scaled_num, rcp]),
        negate(inst(v_fma_f32, error, &[scaled_den, quotient, scaled_num]), 0),
        inst(v_fma_f32, quotient, &[error, rcp, quotient]),
        negate(inst(v_fma_f32, error, &[scaled_den, quotient, scaled_num]), 0),
        inst(v_div_fmas_f32, quotient, &[error, rcp, quotient]),
        inst(v_div_fixup_f32, 7, &[quotient, den, num]),
    ];
    *wave.vector_mut(10) = [1f32.to_bits(); WAVE_SIZE];
    for step in &steps {
        run(wave, step).unwrap();
    }
}

#[test]
fn quotients_between_two_denormals_go_to_the_even_one() {
    let numerators: Lanes = std::array::from_fn(|lane| lane as u32 | 1);
    let mut wave = Wave::new(0, MODE, u64::MAX, 0);
    for denominator in (2..80u16).step_by(2).map(f32::from) {
        *wave.vector_mut(0) = numerators;
        *wave.vector_mut(1) = [denominator.to_bits(); WAVE_SIZE];
        divide_f32(&mut wave);
        let expected = numerators.map(|n| (f32::from_bits(n) / denominator).to_bits());
        assert_eq!(wave.vector(7), &expected, "divided by {denominator}");
    }
}

#[test]
fn f32_division_is_the_hosts() {
    let mut bits = Bits(1);
    let mut draw = |i: usize| match i % 4 {
        0 => SPECIAL[bits.next() as usize % SPECIAL.len()] as f32,
        // Close to the ends of the range.
        1 => f32::from_bits(bits.next() as u32 & 0x81ff_ffff),
        2 => f32::from_bits(bits.next() as u32 | 0x7000_0000),
        _ => f32::from_bits(bits.next() as u32),
    };
    for round in 0..4000 {
        let mut wave = Wave::new(0, MODE, u64::MAX, 0);
        for lane in 0..WAVE_SIZE {
            wave.vector_mut(0)[lane] = draw(lane + round).to_bits();
            wave.vector_mut(1)[lane] = draw(lane / 4 + round / 7).to_bits();
        }
        divide_f32(&mut wave);
        for lane in 0..WAVE_SIZE {
            let [a, b, ours] =
                [0, 1, 7].map(|register| f32::from_bits(wave.vector(register)[lane]));
            let host = a / b;
            let equal = ours.to_bits() == host.to_bits() || ours.is_nan() && host.is_nan();
            assert!(equal, "{a:e} / {b:e} = {host:e}, not {ours:e}");
        }
    }
}

/// The sequence of f64 division: v[0:1] ÷ v[2:3].
fn divide_f64(wave: &mut Wave) {
    use Op::*;
    let (num, den, scaled_den, scaled_num, rcp, error, quotient) = (0, 2, 4, 6, 8, 10, 12);
    let one = 20;
    let steps = [
        inst(v_div_scale_f64, scaled_den, &[den, den, num]),
        inst(v_rcp_f64, rcp, &[scaled_den]),
        negate(inst(v_fma_f64, error, &[scaled_den, rcp, one]), 0),
        inst(v_fma_f64, rcp, &[rcp, error, rcp]),
        negate(inst(v_fma_f64, error, &[scaled_den, rcp, one]), 0),
        inst(v_fma_f64, rcp, &[rcp, error, rcp]),
        inst(v_div_scale_f64, scaled_num, &[num, den, num]),
        inst(v_mul_f64, quotient, &[scaled_num, rcp]),
        negate(inst(v_fma_f64, error, &[scaled_den, quotient, scaled_num]), 0),
        inst(v_div_fmas_f64, quotient, &[error, rcp, quotient]),
        inst(v_div_fixup_f64, 14, &[quotient, den, num]),
    ];
    *wave.vector_mut(one.into()) = [0; WAVE_SIZE];
    *wave.vector_mut(usize::from(one) + 1) = [(1f64.to_bits() >> 32) as u32; WAVE_SIZE];
    for step in &steps {
        run(wave, step).unwrap();
    }
}

#[test]
fn f64_division_is_the_hosts() {
    let mut bits = Bits(2);
    let mut draw = |i: usize| match i % 4 {
        0 => SPECIAL[bits.next() as usize % SPECIAL.len()],
        1 => f64::from_bits(bits.next() & 0x803f_ffff_ffff_ffff),
        2 => f64::from_bits(bits.next() | 0x7800_0000_0000_0000),
        _ => f64::from_bits(bits.next()),
    };
    for round in 0..4000 {
        let mut wave = Wave::new(0, MODE, u64::MAX, 0);
        for lane in 0..WAVE_SIZE {
            for (register, value) in [(0, draw(lane + round)), (2, draw(lane / 4 + round / 7))] {
                wave.vector_mut(register)[lane] = value.to_bits() as u32;
                wave.vector_mut(register + 1)[lane] = (value.to_bits() >> 32) as u32;
            }
        }
        divide_f64(&mut wave);
        for lane in 0..WAVE_SIZE {
            let [a, b, ours] = [0, 2, 14].map(|register| {
                let [low, high] =
                    [register, register + 1].map(|register| u64::from(wave.vector(register)[lane]));
                f64::from_bits(low | high << 32)
            });
            let host = a / b;
            let equal = ours.to_bits() == host.to_bits() || ours.is_nan() && host.is_nan();
            assert!(equal, "{a:e} / {b:e} = {host:e}, not {ours:e}");
        }
    }
}

#[test]
fn fixup_of_halves() {
    let fixed = |approximate: f32, denominator: f32, numerator: f32| {
        fixup(approximate, denominator, numerator, INVALID_F32).to_bits()
    };
    assert_eq!(fixed(2.0, -1.0, 2.0), (-2f32).to_bits());
    assert_eq!(fixed(9.0, 0.0, -0.0), 0xffc0_0000);
    assert_eq!(fixed(9.0, f32::INFINITY, f32::INFINITY), 0xffc0_0000);
    assert_eq!(fixed(9.0, -0.0, 3.0), f32::NEG_INFINITY.to_bits());
    assert_eq!(fixed(9.0, 5.0, f32::NEG_INFINITY), f32::NEG_INFINITY.to_bits());
    assert_eq!(fixed(9.0, f32::INFINITY, -3.0), (-0f32).to_bits());
    assert_eq!(fixed(9.0, 1.0, f32::from_bits(0x7f80_0001)), 0x7fc0_0001);
}
