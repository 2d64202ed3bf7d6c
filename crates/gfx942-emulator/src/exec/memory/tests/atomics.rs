//! Integer atomics, in all their places.

use proptest::prelude::*;

use super::*;

/// Name, and what it makes of the old value, in 128 bits.
type Model = fn(old: u128, value: u128, bits: u32) -> u128;

fn signed(value: u128, bits: u32) -> i128 {
    (value << (128 - bits)) as i128 >> (128 - bits)
}

const MODELS: [(&str, Model); 12] = [
    ("swap", |_, value, _| value),
    ("add", |old, value, _| old + value),
    ("sub", |old, value, bits| (1 << bits) + old - value),
    ("smin", |old, value, bits| if signed(value, bits) < signed(old, bits) { value } else { old }),
    ("umin", |old, value, _| old.min(value)),
    ("smax", |old, value, bits| if signed(value, bits) > signed(old, bits) { value } else { old }),
    ("umax", |old, value, _| old.max(value)),
    ("and", |old, value, _| old & value),
    ("or", |old, value, _| old | value),
    ("xor", |old, value, _| old ^ value),
    ("inc", |old, value, _| if old >= value { 0 } else { old + 1 }),
    ("dec", |old, value, _| if old == 0 || old > value { value } else { old - 1 }),
];

/// The DS names of the same.
const DS_NAMES: [(&str, &str); 12] = [
    ("swap", "wrxchg_rtn_b"),
    ("add", "add_rtn_u"),
    ("sub", "sub_rtn_u"),
    ("smin", "min_rtn_i"),
    ("umin", "min_rtn_u"),
    ("smax", "max_rtn_i"),
    ("umax", "max_rtn_u"),
    ("and", "and_rtn_b"),
    ("or", "or_rtn_b"),
    ("xor", "xor_rtn_b"),
    ("inc", "inc_rtn_u"),
    ("dec", "dec_rtn_u"),
];

/// A machine whose v[2:3] hold `value` and whose memory, and LDS at 0, hold `old`.
fn machine(old: u64, value: u64) -> (Machine, u64) {
    let mut machine = Machine::new();
    let base = machine.allocate_with(&old.to_le_bytes());
    machine.wave.exec = 1;
    machine.set(0, |_| 0);
    machine.set_wide(4, |_| old);
    let mut write = inst(Format::Ds, Op::ds_write_b64);
    (write.src[0], write.src[1]) = (v(0), v(4));
    machine.run(write).unwrap();
    machine.set_wide(2, |_| value);
    (machine, base)
}

fn interesting() -> impl Strategy<Value = u64> {
    let edge = prop::sample::select(vec![0, 1, 0x7fff_ffff, 0x8000_0000, u64::MAX, 1 << 63]);
    prop_oneof![any::<u64>(), edge, 0..4_u64]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn integers_are_as_in_wider_ones(
        which in 0..12_usize,
        wide: bool,
        sc0: bool,
        old in interesting(),
        value in interesting(),
    ) {
        let (name, model) = MODELS[which];
        let bits = if wide { 64 } else { 32 };
        let mask = if wide { u64::MAX } else { 0xffff_ffff };
        let new = model((old & mask).into(), (value & mask).into(), bits) as u64 & mask | old & !mask;
        let suffix = if wide { "_x2" } else { "" };
        let (mut machine, base) = machine(old, value);
        let mut atomic = inst(Format::Global, op(&format!("global_atomic_{name}{suffix}")));
        machine.set_wide(0, |_| base);
        atomic.src[0] = v(0);
        atomic.src[1] = v(2);
        if sc0 {
            (atomic.dst, atomic.flags) = (v(6), Flags::SC0);
        }
        machine.run(atomic).unwrap();
        prop_assert_eq!(machine.read(base, 8), new.to_le_bytes(), "{}", name);
        let expected = if sc0 { old as u32 } else { 0x5555_5555 };
        prop_assert_eq!(machine.get(6, 0), expected);
        prop_assert_eq!(machine.get(7, 0), if sc0 && wide { (old >> 32) as u32 } else { 0x5555_5555 });

        let mut ds = inst(Format::Ds, op(&format!("ds_{}{bits}", DS_NAMES[which].1)));
        machine.set(0, |_| 0);
        (ds.dst, ds.src[0], ds.src[1]) = (v(6), v(0), v(2));
        machine.run(ds).unwrap();
        prop_assert_eq!(&machine.lds.bytes()[..8], new.to_le_bytes(), "{:?}", ds.op);
        prop_assert_eq!(machine.get(6, 0), old as u32);
    }
}

#[test]
fn compares_have_their_operands_in_different_orders() {
    for (memory, expected) in [(10, 99), (11, 11)] {
        // VMEM: the new value, then what it is compared with.
        let (mut machine, base) = machine(memory, 99 | 10 << 32);
        machine.set_wide(0, |_| base);
        let mut swap = inst(Format::Global, Op::global_atomic_cmpswap);
        (swap.src[0], swap.src[1]) = (v(0), v(2));
        machine.run(swap).unwrap();
        assert_eq!(machine.read(base, 8), u64::to_le_bytes(expected));
        // LDS: what it is compared with, then the new value.
        machine.set(0, |_| 0);
        machine.set_wide(2, |_| 10);
        machine.set_wide(4, |_| 99);
        let mut store = inst(Format::Ds, Op::ds_cmpst_rtn_b64);
        (store.dst, store.src) = (v(6), [v(0), v(2), v(4), Operand::NONE]);
        machine.run(store).unwrap();
        assert_eq!(machine.lds.bytes()[..8], u64::to_le_bytes(expected));
        assert_eq!(machine.get(6, 0), memory as u32);
    }
    let (mut machine, base) = machine(7, 8);
    machine.set_wide(0, |_| base);
    machine.set_wide(4, |_| 7);
    let mut swap = inst(Format::Global, Op::global_atomic_cmpswap_x2);
    (swap.src[0], swap.src[1]) = (v(0), v(2));
    machine.run(swap).unwrap();
    assert_eq!(machine.read(base, 8), u64::to_le_bytes(8));
}

#[test]
fn only_lds_has_these() {
    // Operation, memory, first and second operand, what memory becomes.
    for (op, memory, first, second, expected) in [
        (Op::ds_rsub_rtn_u32, 3, 10, 0, 7),
        (Op::ds_mskor_rtn_b32, 0b1111_0000, 0b0011_0000, 0b0001_0001, 0b1101_0001),
        (Op::ds_wrap_rtn_b32, 10, 3, 100, 7),
        (Op::ds_wrap_rtn_b32, 2, 3, 100, 102),
    ] {
        let (mut machine, _) = machine(memory, first);
        machine.set(4, |_| second);
        let mut atomic = inst(Format::Ds, op);
        (atomic.dst, atomic.src) = (v(6), [v(0), v(2), v(4), Operand::NONE]);
        machine.run(atomic).unwrap();
        assert_eq!(machine.lds.bytes()[..4], u32::to_le_bytes(expected), "{op:?}");
    }
}

#[test]
fn lanes_take_turns() {
    let (mut machine, base) = machine(100, 0);
    machine.wave.exec = ALL;
    machine.set_wide(0, |_| base);
    machine.set(2, |lane| lane as u32);
    let mut add = inst(Format::Global, Op::global_atomic_add);
    (add.dst, add.src[0], add.src[1], add.flags) = (v(3), v(0), v(2), Flags::SC0);
    machine.run(add).unwrap();
    assert_eq!(machine.read(base, 4), u32::to_le_bytes(100 + 63 * 64 / 2));
    let mut sum = 100;
    for lane in 0..64 {
        assert_eq!(machine.get(3, lane), sum);
        sum += lane as u32;
    }
}

#[test]
fn crooked_addresses_are_a_trap() {
    let (mut machine, base) = machine(0, 0);
    let mut add = inst(Format::Global, Op::global_atomic_add_x2);
    (add.src[0], add.src[1]) = (v(0), v(2));
    machine.set_wide(0, |_| base + 4);
    let Err(Trap::Memory { access: "atomic", reason, .. }) = machine.run(add) else {
        panic!("no trap")
    };
    assert_eq!(reason, "an atomic must be at a multiple of its 8 bytes");
    let mut add = inst(Format::Ds, Op::ds_add_u32);
    (add.src[0], add.src[1], add.offset) = (v(0), v(2), 2);
    machine.set(0, |_| 0);
    assert!(matches!(machine.run(add), Err(Trap::Memory { .. })));
}

#[test]
fn threads_do_not_lose_updates() {
    const THREADS: u32 = 4;
    const ROUNDS: u32 = 200;
    let arena =
        Arena::new(ArenaConfig { capacity: 1 << 20, poison: 0, ..ArenaConfig::default() }).unwrap();
    let base = arena.allocate(16, MemoryKind::Device).unwrap();
    let worker = || {
        let mut wave = Wave::new(0, Mode(0xf0), ALL, 0);
        let (mut lds, mut scratch) = (Lds::new(0, 0), Scratch::new(0, 0));
        *wave.vector_mut(0) = [base as u32; 64];
        *wave.vector_mut(1) = [(base >> 32) as u32; 64];
        *wave.vector_mut(2) = [1; 64];
        *wave.vector_mut(4) = [1_f32.to_bits(); 64];
        let mut integer = inst(Format::Global, Op::global_atomic_add_x2);
        (integer.src[0], integer.src[1]) = (v(0), v(2));
        let mut float = inst(Format::Global, Op::global_atomic_add_f32);
        (float.src[0], float.src[1], float.offset) = (v(0), v(4), 8);
        for _ in 0..ROUNDS {
            for inst in [integer, float] {
                let (arena, lds, scratch) = (&arena, &mut lds, &mut scratch);
                let memory = Memory { arena, lds, scratch, clock: 0 };
                let (options, observer) = (&Options::default(), &mut ());
                let mut context = Context::new(memory, options, observer, WaveId::default());
                execute(&mut wave, &inst, &mut context).unwrap();
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(worker);
        }
    });
    let mut bytes = [0; 12];
    arena.read(base, &mut bytes).unwrap();
    let total = 64 * THREADS * ROUNDS;
    assert_eq!(bytes[..8], u64::from(total).to_le_bytes());
    assert_eq!(bytes[8..], (total as f32).to_le_bytes());
}
