//! GLOBAL and FLAT loads and stores.

use proptest::prelude::*;

use super::*;
use crate::exec::memory::{PRIVATE_BASE, SHARED_BASE};

/// Bytes of the memory that the property tests use: two chunks and some.
const SIZE: usize = 150_001;

fn global(name: &str) -> Inst {
    inst(Format::Global, op(name))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn loads_are_as_in_a_slice(
        kind in prop::sample::select(&LOADS[..]),
        exec in prop_oneof![Just(ALL), any::<u64>()],
        offset in -4096..4096_i32,
        with_base: bool,
        acc: bool,
        start in 0..SIZE - 16 - 64 * 40,
        stride in 0..40_usize,
    ) {
        let (name, num_bytes, signed, part) = kind;
        let bytes = pattern(SIZE);
        let mut machine = Machine::new();
        let base = machine.allocate_with(&bytes);
        machine.wave.exec = exec;
        let at = |lane: usize| start + stride * lane;
        let mut inst = global(&format!("global_load_{name}"));
        inst.dst = if acc { Operand::acc(8) } else { v(8) };
        inst.offset = offset;
        if with_base {
            // The 32-bit offset is unsigned, so the base has to lie below.
            machine.wave.set_scalar64(4, base.wrapping_sub(1 << 20));
            machine.set(0, |lane| (at(lane) as i32 - offset + (1 << 20)) as u32);
            inst.src = [v(0), Operand::NONE, s(4), Operand::NONE];
        } else {
            machine.set_wide(0, |lane| (base + at(lane) as u64).wrapping_sub(offset as u64));
            inst.src[0] = v(0);
        }
        machine.run(inst).unwrap();
        let dst = if acc { 256 + 8 } else { 8 };
        for lane in 0..64 {
            let mut expected = loaded(&bytes[at(lane)..at(lane) + num_bytes], signed, part);
            if exec >> lane & 1 == 0 {
                expected.fill(0x5555_5555);
            }
            expected.push(0x5555_5555);
            for (i, &value) in expected.iter().enumerate() {
                prop_assert_eq!(machine.get(dst + i, lane), value, "lane {}, dword {}", lane, i);
            }
        }
        if exec != 0 {
            let seen = &machine.recorder.0[0];
            prop_assert_eq!(seen.lanes, exec);
            prop_assert_eq!(seen.num_bytes, num_bytes);
            prop_assert_eq!(seen.first_address, base + at(exec.trailing_zeros() as usize) as u64);
        }
    }

    #[test]
    fn stores_are_as_in_a_slice(
        kind in prop::sample::select(&STORES[..]),
        exec in prop_oneof![Just(ALL), any::<u64>()],
        start in 0..SIZE - 16 - 64 * 40,
        stride in 16..40_usize,
        flat: bool,
    ) {
        let (name, num_bytes, first_byte) = kind;
        let mut bytes = pattern(SIZE);
        let mut machine = Machine::new();
        let base = machine.allocate_with(&bytes);
        machine.wave.exec = exec;
        let at = |lane: usize| start + stride * lane;
        machine.set_wide(0, |lane| base + at(lane) as u64);
        for i in 0..4 {
            machine.set(4 + i, |lane| (lane as u32 + 1).wrapping_mul(0x0501_0307) + i as u32);
        }
        let mut inst = if flat {
            inst(Format::Flat, op(&format!("flat_store_{name}")))
        } else {
            global(&format!("global_store_{name}"))
        };
        inst.src = [v(0), v(4), Operand::NONE, Operand::NONE];
        machine.run(inst).unwrap();
        for lane in (0..64).filter(|lane| exec >> lane & 1 != 0) {
            let data: Vec<u8> = (0..4).flat_map(|i| machine.get(4 + i, lane).to_le_bytes()).collect();
            bytes[at(lane)..at(lane) + num_bytes]
                .copy_from_slice(&data[first_byte..first_byte + num_bytes]);
        }
        prop_assert_eq!(machine.read(base, SIZE), bytes);
    }
}

#[test]
fn a_lane_outside_is_a_trap_that_names_it() {
    let mut machine = Machine::new();
    let base = machine.allocate(256);
    machine.set_wide(0, |lane| base + 4 * lane as u64 + if lane >= 40 { 1000 } else { 0 });
    let mut load = global("global_load_dword");
    (load.dst, load.src[0]) = (v(2), v(0));
    let Err(Trap::Memory { lane, access, address, num_bytes, reason }) = machine.run(load) else {
        panic!("no trap");
    };
    assert_eq!((lane, access, address, num_bytes), (40, "load", base + 1160, 4));
    assert!(
        reason.starts_with("904 bytes past the end of the allocation of 256 bytes"),
        "{reason}"
    );
    // Switched off, it is nobody's business.
    machine.wave.exec = (1 << 40) - 1;
    machine.run(load).unwrap();
    // A store that hangs over the end is one as well.
    machine.wave.exec = ALL;
    machine.set_wide(0, |_| base + 252);
    let mut store = global("global_store_dwordx2");
    (store.src[0], store.src[1]) = (v(0), v(2));
    assert!(machine.run(store).is_err());
}

#[test]
fn addresses_of_loads_may_be_where_the_data_goes() {
    let mut machine = Machine::new();
    let base = machine.allocate_with(&pattern(1024));
    machine.set_wide(0, |lane| base + 16 * lane as u64);
    let mut load = global("global_load_dwordx4");
    (load.dst, load.src[0]) = (v(0), v(0));
    machine.run(load).unwrap();
    let bytes = machine.read(base, 1024);
    let dword = |i: usize| u32::from_le_bytes(bytes[4 * i..4 * i + 4].try_into().unwrap());
    for lane in 0..64 {
        for i in 0..4 {
            assert_eq!(machine.get(i, lane), dword(4 * lane + i));
        }
    }
}

#[test]
fn registers_past_the_last_are_a_trap() {
    let mut machine = Machine::new();
    let base = machine.allocate(256);
    machine.set_wide(0, |_| base);
    let mut load = global("global_load_dwordx4");
    (load.dst, load.src[0]) = (v(253), v(0));
    assert!(matches!(machine.run(load), Err(Trap::Undefined(_))));
    (load.dst, load.src[0]) = (v(252), v(255));
    assert!(matches!(machine.run(load), Err(Trap::Undefined(_))));
    (load.dst, load.src[0]) = (v(252), v(0));
    machine.run(load).unwrap();
}

#[test]
fn flat_addresses_say_which_memory() {
    let mut machine = Machine::new();
    let base = machine.allocate(256);
    let place = |lane: usize| match lane % 3 {
        0 => base,
        1 => SHARED_BASE,
        _ => PRIVATE_BASE,
    };
    machine.set_wide(0, |lane| place(lane) + if lane % 3 == 2 { 8 } else { 4 * lane as u64 % 256 });
    machine.set(2, |lane| 1000 + lane as u32);
    let mut store = inst(Format::Flat, Op::flat_store_dword);
    (store.src[0], store.src[1]) = (v(0), v(2));
    machine.run(store).unwrap();
    let mut load = inst(Format::Flat, Op::flat_load_dword);
    (load.dst, load.src[0]) = (v(3), v(0));
    machine.run(load).unwrap();
    for lane in 0..64 {
        assert_eq!(machine.get(3, lane), 1000 + lane as u32);
    }
    assert_eq!(machine.lds.bytes()[4..8], 1001_u32.to_le_bytes());
    assert_eq!(machine.read(base + 12, 4), 1003_u32.to_le_bytes());
    let spaces: Vec<_> = machine.recorder.0.iter().map(|seen| seen.space).collect();
    assert_eq!(spaces[..3], [Space::Global, Space::Lds, Space::Scratch]);
    // Between the apertures is nothing.
    machine.set_wide(0, |_| SHARED_BASE + (1 << 32));
    assert!(machine.run(load).is_err());
}

#[test]
fn loads_go_to_lds_directly() {
    let mut machine = Machine::new();
    let bytes = pattern(1024);
    let base = machine.allocate_with(&bytes);
    machine.set_wide(0, |lane| base + 4 * (63 - lane as u64));
    machine.wave.set_scalar(124, 0xfffc_0103);
    machine.wave.exec = !2;
    let mut load = global("global_load_lds_dword");
    (load.src[0], load.offset) = (v(0), 16);
    machine.run(load).unwrap();
    let lds = machine.lds.bytes();
    for lane in [0, 2, 63] {
        let from = 4 * (63 - lane) + 16;
        assert_eq!(lds[0x110 + 4 * lane..][..4], bytes[from..from + 4], "lane {lane}");
    }
    assert_eq!(lds[0x114..0x118], POISON.to_le_bytes(), "an inactive lane leaves a hole");
    let mut load = global("global_load_lds_sbyte");
    load.src[0] = v(0);
    machine.run(load).unwrap();
    let expected = i32::from(bytes[4 * 63] as i8);
    assert_eq!(machine.lds.bytes()[0x100..0x104], expected.to_le_bytes());
    // Lanes that would write past the end of LDS load nothing.
    machine.wave.set_scalar(124, 4096 - 8);
    machine.set_wide(0, |lane| if lane < 2 { base } else { 0 });
    machine.run(load).unwrap();
    assert_eq!(machine.recorder.0.last().unwrap().outside, ALL << 2);
}
