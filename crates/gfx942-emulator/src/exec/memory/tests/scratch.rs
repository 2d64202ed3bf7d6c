//! SCRATCH loads and stores.

use super::*;

fn scratch(name: &str) -> Inst {
    inst(Format::Scratch, op(&format!("scratch_{name}")))
}

#[test]
fn every_lane_has_its_own_in_every_addressing_mode() {
    // ST, SS, SV, SVS: the address is 20 each time.
    for (vector, scalar, offset) in
        [(None, None, 20), (None, Some(36), -16), (Some(8), None, 12), (Some(28), Some(4), -12)]
    {
        let mut machine = Machine::new();
        machine.set(0, |_| vector.unwrap_or(0));
        machine.wave.set_scalar(4, scalar.unwrap_or(0));
        let address = if vector.is_some() { v(0) } else { Operand::NONE };
        let base = if scalar.is_some() { s(4) } else { Operand::NONE };
        machine.set(2, |lane| lane as u32 * 0x0101_0101);
        machine.set(3, |lane| !(lane as u32));
        machine.wave.exec = !0xf0;
        let mut store = scratch("store_dwordx2");
        (store.src, store.offset) = ([address, v(2), base, Operand::NONE], offset);
        machine.run(store).unwrap();
        machine.wave.exec = ALL;
        let mut load = scratch("load_dwordx2");
        (load.dst, load.src, load.offset) =
            (v(4), [address, Operand::NONE, base, Operand::NONE], offset);
        machine.run(load).unwrap();
        // The same bytes, one at a time, by another way.
        let mut byte = scratch("load_ubyte");
        (byte.dst, byte.src[0]) = (v(6), v(7));
        machine.set(7, |lane| 20 + lane as u32 % 8);
        machine.run(byte).unwrap();
        for lane in 0..64 {
            let poisoned = 0xf0_u64 >> lane & 1 != 0;
            let expected =
                if poisoned { [POISON; 2] } else { [lane as u32 * 0x0101_0101, !(lane as u32)] };
            assert_eq!(
                [machine.get(4, lane), machine.get(5, lane)],
                expected,
                "{vector:?} {scalar:?}"
            );
            let bytes: Vec<u8> = expected.iter().flat_map(|dword| dword.to_le_bytes()).collect();
            assert_eq!(machine.get(6, lane), u32::from(bytes[lane % 8]));
        }
        assert_eq!(machine.recorder.0[0].first_address, 20);
    }
}

#[test]
fn unaligned_dwords_keep_their_neighbours() {
    let mut machine = Machine::new();
    machine.set(0, |lane| lane as u32 % 8);
    machine.set(1, |_| 0x0403_0201);
    let mut store = scratch("store_dword");
    (store.src[0], store.src[1], store.offset) = (v(0), v(1), 5);
    machine.run(store).unwrap();
    let mut load = scratch("load_dwordx4");
    load.dst = v(2);
    machine.run(load).unwrap();
    for lane in 0..64 {
        let mut expected = POISON.to_le_bytes().repeat(4);
        let at = 5 + lane % 8;
        let end = (at + 4).min(16);
        expected[at..end].copy_from_slice(&[1, 2, 3, 4][..end - at]);
        let data: Vec<u8> = (2..6).flat_map(|i| machine.get(i, lane).to_le_bytes()).collect();
        assert_eq!(data, expected, "lane {lane}");
    }
}

#[test]
fn outside_is_a_trap() {
    let mut machine = Machine::new();
    let mut load = scratch("load_dwordx2");
    load.dst = v(2);
    for (offset, inside) in [(0, true), (56, true), (60, false), (64, false), (-4, false)] {
        load.offset = offset;
        assert_eq!(machine.run(load).is_ok(), inside, "at {offset}");
    }
    load.src[0] = v(0);
    machine.set(0, |lane| if lane == 50 { 62 } else { 0 });
    load.offset = 0;
    let (lane, address) = (50, 62);
    let trap = Trap::Scratch { lane, access: "load", address, num_bytes: 8, scratch_bytes: 64 };
    assert_eq!(machine.run(load), Err(trap));
}

#[test]
fn scratch_goes_to_lds_directly() {
    let mut machine = Machine::new();
    machine.set(1, |lane| 0x8000_0080 + lane as u32);
    let mut store = scratch("store_dword");
    (store.src[1], store.offset) = (v(1), 8);
    machine.run(store).unwrap();
    machine.wave.set_scalar(124, 16);
    let mut load = scratch("load_lds_sbyte");
    load.offset = 8;
    machine.run(load).unwrap();
    for lane in 0..64 {
        let expected = (0x80 + lane as u8) as i8 as i32;
        assert_eq!(machine.lds.bytes()[24 + 4 * lane..][..4], expected.to_le_bytes());
    }
}
