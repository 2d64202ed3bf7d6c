//! Operations against values worked out by hand from the manual.

use super::execute;
use crate::WAVE_SIZE;
use crate::exec::testing::inst;
use crate::exec::{Lanes, Mode, Options, Trap, Wave};
use crate::isa::{Extra, Flags, Format, Inst, Op, Operand, Sdwa, SdwaSelect};
use crate::simd::Simd;

/// Rounding to nearest, all denormals kept, DX10_CLAMP and IEEE on: what HIP kernels start with.
pub(super) const MODE: Mode = Mode(0x3f0);

/// A wave whose registers hold 0xdead.
pub(super) fn wave() -> Wave {
    Wave::new(0, MODE, u64::MAX, 0xdead)
}

/// `op v0, v2, v4, v6` in VOP3, so that 64-bit operands fit; masks go to s[10:11].
pub(super) fn three(op: Op) -> Inst {
    let mut inst = inst(op, Format::Vop3);
    inst.dst = Operand::vgpr(0);
    inst.sdst = Operand::sgpr(10);
    inst.src = [Operand::vgpr(2), Operand::vgpr(4), Operand::vgpr(6), Operand::NONE];
    inst
}

pub(super) fn run(wave: &mut Wave, inst: &Inst) -> Result<(), Trap> {
    execute(wave, inst, &Options::default(), Simd::detect())
}

/// The result of `op` for 64-bit sources (of which 32-bit ones read the low half), the same in all lanes.
fn apply(op: Op, sources: &[u64]) -> u64 {
    let mut wave = wave();
    for (i, source) in sources.iter().enumerate() {
        *wave.vector_mut(2 + 2 * i) = [*source as u32; WAVE_SIZE];
        *wave.vector_mut(3 + 2 * i) = [(*source >> 32) as u32; WAVE_SIZE];
    }
    *wave.vector_mut(0) = [0; WAVE_SIZE];
    *wave.vector_mut(1) = [0; WAVE_SIZE];
    run(&mut wave, &three(op)).unwrap();
    let (low, high) = (wave.vector(0), wave.vector(1));
    assert!(low.iter().all(|lane| *lane == low[0]) && high.iter().all(|lane| *lane == high[0]));
    u64::from(low[0]) | u64::from(high[0]) << 32
}

fn f(value: f32) -> u64 {
    value.to_bits().into()
}

fn h(value: f32) -> u64 {
    half::f16::from_f32(value).to_bits().into()
}

#[test]
fn integers() {
    use Op::*;
    let minus = |value: u32| u64::from(value.wrapping_neg());
    let cases: &[(Op, &[u64], u64)] = &[
        (v_mov_b32, &[0x1234], 0x1234),
        (v_bfrev_b32, &[1], 0x8000_0000),
        (v_ffbh_u32, &[0x0001_0000], 15),
        (v_ffbh_u32, &[0], 0xffff_ffff),
        (v_ffbl_b32, &[0x0001_0000], 16),
        (v_ffbh_i32, &[0xffff_fffe], 31),
        (v_ffbh_i32, &[0xffff_ffff], 0xffff_ffff),
        (v_bcnt_u32_b32, &[0xf0f0, 100], 108),
        (v_lshlrev_b32, &[33, 3], 6),
        (v_ashrrev_i32, &[4, 0x8000_0000], 0xf800_0000),
        (v_sub_u32, &[1, 2], 0xffff_ffff),
        (v_subrev_u32, &[1, 2], 1),
        (v_min_i32, &[minus(1), 1], minus(1)),
        (v_min_u32, &[minus(1), 1], 1),
        (v_med3_i32, &[minus(5), 7, 1], 1),
        (v_med3_u32, &[minus(5), 7, 1], 7),
        (v_bfm_b32, &[4, 8], 0xf00),
        (v_bfe_u32, &[0xabcd_1234, 8, 8], 0x12),
        (v_bfe_u32, &[0xabcd_1234, 8, 0], 0),
        (v_bfe_i32, &[0x0000_8000, 12, 4], 0xffff_fff8),
        (v_bfi_b32, &[0xff00, 0x1234, 0xabcd], 0x12cd),
        (v_alignbit_b32, &[0x1, 0x8000_0000, 31], 3),
        (v_alignbyte_b32, &[0x1122_3344, 0x5566_7788, 5], 0x4455_6677),
        (v_lshl_add_u32, &[3, 4, 5], 53),
        (v_add_lshl_u32, &[3, 4, 5], 224),
        (v_xad_u32, &[6, 3, 10], 15),
        (v_mul_hi_u32, &[0xffff_ffff, 0xffff_ffff], 0xffff_fffe),
        (v_mul_hi_i32, &[0xffff_ffff, 0xffff_ffff], 0),
        (v_mul_i32_i24, &[0x00ff_ffff, 3], minus(3)),
        (v_mul_u32_u24, &[0x01ff_ffff, 2], 0x01ff_fffe),
        (v_mul_hi_u32_u24, &[0xff_ffff, 0xff_ffff], 0xffff),
        (v_mul_hi_i32_i24, &[0xff_ffff, 1], 0xffff_ffff),
        (v_mad_i32_i24, &[0x00ff_ffff, 3, 10], 7),
        (v_mad_u32_u16, &[0x1_ffff, 2, 1], 0x1_ffff),
        (v_mad_i32_i16, &[0xffff, 2, 1], minus(1)),
        (v_lshlrev_b64, &[65, 0x8000_0000], 0x1_0000_0000),
        (v_ashrrev_i64, &[32, 0x8000_0000_0000_0000], 0xffff_ffff_8000_0000),
        (v_lshl_add_u64, &[0x1_0000_0001, 3, 1], 0x8_0000_0009),
        (v_mad_u64_u32, &[0xffff_ffff, 0xffff_ffff, 5], 0xffff_fffe_0000_0006),
        (v_mad_i64_i32, &[0xffff_ffff, 7, 5], (-2i64) as u64),
        (v_add_u16, &[0xffff_ffff, 2], 1),
        (v_mad_legacy_i16, &[0xffff, 3, 1], 0xfffe),
        (v_max_i16, &[0xffff, 3], 3),
        (v_ashrrev_i16, &[4, 0x8000], 0xf800),
        (v_sat_pk_u8_i16, &[0x0100_ffff], 0xff00),
        (v_pack_b32_f16, &[0x1111_2222, 0x3333_4444], 0x4444_2222),
        (v_perm_b32, &[0x8011_2233, 0x4455_6677, 0x0c0b_0700], 0x00ff_8077),
        (v_perm_b32, &[0x8011_2233, 0x4455_6677, 0x0d08_0304], 0xff00_4433),
        (v_lerp_u8, &[0x0102_ff04, 0x0304_ff07, 0x0001_0001], 0x0203_ff06),
        (v_sad_u8, &[0x0102_0304, 0x0403_0201, 10], 18),
        (v_sad_hi_u8, &[0x0102_0304, 0x0403_0201, 10], 0x8_000a),
        (v_msad_u8, &[0x0102_0304, 0x0003_0001, 10], 14),
        (v_sad_u16, &[0x0001_0005, 0x0003_0001, 1], 7),
        (
            v_qsad_pk_u16_u8,
            &[0x0007_0605_0403_0201, 0x0403_0201, 0x0004_0003_0002_0001],
            0x0010_000b_0006_0001,
        ),
    ];
    for (op, sources, expected) in cases {
        assert_eq!(
            apply(*op, sources),
            *expected,
            "{} {sources:x?}: {:x}",
            op.name(),
            apply(*op, sources)
        );
    }
}

#[test]
fn floats() {
    use Op::*;
    let cases: &[(Op, &[u64], u64)] = &[
        (v_add_f32, &[f(1.5), f(2.25)], f(3.75)),
        (v_subrev_f32, &[f(1.5), f(2.0)], f(0.5)),
        (v_mul_legacy_f32, &[f(f32::INFINITY), f(0.0)], f(0.0)),
        (
            v_fma_f32,
            &[f(1.0 + f32::EPSILON), f(1.0 - f32::EPSILON), f(-1.0)],
            f(-f32::EPSILON * f32::EPSILON),
        ),
        (v_max_f32, &[f(f32::NAN), f(-1.0)], f(-1.0)),
        (v_med3_f32, &[f(3.0), f(1.0), f(2.0)], f(2.0)),
        (v_med3_f32, &[f(3.0), f(f32::NAN), f(2.0)], f(2.0)),
        (v_add_f64, &[1.5f64.to_bits(), 2f64.to_bits()], 3.5f64.to_bits()),
        (v_min_f64, &[0f64.to_bits(), (-0f64).to_bits()], (-0f64).to_bits()),
        (v_add_f16, &[h(1.0), h(2.0)], h(3.0)),
        (v_fma_f16, &[h(2.0), h(3.0), h(1.0)], h(7.0)),
        (v_max3_f16, &[h(2.0), h(3.0), h(1.0)], h(3.0)),
        (v_fract_f32, &[f(-1.25)], f(0.75)),
        (v_fract_f32, &[f(-1e-20)], 0x3f7f_ffff),
        (v_rndne_f32, &[f(2.5)], f(2.0)),
        (v_floor_f16, &[h(-2.5)], h(-3.0)),
        (v_ceil_f64, &[(-0.5f64).to_bits()], (-0f64).to_bits()),
        (v_frexp_exp_i32_f32, &[f(12.0)], 4),
        (v_frexp_exp_i32_f32, &[1], 0xffff_ff6c),
        (v_frexp_mant_f32, &[f(-12.0)], f(-0.75)),
        (v_frexp_mant_f32, &[1], f(0.5)),
        (v_frexp_exp_i32_f64, &[1], (-1073i32) as u32 as u64),
        (v_frexp_exp_i16_f16, &[h(0.25)], 0xffff),
        (v_ldexp_f32, &[f(1.5), (-149i32) as u32 as u64], 2),
        (v_ldexp_f32, &[f(1.0), 1000], f(f32::INFINITY)),
        (v_ldexp_f64, &[3f64.to_bits(), (-2i32) as u32 as u64], 0.75f64.to_bits()),
        (v_ldexp_f16, &[h(1.0), 0xfff0], h(2f32.powi(-16))),
        (v_cvt_i32_f32, &[f(-2.9)], (-2i32) as u32 as u64),
        (v_cvt_i32_f32, &[f(3e9)], 0x7fff_ffff),
        (v_cvt_u32_f32, &[f(-1.0)], 0),
        (v_cvt_u32_f64, &[4294967295.5f64.to_bits()], 0xffff_ffff),
        (v_cvt_i32_f32, &[f(f32::NAN)], 0),
        (v_cvt_f32_u32, &[0xffff_ffff], f(4294967296.0)),
        (v_cvt_f32_f16, &[h(0.1)], f(half::f16::from_f32(0.1).to_f32())),
        (v_cvt_f16_f32, &[f(65520.0)], 0x7c00),
        (v_cvt_pkrtz_f16_f32, &[f(65520.0), f(-1.0)], 0xbc00_7bff),
        (v_cvt_rpi_i32_f32, &[f(-1.5)], (-1i32) as u32 as u64),
        (v_cvt_flr_i32_f32, &[f(-1.5)], (-2i32) as u32 as u64),
        (v_cvt_off_f32_i4, &[0xf8], f(-0.5)),
        (v_cvt_f32_ubyte2, &[0x00ab_0000], f(171.0)),
        (v_cvt_pk_i16_i32, &[0xffff_0000, 0x1_0000], 0x7fff_8000),
        (v_cvt_pk_u8_f32, &[f(300.0), 2, 0x1122_3344], 0x11ff_3344),
        (v_cvt_pknorm_i16_f32, &[f(-2.0), f(0.5)], 0x4000_8001),
        (v_cvt_pknorm_u16_f32, &[f(1.0), f(f32::NAN)], 0xffff),
        (v_cvt_pk_fp8_f32, &[f(1.0), f(-240.0)], 0xff40),
        (v_cvt_f32_fp8, &[0x40], f(1.0)),
        (v_cubeid_f32, &[f(1.0), f(-3.0), f(2.0)], f(3.0)),
        (v_cubema_f32, &[f(1.0), f(-3.0), f(2.0)], f(-6.0)),
    ];
    for (op, sources, expected) in cases {
        assert_eq!(
            apply(*op, sources),
            *expected,
            "{} {sources:x?}: {:x}",
            op.name(),
            apply(*op, sources)
        );
    }
}

/// The lanes' numbers.
fn numbers() -> Lanes {
    std::array::from_fn(|lane| lane as u32)
}

#[test]
fn only_active_lanes_are_written() {
    let mut wave = wave();
    wave.exec = 0x8000_0000_ffff_0001;
    *wave.vector_mut(2) = numbers();
    run(&mut wave, &three(Op::v_mov_b32)).unwrap();
    for lane in 0..WAVE_SIZE {
        let expected = if wave.exec >> lane & 1 != 0 { lane as u32 } else { 0xdead };
        assert_eq!(wave.vector(0)[lane], expected);
    }
}

#[test]
fn carries_and_masks() {
    let mut wave = wave();
    wave.exec = !1;
    *wave.vector_mut(2) = numbers().map(|lane| if lane % 3 == 0 { u32::MAX } else { 0 });
    *wave.vector_mut(4) = [1; WAVE_SIZE];
    run(&mut wave, &three(Op::v_add_co_u32)).unwrap();
    let thirds = (1..64).filter(|lane| lane % 3 == 0).map(|lane| 1u64 << lane).sum::<u64>();
    assert_eq!(wave.scalar64(10), thirds);
    let mut with_carry = three(Op::v_addc_co_u32);
    with_carry.src[2] = Operand::sgpr(10);
    run(&mut wave, &with_carry).unwrap();
    assert_eq!(wave.vector(0)[3..6], [1, 1, 1]);
    assert_eq!(wave.vector(0)[6], 1);
    assert_eq!(wave.vector(0)[1], 1);
    assert_eq!(wave.scalar64(10), thirds);
    // 0 − 1 − borrow
    with_carry.op = Op::v_subb_co_u32;
    run(&mut wave, &with_carry).unwrap();
    assert_eq!((wave.vector(0)[1], wave.vector(0)[3]), (u32::MAX, u32::MAX - 2));
    assert_eq!(wave.scalar64(10), !1 & !thirds);
    let mut choose = three(Op::v_cndmask_b32);
    choose.src[2] = Operand::sgpr(10);
    run(&mut wave, &choose).unwrap();
    assert_eq!((wave.vector(0)[1], wave.vector(0)[3]), (1, u32::MAX));
}

#[test]
fn comparisons() {
    let mut wave = wave();
    wave.exec = 0xff;
    let values = [
        1.0,
        f32::NAN,
        -1.0,
        0.0,
        f32::INFINITY,
        -0.0,
        f32::from_bits(1),
        f32::from_bits(0x7f80_0001),
    ];
    for (lane, value) in values.iter().enumerate() {
        wave.vector_mut(2)[lane] = value.to_bits();
    }
    *wave.vector_mut(4) = [0; WAVE_SIZE];
    let mut test = |op| {
        run(&mut wave, &three(op)).unwrap();
        wave.scalar64(10)
    };
    assert_eq!(test(Op::v_cmp_lt_f32), 0b0000_0100);
    assert_eq!(test(Op::v_cmp_nlt_f32), 0b1111_1011);
    assert_eq!(test(Op::v_cmp_eq_f32), 0b0010_1000);
    assert_eq!(test(Op::v_cmp_lg_f32), 0b0101_0101);
    assert_eq!(test(Op::v_cmp_neq_f32), 0b1101_0111);
    assert_eq!(test(Op::v_cmp_u_f32), 0b1000_0010);
    assert_eq!(test(Op::v_cmp_gt_i32), 0b1101_0011);
    assert_eq!(test(Op::v_cmp_tru_f32), 0xff);
    // Signalling NaN, +∞, −0, +denormal.
    *wave.vector_mut(4) = [1 | 1 << 9 | 1 << 5 | 1 << 7; WAVE_SIZE];
    run(&mut wave, &three(Op::v_cmpx_class_f32)).unwrap();
    assert_eq!((wave.scalar64(10), wave.exec), (0b1111_0000, 0b1111_0000));
}

#[test]
fn a_comparison_is_what_its_name_says() {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let mut wave = wave();
    let mut num_compared = 0;
    for &op in Op::ALL.iter().filter(|op| op.format() == Format::Vopc) {
        let (_, name) = op.name().split_once('_').unwrap();
        let Some((_, name)) = name.split_once('_') else { panic!("{name}") };
        let Some((relation, kind)) = name.split_once('_').filter(|(r, _)| *r != "class") else {
            continue;
        };
        // Less, equal, greater, and for floats unordered.
        let (pairs, orders): ([[u64; 2]; 4], _) = match kind {
            "f16" => ([[0x3c00, 0x4000], [0, 0x8000], [0, 0xbc00], [0x7e00, 0x3c00]], 4),
            "f32" => (
                [[1f32, 2.0], [0.0, -0.0], [0.0, -1.0], [f32::NAN, 1.0]]
                    .map(|pair| pair.map(|x| u64::from(x.to_bits()))),
                4,
            ),
            "f64" => (
                [[1f64, 2.0], [0.0, -0.0], [0.0, -1.0], [f64::NAN, 1.0]]
                    .map(|pair| pair.map(f64::to_bits)),
                4,
            ),
            _ if kind.starts_with('i') => ([[u64::MAX, 1], [5, 5], [1, u64::MAX], [0; 2]], 3),
            _ => ([[1, u64::MAX], [5, 5], [u64::MAX, 1], [0; 2]], 3),
        };
        for (lane, pair) in pairs.into_iter().enumerate() {
            for (register, value) in [2, 4].into_iter().zip(pair) {
                wave.vector_mut(register)[lane] = value as u32;
                wave.vector_mut(register + 1)[lane] = (value >> 32) as u32;
            }
        }
        let holds = |order: Option<std::cmp::Ordering>| match relation {
            "f" => false,
            "lt" => order == Some(Less),
            "eq" => order == Some(Equal),
            "le" => matches!(order, Some(Less | Equal)),
            "gt" => order == Some(Greater),
            "lg" => matches!(order, Some(Less | Greater)),
            "ge" => matches!(order, Some(Greater | Equal)),
            "o" => order.is_some(),
            "u" => order.is_none(),
            "nge" => !matches!(order, Some(Greater | Equal)),
            "nlg" => !matches!(order, Some(Less | Greater)),
            "ngt" => order != Some(Greater),
            "nle" => !matches!(order, Some(Less | Equal)),
            "ne" | "neq" => order != Some(Equal),
            "nlt" => order != Some(Less),
            "t" | "tru" => true,
            _ => panic!("{}", op.name()),
        };
        let orders = &[Some(Less), Some(Equal), Some(Greater), None][..orders];
        let expected = orders.iter().enumerate().map(|(i, &order)| u64::from(holds(order)) << i);
        let all = (1 << orders.len()) - 1;
        wave.exec = all;
        run(&mut wave, &three(op)).unwrap();
        let expected = expected.sum::<u64>();
        let exec = if op.name().starts_with("v_cmpx") { expected } else { all };
        assert_eq!((wave.scalar64(10), wave.exec), (expected, exec), "{}", op.name());
        num_compared += 1;
    }
    assert_eq!(num_compared, 2 * (3 * 16 + 6 * 8));
}

#[test]
fn across_lanes() {
    let mut wave = wave();
    *wave.vector_mut(2) = numbers().map(|lane| lane + 100);
    wave.exec = 0xf0;
    let mut read = three(Op::v_readfirstlane_b32);
    read.dst = Operand::sgpr(20);
    run(&mut wave, &read).unwrap();
    assert_eq!(wave.scalar(20), 104);
    wave.exec = 0;
    run(&mut wave, &read).unwrap();
    assert_eq!(wave.scalar(20), 100);
    read.op = Op::v_readlane_b32;
    read.src[1] = Operand(128 + 63);
    run(&mut wave, &read).unwrap();
    assert_eq!(wave.scalar(20), 163);
    let mut write = three(Op::v_writelane_b32);
    write.src = [Operand::sgpr(20), Operand(128 + 7), Operand::NONE, Operand::NONE];
    run(&mut wave, &write).unwrap();
    assert_eq!(wave.vector(0)[6..9], [0xdead, 163, 0xdead]);
    wave.exec = u64::MAX;
    let mut count = three(Op::v_mbcnt_lo_u32_b32);
    (count.src[0], count.src[1]) = (Operand(193), Operand(128));
    run(&mut wave, &count).unwrap();
    assert_eq!((wave.vector(0)[5], wave.vector(0)[63]), (5, 32));
    count.op = Op::v_mbcnt_hi_u32_b32;
    count.src[1] = Operand::vgpr(0);
    run(&mut wave, &count).unwrap();
    assert_eq!(*wave.vector(0), numbers());
    wave.exec = 1;
    let mut swap = three(Op::v_swap_b32);
    swap.src = [Operand::vgpr(2), Operand::NONE, Operand::NONE, Operand::NONE];
    run(&mut wave, &swap).unwrap();
    assert_eq!(
        (wave.vector(0)[0], wave.vector(2)[0], wave.vector(0)[1], wave.vector(2)[1]),
        (100, 0, 1, 101)
    );
}

#[test]
fn modifiers_of_floats() {
    let mut wave = wave();
    let mut add = three(Op::v_add_f32);
    *wave.vector_mut(2) = [3f32.to_bits(); WAVE_SIZE];
    *wave.vector_mut(4) = [(-5f32).to_bits(); WAVE_SIZE];
    let result = |wave: &Wave| f32::from_bits(wave.vector(0)[17]);
    add.modifiers.abs = 2;
    run(&mut wave, &add).unwrap();
    assert_eq!(result(&wave), 8.0);
    add.modifiers.neg = 2;
    run(&mut wave, &add).unwrap();
    assert_eq!(result(&wave), -2.0);
    add.flags = Flags::CLAMP;
    run(&mut wave, &add).unwrap();
    assert_eq!(result(&wave), 0.0);
    // Output modifiers need a mode without IEEE and without denormal results.
    add.flags = Flags::default();
    add.modifiers.omod = 3;
    run(&mut wave, &add).unwrap();
    assert_eq!(result(&wave), -2.0);
    wave.mode = Mode(0);
    run(&mut wave, &add).unwrap();
    assert_eq!(result(&wave), -1.0);
}

#[test]
fn denormals_are_flushed_where_the_mode_says() {
    let mut wave = wave();
    let mut multiply = three(Op::v_mul_f32);
    *wave.vector_mut(2) = [f32::MIN_POSITIVE.to_bits() | 0x8000_0000; WAVE_SIZE];
    *wave.vector_mut(4) = [0.5f32.to_bits(); WAVE_SIZE];
    let mut with = |mode, a: u32, b: f32| {
        wave.mode = Mode(mode);
        *wave.vector_mut(2) = [a; WAVE_SIZE];
        *wave.vector_mut(4) = [b.to_bits(); WAVE_SIZE];
        run(&mut wave, &multiply).unwrap();
        wave.vector(0)[0]
    };
    assert_eq!(with(0x30, 0x8080_0000, 0.5), 0x8040_0000);
    assert_eq!(with(0x10, 0x8080_0000, 0.5), 0x8000_0000);
    assert_eq!(with(0x20, 0x8080_0000, 0.5), 0x8040_0000);
    assert_eq!(with(0x10, 0x0040_0000, 2.0), 0x0080_0000);
    assert_eq!(with(0x20, 0x0040_0000, 2.0), 0);
    multiply.op = Op::v_mov_b32;
    let mut wave = Wave::new(0, Mode(0), !0, 0x0040_0000);
    run(&mut wave, &multiply).unwrap();
    assert_eq!(wave.vector(0)[0], 0x0040_0000);
}

#[test]
fn integer_clamp_saturates_or_is_refused() {
    let mut wave = wave();
    *wave.vector_mut(2) = [0x7fff_ffff; WAVE_SIZE];
    *wave.vector_mut(4) = [0x9000_0000; WAVE_SIZE];
    let mut clamped = |op| {
        let mut inst = three(op);
        inst.flags = Flags::CLAMP;
        run(&mut wave, &inst).map(|()| wave.vector(0)[0])
    };
    assert_eq!(clamped(Op::v_add_u32), Ok(u32::MAX));
    assert_eq!(clamped(Op::v_sub_u32), Ok(0));
    assert_eq!(clamped(Op::v_sub_i32), Ok(0x7fff_ffff));
    assert!(matches!(clamped(Op::v_and_b32), Err(Trap::Unimplemented(_))));
}

#[test]
fn halves() {
    let mut wave = wave();
    *wave.vector_mut(0) = [0xaaaa_bbbb; WAVE_SIZE];
    *wave.vector_mut(2) = [0x0001_0002; WAVE_SIZE];
    *wave.vector_mut(4) = [0x0010_0020; WAVE_SIZE];
    let mut with = |op, op_sel| {
        *wave.vector_mut(0) = [0xaaaa_bbbb; WAVE_SIZE];
        let mut inst = three(op);
        inst.modifiers.op_sel = op_sel;
        run(&mut wave, &inst).unwrap();
        wave.vector(0)[9]
    };
    assert_eq!(with(Op::v_add_u16, 0), 0x22);
    assert_eq!(with(Op::v_add_i16, 0), 0xaaaa_0022);
    assert_eq!(with(Op::v_add_i16, 1), 0xaaaa_0021);
    assert_eq!(with(Op::v_add_i16, 0b1010), 0x0012_bbbb);
}

#[test]
fn sdwa_selects_and_places() {
    let mut wave = wave();
    *wave.vector_mut(2) = [0x1122_ff44; WAVE_SIZE];
    *wave.vector_mut(4) = [0x0000_0001; WAVE_SIZE];
    let mut with = |dst_sel, dst_unused, sel, sext| {
        *wave.vector_mut(0) = [0xaaaa_bbbb; WAVE_SIZE];
        let mut inst = three(Op::v_add_u32);
        let src_sel = [sel, SdwaSelect::Dword];
        inst.extra = Extra::Sdwa(Sdwa { dst_sel, dst_unused, src_sel, sext: [sext, false] });
        run(&mut wave, &inst).unwrap();
        wave.vector(0)[9]
    };
    assert_eq!(with(SdwaSelect::Dword, 0, SdwaSelect::Byte1, false), 0x100);
    assert_eq!(with(SdwaSelect::Dword, 0, SdwaSelect::Byte1, true), 0);
    assert_eq!(with(SdwaSelect::Dword, 0, SdwaSelect::Word1, false), 0x1123);
    assert_eq!(with(SdwaSelect::Byte2, 2, SdwaSelect::Byte0, false), 0xaa45_bbbb);
    assert_eq!(with(SdwaSelect::Word1, 0, SdwaSelect::Word0, false), 0xff45_0000);
    assert_eq!(with(SdwaSelect::Word0, 1, SdwaSelect::Word0, false), 0xffff_ff45);
}

/// Everything that an operation can write, for numbers of all kinds in the lanes of `exec`.
fn results(op: Op, exec: u64, simd: Simd) -> Option<Vec<u32>> {
    let mut wave = wave();
    wave.exec = exec;
    for register in 2..8 {
        *wave.vector_mut(register) = std::array::from_fn(|lane| {
            let bits = (lane as u32).wrapping_mul(0x0765_4321) ^ 0x3f00_0000;
            bits.rotate_left(register as u32) & 0x7fff_7fff
        });
    }
    let mut inst = three(op);
    if ["addc", "subb", "cndmask", "fmas"].iter().any(|part| op.name().contains(part)) {
        inst.src[2] = Operand::VCC;
        wave.set_scalar64(Operand::VCC.0, 0x0ff0_1234_5678_9abc);
    }
    execute(&mut wave, &inst, &Options::default(), simd).ok()?;
    let scalars = [10, 11, 106, 107, 126, 127].map(|code| wave.scalar(code));
    Some(scalars.into_iter().chain(wave.vectors(0..2).as_flattened().iter().copied()).collect())
}

#[test]
fn the_machine_does_not_show() {
    let is_nan = |bits: u32| {
        [bits, bits << 16].iter().any(|bits| bits & 0x7fff_0000 > 0x7c00_0000)
            || bits & 0x7fff_ffff > 0x7f80_0000
    };
    let mut num_compared = 0;
    for &op in Op::ALL.iter().filter(|op| op.name().starts_with("v_")) {
        for exec in [u64::MAX, 0x7fff_0123_4567_8001] {
            let Some(portable) = results(op, exec, Simd::PORTABLE) else { continue };
            num_compared += 1;
            for simd in Simd::all() {
                let others = results(op, exec, simd).unwrap();
                for (&a, &b) in portable.iter().zip(&others) {
                    // Which of several NaNs is passed on is up to the compiler.
                    assert!(
                        a == b || is_nan(a) && is_nan(b),
                        "{} {simd:?}: {a:x} {b:x}",
                        op.name()
                    );
                }
            }
        }
    }
    assert!(num_compared > 600, "{num_compared}");
}

/// No operation is forgotten: those that are refused are refused by name.
#[test]
fn every_vector_operation_is_known() {
    let is_ours = |op: &Op| {
        let unit = crate::exec::Unit::of(&three(*op));
        op.name().starts_with("v_")
            && matches!(unit, crate::exec::Unit::Vector | crate::exec::Unit::Transcendental)
    };
    let elsewhere = ["v_mfma", "v_smfmac", "v_pk_", "v_dot", "v_fma_mix"];
    let refused: Vec<_> = Op::ALL
        .iter()
        .filter(|op| is_ours(op) && !elsewhere.iter().any(|prefix| op.name().starts_with(prefix)))
        .filter(|&&op| {
            let mut inst = three(op);
            if ["addc", "subb", "cndmask"].iter().any(|part| op.name().contains(part)) {
                inst.src[2] = Operand::VCC;
            }
            if op.name().contains("lane_b32") {
                (inst.src[0], inst.src[1]) = (Operand::sgpr(2), Operand::sgpr(3));
            }
            matches!(run(&mut wave(), &inst), Err(Trap::Unimplemented(_)))
        })
        .map(|op| op.name())
        .collect();
    // What f16 multiply-adds do with denormals, which are on in this mode, is not documented.
    let multiply_adds =
        ["v_mac_f16", "v_mad_f16", "v_mad_legacy_f16", "v_madak_f16", "v_madmk_f16"];
    assert_eq!(refused[..5], multiply_adds);
    assert_eq!(refused[5..], ["v_screen_partition_4se_b32"]);
}
