//! DS loads, stores and counters.

use proptest::prelude::*;

use super::*;

const SIZE: usize = 4096;

fn ds(op: Op) -> Inst {
    inst(Format::Ds, op)
}

/// A machine whose LDS holds the pattern.
fn machine() -> Machine {
    let mut machine = Machine::new();
    let bytes = pattern(SIZE);
    machine.wave.exec = 1;
    for (i, dword) in bytes.chunks(4).enumerate() {
        machine.set(0, |_| 4 * i as u32);
        machine.set(1, |_| u32::from_le_bytes(dword.try_into().unwrap()));
        let mut write = ds(Op::ds_write_b32);
        (write.src[0], write.src[1]) = (v(0), v(1));
        machine.run(write).unwrap();
    }
    assert_eq!(machine.lds.bytes(), bytes);
    machine.wave.exec = ALL;
    machine.recorder.0.clear();
    machine
}

const READS: [(Op, usize, bool, &str); 14] = [
    (Op::ds_read_b32, 4, false, ""),
    (Op::ds_read_b64, 8, false, ""),
    (Op::ds_read_b96, 12, false, ""),
    (Op::ds_read_b128, 16, false, ""),
    (Op::ds_read_u8, 1, false, ""),
    (Op::ds_read_i8, 1, true, ""),
    (Op::ds_read_u16, 2, false, ""),
    (Op::ds_read_i16, 2, true, ""),
    (Op::ds_read_u8_d16, 1, false, "low"),
    (Op::ds_read_u8_d16_hi, 1, false, "high"),
    (Op::ds_read_i8_d16, 1, true, "low"),
    (Op::ds_read_i8_d16_hi, 1, true, "high"),
    (Op::ds_read_u16_d16, 2, false, "low"),
    (Op::ds_read_u16_d16_hi, 2, false, "high"),
];

const WRITES: [(Op, usize, usize); 8] = [
    (Op::ds_write_b32, 4, 0),
    (Op::ds_write_b64, 8, 0),
    (Op::ds_write_b96, 12, 0),
    (Op::ds_write_b128, 16, 0),
    (Op::ds_write_b8, 1, 0),
    (Op::ds_write_b16, 2, 0),
    (Op::ds_write_b8_d16_hi, 1, 2),
    (Op::ds_write_b16_d16_hi, 2, 2),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn reads_are_as_in_a_slice(
        kind in prop::sample::select(&READS[..]),
        exec in prop_oneof![Just(ALL), any::<u64>()],
        offset in 0..65_536_usize,
        addresses in prop::collection::vec(0..SIZE + 64, 64),
    ) {
        let (op, num_bytes, signed, part) = kind;
        let mut machine = machine();
        let bytes = pattern(SIZE);
        machine.wave.exec = exec;
        machine.set(0, |lane| (addresses[lane] as u32).wrapping_sub(offset as u32));
        let mut read = ds(op);
        (read.dst, read.src[0], read.offset) = (v(4), v(0), offset as i32);
        machine.run(read).unwrap();
        let mut outside = 0;
        for lane in (0..64).filter(|lane| exec >> lane & 1 != 0) {
            let at = addresses[lane];
            let nothing = vec![0; num_bytes];
            let data = bytes.get(at..at + num_bytes).unwrap_or_else(|| {
                outside |= 1 << lane;
                &nothing
            });
            for (i, value) in loaded(data, signed, part).into_iter().enumerate() {
                prop_assert_eq!(machine.get(4 + i, lane), value, "lane {}, dword {}", lane, i);
            }
        }
        prop_assert_eq!(machine.recorder.0.last().map_or(0, |seen| seen.outside), outside);
    }

    #[test]
    fn writes_are_as_in_a_slice(
        kind in prop::sample::select(&WRITES[..]),
        exec in prop_oneof![Just(ALL), any::<u64>()],
        offset in 0..65_536_usize,
        addresses in prop::collection::vec(0..SIZE + 64, 64),
    ) {
        let (op, num_bytes, first_byte) = kind;
        let mut machine = machine();
        let mut bytes = pattern(SIZE);
        machine.wave.exec = exec;
        machine.set(0, |lane| (addresses[lane] as u32).wrapping_sub(offset as u32));
        for i in 0..4 {
            machine.set(4 + i, |lane| (lane as u32 + 1).wrapping_mul(0x0501_0307) + i as u32);
        }
        let mut write = ds(op);
        (write.src[0], write.src[1], write.offset) = (v(0), v(4), offset as i32);
        machine.run(write).unwrap();
        for lane in (0..64).filter(|lane| exec >> lane & 1 != 0) {
            let at = addresses[lane];
            let data: Vec<u8> = (0..4).flat_map(|i| machine.get(4 + i, lane).to_le_bytes()).collect();
            if let Some(bytes) = bytes.get_mut(at..at + num_bytes) {
                bytes.copy_from_slice(&data[first_byte..first_byte + num_bytes]);
            }
        }
        prop_assert_eq!(machine.lds.bytes(), bytes);
    }
}

#[test]
fn two_addresses_count_in_elements() {
    let bytes = pattern(SIZE);
    for (op, num_dwords, unit) in [
        (Op::ds_read2_b32, 1, 4),
        (Op::ds_read2_b64, 2, 8),
        (Op::ds_read2st64_b32, 1, 256),
        (Op::ds_read2st64_b64, 2, 512),
    ] {
        let mut machine = machine();
        machine.set(0, |lane| 8 * lane as u32);
        let (first, second) = (3, 5);
        let mut read = ds(op);
        // Over its own address.
        (read.dst, read.src[0], read.offset) = (v(0), v(0), first | second << 8);
        machine.run(read).unwrap();
        for lane in 0..64 {
            for (place, offset) in [first, second].into_iter().enumerate() {
                let at = 8 * lane + offset as usize * unit;
                for (i, value) in
                    loaded(&bytes[at..at + 4 * num_dwords], false, "").into_iter().enumerate()
                {
                    assert_eq!(
                        machine.get(num_dwords * place + i, lane),
                        value,
                        "{op:?} lane {lane}"
                    );
                }
            }
        }
    }
}

#[test]
fn two_stores_and_two_exchanges() {
    for (op, exchange, unit) in [
        (Op::ds_write2_b32, Op::ds_wrxchg2_rtn_b32, 4),
        (Op::ds_write2_b64, Op::ds_wrxchg2_rtn_b64, 8),
        (Op::ds_write2st64_b32, Op::ds_wrxchg2st64_rtn_b32, 256),
        (Op::ds_write2st64_b64, Op::ds_wrxchg2st64_rtn_b64, 512),
    ] {
        let num_dwords = if op.name().ends_with("b64") { 2 } else { 1 };
        let mut machine = machine();
        machine.wave.exec = 1 << 9;
        machine.set(0, |_| 64);
        for i in 0..4 {
            machine.set(4 + i, |_| 100 + i as u32);
            machine.set(8 + i, |_| 200 + i as u32);
        }
        let mut write = ds(op);
        (write.src, write.offset) = ([v(0), v(4), v(6), Operand::NONE], 1 | 2 << 8);
        machine.run(write).unwrap();
        let at = |machine: &Machine, place: usize| {
            loaded(&machine.lds.bytes()[64 + place * unit..][..4 * num_dwords], false, "")
        };
        assert_eq!(at(&machine, 1), (100..).take(num_dwords).collect::<Vec<_>>(), "{op:?}");
        assert_eq!(at(&machine, 2), (102..).take(num_dwords).collect::<Vec<_>>(), "{op:?}");
        let mut swap = ds(exchange);
        // The results go where the second operand is.
        (swap.dst, swap.src, swap.offset) = (v(10), [v(0), v(8), v(10), Operand::NONE], 1 | 2 << 8);
        machine.run(swap).unwrap();
        assert_eq!(at(&machine, 1), (200..).take(num_dwords).collect::<Vec<_>>(), "{exchange:?}");
        assert_eq!(at(&machine, 2), (202..).take(num_dwords).collect::<Vec<_>>(), "{exchange:?}");
        let old: Vec<_> = (0..2 * num_dwords).map(|i| machine.get(10 + i, 9)).collect();
        let expected = (100..).take(num_dwords).chain((102..).take(num_dwords));
        assert_eq!(old, expected.collect::<Vec<_>>(), "{exchange:?}");
    }
}

#[test]
fn lanes_address_by_their_number() {
    let mut machine = machine();
    machine.wave.set_scalar(124, 0xabcd_0100);
    machine.set(1, |lane| 7 * lane as u32);
    let mut write = ds(Op::ds_write_addtid_b32);
    (write.src[1], write.offset) = (v(1), 4);
    machine.run(write).unwrap();
    assert_eq!(machine.lds.bytes()[0x104 + 4 * 63..][..4], (7 * 63_u32).to_le_bytes());
    let mut read = ds(Op::ds_read_addtid_b32);
    (read.dst, read.offset) = (v(2), 8);
    machine.run(read).unwrap();
    assert_eq!(machine.get(2, 10), 77);
}

#[test]
fn counters_count_active_lanes() {
    let mut machine = machine();
    machine.wave.set_scalar(124, 64);
    machine.set(0, |_| 72);
    machine.set(1, |_| 1000);
    let mut write = ds(Op::ds_write_b32);
    (write.src[0], write.src[1]) = (v(0), v(1));
    machine.run(write).unwrap();
    machine.wave.exec = 0b1011_0000;
    let mut count = ds(Op::ds_append);
    (count.dst, count.offset) = (v(2), 8);
    machine.run(count).unwrap();
    assert_eq!(
        (machine.get(2, 4), machine.get(2, 7), machine.get(2, 6)),
        (1000, 1000, 0x5555_5555)
    );
    count.op = Op::ds_consume;
    machine.run(count).unwrap();
    machine.run(count).unwrap();
    assert_eq!(machine.get(2, 4), 1000);
    assert_eq!(machine.lds.bytes()[72..76], 997_u32.to_le_bytes());
}

#[test]
fn conditional_exchange_looks_at_the_highest_bit() {
    let mut machine = Machine::new();
    machine.wave.exec = 1;
    machine.set(0, |_| 12);
    machine.set(2, |_| 0x8000_0007);
    machine.set(3, |_| 0x7000_0007);
    let mut exchange = ds(Op::ds_condxchg32_rtn_b64);
    (exchange.dst, exchange.src[0], exchange.src[1]) = (v(4), v(0), v(2));
    machine.run(exchange).unwrap();
    assert_eq!(machine.lds.bytes()[8..12], 7_u32.to_le_bytes());
    assert_eq!(machine.lds.bytes()[12..16], POISON.to_le_bytes());
    assert_eq!((machine.get(4, 0), machine.get(5, 0)), (POISON, POISON));
}

#[test]
fn unknown_is_an_error() {
    let mut machine = machine();
    machine.set(0, |_| 0);
    for (op, gds) in [(Op::ds_gws_barrier, true), (Op::ds_gws_init, true), (Op::ds_read_b32, true)]
    {
        let mut inst = ds(op);
        (inst.dst, inst.src[0]) = (v(1), v(0));
        if gds {
            inst.flags = Flags::GDS;
        }
        assert_eq!(machine.run(inst), Err(Trap::Unimplemented(op.name().into())));
    }
}
