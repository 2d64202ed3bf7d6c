//! The manual's functional examples, and the moved last bit.

use crate::WAVE_SIZE;
use crate::exec::valu::execute;
use crate::exec::valu::tests::{run, three, wave};
use crate::exec::{Options, Ulp};
use crate::isa::Op;
use crate::simd::Simd;

fn apply(op: Op, bits: u32) -> u32 {
    let mut wave = wave();
    *wave.vector_mut(2) = [bits; WAVE_SIZE];
    run(&mut wave, &three(op)).unwrap();
    wave.vector(0)[40]
}

#[test]
fn the_manuals_examples() {
    use Op::*;
    let cases = [
        (v_exp_f32, 0xff80_0000, 0),
        (v_exp_f32, 0x8000_0000, 0x3f80_0000),
        (v_exp_f32, 0x7f80_0000, 0x7f80_0000),
        (v_log_f32, 0xff80_0000, 0xffc0_0000),
        (v_log_f32, 0xbf80_0000, 0xffc0_0000),
        (v_log_f32, 0x8000_0000, 0xff80_0000),
        (v_log_f32, 0x0000_0000, 0xff80_0000),
        (v_log_f32, 0x3f80_0000, 0),
        (v_log_f32, 0x7f80_0000, 0x7f80_0000),
        (v_rcp_f32, 0xff80_0000, 0x8000_0000),
        (v_rcp_f32, 0xc000_0000, 0xbf00_0000),
        (v_rcp_f32, 0x8000_0000, 0xff80_0000),
        (v_rcp_f32, 0x0000_0000, 0x7f80_0000),
        (v_rcp_f32, 0x7f80_0000, 0),
        (v_rsq_f32, 0xff80_0000, 0xffc0_0000),
        (v_rsq_f32, 0x8000_0000, 0xff80_0000),
        (v_rsq_f32, 0x0000_0000, 0x7f80_0000),
        (v_rsq_f32, 0x4080_0000, 0x3f00_0000),
        (v_rsq_f32, 0x7f80_0000, 0),
        (v_sqrt_f32, 0xff80_0000, 0xffc0_0000),
        (v_sqrt_f32, 0x8000_0000, 0x8000_0000),
        (v_sqrt_f32, 0x4080_0000, 0x4000_0000),
        (v_sqrt_f32, 0x7f80_0000, 0x7f80_0000),
        (v_sin_f32, 0xff80_0000, 0xffc0_0000),
        (v_sin_f32, 0xff7f_ffff, 0),
        (v_sin_f32, 0x8000_0000, 0x8000_0000),
        (v_sin_f32, 0x3e80_0000, 0x3f80_0000),
        (v_cos_f32, 0x7f80_0000, 0xffc0_0000),
        (v_cos_f32, 0xff7f_ffff, 0x3f80_0000),
        (v_cos_f32, 0x3e80_0000, 0),
        // Denormals are flushed, coming and going.
        (v_rcp_f32, 0x0000_0001, 0x7f80_0000),
        (v_rcp_f32, 0x7f00_0001, 0),
        (v_exp_f32, 0xc300_0000, 0),
        (v_sqrt_f32, 0x0000_0001, 0),
        (v_log_f32, 0x0000_0001, 0xff80_0000),
        (v_rcp_f16, 0x4000, 0x3800),
        (v_exp_f16, 0xcc00, 0x0100),
        (v_exp_f16, 0xfc00, 0),
        (v_log_f16, 0x4800, 0x4200),
        (v_sqrt_f16, 0x4400, 0x4000),
        (v_sin_f16, 0x3400, 0x3c00),
    ];
    for (op, argument, expected) in cases {
        let found = apply(op, argument);
        assert_eq!(found, expected, "{} {argument:#x}: {found:#x}", op.name());
    }
}

#[test]
fn rounded_as_from_more_digits() {
    for i in 0..20_000u32 {
        let bits = i.wrapping_mul(0x9e37_79b1) & 0x7fff_ffff;
        let x = f32::from_bits(bits);
        if !x.is_normal() {
            continue;
        }
        let reference =
            [(Op::v_exp_f32, libm::exp2(x.into())), (Op::v_log_f32, libm::log2(x.into()))];
        for (op, reference) in reference {
            let reference = reference as f32;
            if reference.is_normal() {
                assert_eq!(f32::from_bits(apply(op, bits)), reference, "{} {x:e}", op.name());
            }
        }
    }
}

#[test]
fn the_last_bit_moves_unless_the_result_is_exact() {
    let with = |op, ulp, bits: u32| {
        let mut wave = wave();
        *wave.vector_mut(2) = std::array::from_fn(|lane| bits + lane as u32);
        let options = Options { ulp, ..Options::default() };
        execute(&mut wave, &three(op), &options, Simd::detect()).unwrap();
        *wave.vector(0)
    };
    let three = 3f32.to_bits();
    let exact = with(Op::v_rcp_f32, Ulp::Exact, three);
    assert_eq!(with(Op::v_rcp_f32, Ulp::Up, three), exact.map(|bits| bits + 1));
    assert_eq!(with(Op::v_rcp_f32, Ulp::Down, three), exact.map(|bits| bits - 1));
    let seeded = with(Op::v_rcp_f32, Ulp::Seeded(7), three);
    let moved: Vec<_> = seeded
        .iter()
        .zip(&exact)
        .map(|(seeded, exact)| seeded.wrapping_sub(*exact) as i32)
        .collect();
    assert!((-1..=1).all(|step| moved.contains(&step)), "{moved:?}");
    assert_eq!(seeded, with(Op::v_rcp_f32, Ulp::Seeded(7), three));
    assert_ne!(seeded, with(Op::v_rcp_f32, Ulp::Seeded(8), three));
    // What integer division is made of stays as it is.
    assert_eq!(with(Op::v_rcp_iflag_f32, Ulp::Up, three), exact);
    assert_eq!(with(Op::v_rcp_f32, Ulp::Up, 2f32.to_bits())[0], 0.5f32.to_bits());
    assert_eq!(with(Op::v_exp_f32, Ulp::Up, 3f32.to_bits())[0], 8f32.to_bits());
    assert_eq!(with(Op::v_sqrt_f16, Ulp::Up, 0x4400)[0], 0x4000);
}
