//! Floating-point atomics: the manual's rules (9.2) by example.

use super::*;

const MIN_DENORMAL: u32 = 1;
const QNAN: u32 = 0x7fc0_1234;
const SNAN: u32 = 0x7f80_0001;

/// What LDS holds after `op` with `mode`.
fn lds(op: Op, mode: u32, memory: u64, first: u64, second: u64) -> u64 {
    let mut machine = Machine::new();
    (machine.wave.exec, machine.wave.mode) = (1, Mode(mode));
    machine.set(0, |_| 0);
    for (register, value) in [(2, memory), (4, first), (6, second)] {
        machine.set_wide(register, |_| value);
    }
    let mut write = inst(Format::Ds, Op::ds_write_b64);
    (write.src[0], write.src[1]) = (v(0), v(2));
    machine.run(write).unwrap();
    let mut atomic = inst(Format::Ds, op);
    atomic.src = [v(0), v(4), v(6), Operand::NONE];
    machine.run(atomic).unwrap();
    u64::from_le_bytes(machine.lds.bytes()[..8].try_into().unwrap())
}

/// What device memory holds after `op`.
fn global(op: Op, memory: u64, value: u64) -> u64 {
    let mut machine = Machine::new();
    (machine.wave.exec, machine.wave.mode) = (1, Mode(0));
    let base = machine.allocate_with(&memory.to_le_bytes());
    machine.set_wide(0, |_| base);
    machine.set_wide(2, |_| value);
    let mut atomic = inst(Format::Global, op);
    (atomic.src[0], atomic.src[1]) = (v(0), v(2));
    machine.run(atomic).unwrap();
    u64::from_le_bytes(machine.read(base, 8).try_into().unwrap())
}

fn lds32(op: Op, mode: u32, memory: u32, first: u32, second: u32) -> u32 {
    lds(op, mode, memory.into(), first.into(), second.into()) as u32
}

/// Keeps all denormals, none.
const KEEP: u32 = 0xf0;
const FLUSH: u32 = 0;

#[test]
fn adds() {
    let bits = f32::to_bits;
    let infinity = f32::INFINITY;
    for (memory, value, expected) in [
        (bits(1.5), bits(2.25), bits(3.75)),
        (bits(1.0), bits(f32::EPSILON / 2.0), bits(1.0)),
        (bits(1.0 + f32::EPSILON), bits(f32::EPSILON / 2.0), bits(1.0 + 2.0 * f32::EPSILON)),
        (bits(-infinity), bits(infinity), 0x7fc0_0000),
        (bits(infinity), bits(1.0), bits(infinity)),
        (bits(-0.0), bits(0.0), bits(0.0)),
        (bits(-0.0), bits(-0.0), bits(-0.0)),
        (QNAN, SNAN, QNAN),
        (SNAN, QNAN, SNAN | 0x40_0000),
        (bits(infinity), SNAN, SNAN | 0x40_0000),
    ] {
        assert_eq!(
            lds32(Op::ds_add_f32, KEEP, memory, value, 0),
            expected,
            "{memory:x} + {value:x}"
        );
        let global = global(Op::global_atomic_add_f32, memory.into(), value.into()) as u32;
        assert_eq!(global, expected, "{memory:x} + {value:x}");
    }
    let double = |op, mode| lds(op, mode, 1, 2, 0);
    assert_eq!(double(Op::ds_add_f64, FLUSH), 3, "f64 denormals are always kept");
    assert_eq!(
        global(Op::global_atomic_add_f64, 0.5_f64.to_bits(), 0.25_f64.to_bits()),
        0.75_f64.to_bits()
    );
}

#[test]
fn denormals_follow_the_mode_in_lds_only() {
    let normal = f32::MIN_POSITIVE.to_bits();
    // In and out, in only (kept out), out only.
    for (mode, memory, value, expected) in [
        (KEEP, MIN_DENORMAL, 2, 3),
        (FLUSH, MIN_DENORMAL, 2, 0),
        (FLUSH, normal + 1, normal | 1 << 31, 0),
        (0x10, normal + 1, normal | 1 << 31, 0),
        (0x20, normal + 1, normal | 1 << 31, 1),
        (0x20, MIN_DENORMAL, normal, normal),
    ] {
        assert_eq!(lds32(Op::ds_add_f32, mode, memory, value, 0), expected, "mode {mode:#x}");
    }
    assert_eq!(global(Op::global_atomic_add_f32, 1, 2), 3);
}

#[test]
fn minima_and_maxima() {
    let bits = f32::to_bits;
    // Smallest first, as the manual orders them.
    let order = [
        bits(f32::NEG_INFINITY),
        bits(-1.0),
        MIN_DENORMAL | 1 << 31,
        bits(-0.0),
        bits(0.0),
        MIN_DENORMAL,
        bits(1.0),
        bits(f32::INFINITY),
    ];
    for (i, &a) in order.iter().enumerate() {
        for (j, &b) in order.iter().enumerate() {
            assert_eq!(lds32(Op::ds_min_f32, KEEP, a, b, 0), order[i.min(j)]);
            assert_eq!(lds32(Op::ds_max_f32, KEEP, a, b, 0), order[i.max(j)]);
        }
        for op in [Op::ds_min_f32, Op::ds_max_f32] {
            assert_eq!((lds32(op, KEEP, a, QNAN, 0), lds32(op, KEEP, QNAN, a, 0)), (a, a));
            let quiet = SNAN | 0x40_0000;
            assert_eq!((lds32(op, KEEP, a, SNAN, 0), lds32(op, KEEP, SNAN, a, 0)), (quiet, quiet));
        }
    }
    // Compared flushed, stored as it was.
    assert_eq!(lds32(Op::ds_max_f32, FLUSH, 5, bits(-1.0), 0), 5);
    assert_eq!(lds32(Op::ds_max_f32, FLUSH, 5, 9, 0), 5);
    let (a, b) = ((-2.5_f64).to_bits(), 1e300_f64.to_bits());
    assert_eq!(global(Op::global_atomic_min_f64, b, a), a);
    assert_eq!(global(Op::global_atomic_max_f64, b, a), b);
    assert_eq!(lds(Op::ds_max_f64, KEEP, a, b, 0), b);
    assert_eq!(lds(Op::ds_min_rtn_f64, KEEP, a, b, 0), a);
}

#[test]
fn compares() {
    let bits = f32::to_bits;
    let swap = |mode, memory, compare, new| lds32(Op::ds_cmpst_f32, mode, memory, compare, new);
    assert_eq!(swap(KEEP, bits(0.0), bits(-0.0), 7), 7, "zeros are equal");
    assert_eq!(swap(KEEP, QNAN, QNAN, 7), QNAN, "a NaN is not equal to itself");
    assert_eq!(swap(KEEP, 1, 2, bits(3.0)), 1);
    assert_eq!(swap(FLUSH, 1, 2, bits(3.0)), bits(3.0), "both are 0");
    let (a, b) = (1.5_f64.to_bits(), 2.5_f64.to_bits());
    assert_eq!(lds(Op::ds_cmpst_f64, KEEP, a, a, b), b);
    assert_eq!(lds(Op::ds_cmpst_f64, KEEP, b, a, a), b);
}

#[test]
fn packed_halves_are_added_apart() {
    let f16 = |value: f32| u32::from(half::f16::from_f32(value).to_bits());
    let bf16 = |value: f32| u32::from(half::bf16::from_f32(value).to_bits());
    let (a, b) = (f16(65_504.0) | f16(1.0) << 16, f16(32.0) | f16(0.000_488_281_25) << 16);
    // 65536 is infinite, and 1 + half a unit in the last place is 1.
    let expected = f16(f32::INFINITY) | f16(1.0) << 16;
    assert_eq!(lds32(Op::ds_pk_add_f16, KEEP, a, b, 0), expected);
    assert_eq!(global(Op::global_atomic_pk_add_f16, a.into(), b.into()) as u32, expected);
    let (a, b) = (bf16(1.0) | bf16(-3.0) << 16, bf16(0.007_812_5) | bf16(3.0) << 16);
    let expected = bf16(1.007_812_5);
    assert_eq!(lds32(Op::ds_pk_add_bf16, KEEP, a, b, 0), expected);
    assert_eq!(global(Op::global_atomic_pk_add_bf16, a.into(), b.into()) as u32, expected);
    assert_eq!(lds32(Op::ds_pk_add_f16, FLUSH, 1, 2, 0), 0, "denormals");
    assert_eq!(lds32(Op::ds_pk_add_f16, KEEP, 1, 2, 0), 3);
    assert_eq!(global(Op::global_atomic_pk_add_f16, 1, 2), 3);
}
