//! SMEM.

use super::*;

fn smem(op: Op) -> Inst {
    let mut inst = inst(Format::Smem, op);
    (inst.dst, inst.src[0]) = (s(16), s(4));
    inst
}

/// A machine with the pattern in memory and its address in s[4:5].
fn machine() -> (Machine, u64) {
    let mut machine = Machine::new();
    let base = machine.allocate_with(&pattern(1024));
    machine.wave.set_scalar64(4, base);
    (machine, base)
}

fn dwords(at: usize, count: usize) -> Vec<u32> {
    loaded(&pattern(1024)[at..at + 4 * count], false, "")
}

fn scalars(machine: &Machine, count: u16) -> Vec<u32> {
    (16..16 + count).map(|code| machine.wave.scalar(code)).collect()
}

#[test]
fn loads_are_aligned_dwords() {
    for (op, count) in [
        (Op::s_load_dword, 1),
        (Op::s_load_dwordx2, 2),
        (Op::s_load_dwordx4, 4),
        (Op::s_load_dwordx8, 8),
        (Op::s_load_dwordx16, 16),
    ] {
        let (mut machine, base) = machine();
        machine.wave.exec = 0;
        let mut load = smem(op);
        (load.src[1], load.offset, load.flags) = (s(8), 35, Flags::IMM);
        machine.wave.set_scalar(8, 66);
        machine.run(load).unwrap();
        assert_eq!(scalars(&machine, count), dwords(96, count.into()), "{op:?}");
        let seen = &machine.recorder.0[0];
        assert_eq!(
            (seen.space, seen.first_address, seen.num_bytes),
            (Space::Scalar, base + 96, 4 * usize::from(count))
        );
    }
}

#[test]
fn negative_offsets_reach_back_only_from_the_base() {
    let (mut machine, base) = machine();
    machine.wave.set_scalar64(4, base + 64);
    let mut load = smem(Op::s_load_dword);
    (load.offset, load.flags) = (-16, Flags::IMM);
    machine.run(load).unwrap();
    assert_eq!(scalars(&machine, 1), dwords(48, 1));
    load.src[1] = s(8);
    machine.wave.set_scalar(8, 8);
    assert!(matches!(machine.run(load), Err(Trap::Undefined(_))));
}

#[test]
fn outside_is_a_trap() {
    let (mut machine, _) = machine();
    let mut load = smem(Op::s_load_dwordx2);
    load.offset = 1020;
    assert!(matches!(machine.run(load), Err(Trap::Memory { lane: 0, num_bytes: 8, .. })));
    // As is a destination that does not hold the result.
    (load.offset, load.dst) = (0, Operand(107));
    assert!(matches!(machine.run(load), Err(Trap::Undefined(_))));
    load.dst = Operand::VCC;
    machine.run(load).unwrap();
    load.dst = Operand::EXEC;
    assert!(matches!(machine.run(load), Err(Trap::Undefined(_))));
}

#[test]
fn buffers_end_at_their_size() {
    for (stride, records, size) in [(0, 100, 100), (16, 5, 80)] {
        let (mut machine, base) = machine();
        let words = [base as u32, (base >> 32) as u32 | stride << 16, records, 4 << 15];
        for (code, word) in (4..).zip(words) {
            machine.wave.set_scalar(code, word);
        }
        let mut load = smem(Op::s_buffer_load_dwordx4);
        load.offset = size - 8;
        machine.run(load).unwrap();
        let mut expected = dwords(size as usize - 8, 2);
        expected.extend([0, 0]);
        assert_eq!(scalars(&machine, 4), expected);
        let mut store = smem(Op::s_buffer_store_dwordx4);
        store.offset = size - 8;
        for code in 16..20 {
            machine.wave.set_scalar(code, 1);
        }
        machine.run(store).unwrap();
        let mut bytes = pattern(1024);
        bytes[size as usize - 8..size as usize].copy_from_slice(&[1, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(machine.read(base, 1024), bytes);
    }
}

#[test]
fn stores_atomics_and_scratch() {
    let (mut machine, base) = machine();
    machine.wave.set_scalar64(16, 0x1122_3344_5566_7788);
    let mut store = smem(Op::s_store_dwordx2);
    store.offset = 8;
    machine.run(store).unwrap();
    assert_eq!(machine.read(base + 8, 8), 0x1122_3344_5566_7788_u64.to_le_bytes());
    let mut add = smem(Op::s_atomic_add_x2);
    (add.offset, add.flags) = (8, Flags::GLC);
    machine.wave.set_scalar64(16, 1);
    machine.run(add).unwrap();
    assert_eq!(machine.wave.scalar64(16), 0x1122_3344_5566_7788);
    assert_eq!(machine.read(base + 8, 8), 0x1122_3344_5566_7789_u64.to_le_bytes());
    // New value, then what it is compared with.
    let mut swap = smem(Op::s_atomic_cmpswap);
    swap.offset = 8;
    machine.wave.set_scalar(16, 5);
    machine.wave.set_scalar(17, 0x5566_7789);
    machine.run(swap).unwrap();
    assert_eq!(machine.wave.scalar(16), 5, "no glc, no result");
    assert_eq!(machine.read(base + 8, 4), 5_u32.to_le_bytes());
    let mut load = smem(Op::s_scratch_load_dword);
    (load.src[1], load.offset) = (s(8), 4);
    machine.wave.set_scalar(8, 4);
    machine.run(load).unwrap();
    assert_eq!(scalars(&machine, 1), dwords(4 * 64 + 4, 1));
}

#[test]
fn clocks_run_at_their_rates() {
    let (mut machine, _) = machine();
    machine.run(smem(Op::s_memtime)).unwrap();
    assert_eq!(machine.wave.scalar64(16), 2100);
    machine.run(smem(Op::s_memrealtime)).unwrap();
    assert_eq!(machine.wave.scalar64(16), 100);
    for op in [Op::s_dcache_inv, Op::s_dcache_wb, Op::s_dcache_inv_vol, Op::s_dcache_wb_vol] {
        machine.run(inst(Format::Smem, op)).unwrap();
    }
}
