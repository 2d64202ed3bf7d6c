//! Buffer addressing, against the manual's formulas (9.1.5) written down once more.

use proptest::prelude::*;

use super::*;

/// A V# by its fields.
#[derive(Clone, Copy, Debug)]
struct Fields {
    base: u64,
    stride: u32,
    swizzle: bool,
    num_records: u32,
    index_stride: u32,
    add_tid: bool,
    data_format: u32,
    num_format: u32,
}

impl Fields {
    fn raw(base: u64, num_records: u32) -> Self {
        Self {
            base,
            stride: 0,
            swizzle: false,
            num_records,
            index_stride: 0,
            add_tid: false,
            data_format: 4,
            num_format: 7,
        }
    }

    fn words(self) -> [u32; 4] {
        let identity = 4 | 5 << 3 | 6 << 6 | 7 << 9;
        [
            self.base as u32,
            (self.base >> 32) as u32 | (self.stride & 0x3fff) << 16 | u32::from(self.swizzle) << 31,
            self.num_records,
            identity
                | self.num_format << 12
                | self.data_format << 15
                | self.index_stride << 21
                | u32::from(self.add_tid) << 23,
        ]
    }

    fn put(self, machine: &mut Machine) {
        for (code, word) in (8..).zip(self.words()) {
            machine.wave.set_scalar(code, word);
        }
    }
}

/// A buffer instruction with index, then offset, in v0 on, data in v4 on, the resource in s[8:11], and soffset in s12.
fn buffer(name: &str, flags: u16, offset: i32) -> Inst {
    let mut inst = inst(Format::Mubuf, op(name));
    inst.src = [v(0), v(4), s(8), s(12)];
    inst.dst = v(4);
    inst.flags = Flags(flags);
    inst.offset = offset;
    inst
}

const OFFEN: u16 = Flags::OFFEN.0;
const IDXEN: u16 = Flags::IDXEN.0;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn addresses_are_the_manuals(
        (idxen, add_tid, swizzle) in prop::sample::select(vec![
            (false, false, false),
            (true, false, false),
            (true, false, true),
            (false, true, true),
            (false, true, false),
        ]),
        offen: bool,
        dwords in 1..12_u32,
        index_stride in 0..4_u32,
        soffset in 0..64_u32,
        inst_offset in 0..64_u32,
        records in 0..200_u32,
        seed in any::<u32>(),
    ) {
        let stride = 4 * dwords;
        let index_of = |lane: usize| (lane as u32 * 7 + seed) % 90;
        let offset_of = |lane: usize| if offen { (lane as u32 * 5 + seed / 7) % 11 * 4 } else { 0 };
        let inst_offset = inst_offset / 4 * 4;
        let soffset = if swizzle { soffset / 4 * 4 } else { soffset };
        let mut machine = Machine::new();
        let base = machine.allocate(64 << 10);
        machine.arena.fill(base, 64 << 10, &[0]).unwrap();
        let fields = Fields {
            base, stride, swizzle, index_stride, add_tid,
            num_records: records,
            data_format: if add_tid { 0 } else { 4 },
            ..Fields::raw(base, 0)
        };
        fields.put(&mut machine);
        machine.wave.set_scalar(12, soffset);
        let mut registers = 0;
        if idxen {
            machine.set(registers, index_of);
            registers += 1;
        }
        if offen {
            machine.set(registers, offset_of);
        }
        // One lane at a time, so that lanes at one address do not matter.
        for lane in [0, 1, 9, 31, 32, 63] {
            machine.wave.exec = 1 << lane;
            machine.set(4, |_| 0xabcd_ef01);
            let flags = if offen { OFFEN } else { 0 } | if idxen { IDXEN } else { 0 };
            machine.run(buffer("buffer_store_dword", flags, inst_offset as i32)).unwrap();

            let index = if idxen { index_of(lane) } else { 0 } + if add_tid { lane as u32 } else { 0 };
            let offset = offset_of(lane) + inst_offset;
            let group = 8 << index_stride;
            let buffer_offset = if swizzle {
                (index / group * stride + offset / 4 * 4) * group + index % group * 4 + offset % 4
            } else {
                index * stride + offset
            };
            let out_of_range = match (add_tid, idxen) {
                (true, false) => false,
                (false, true) => index >= records,
                _ => offset >= records,
            };
            let expected = if out_of_range { 0 } else { 0xabcd_ef01_u32 };
            let address = base + u64::from(soffset + buffer_offset);
            prop_assert_eq!(machine.read(address, 4), expected.to_le_bytes(), "{:?} lane {}", fields, lane);
            machine.run(buffer("buffer_load_dword", flags, inst_offset as i32)).unwrap();
            prop_assert_eq!(machine.get(4, lane), expected);
            machine.arena.fill(address, 4, &[0]).unwrap();
        }
    }
}

#[test]
fn dwords_are_range_checked_one_by_one() {
    let mut machine = Machine::new();
    let bytes = pattern(4096);
    let base = machine.allocate_with(&bytes);
    Fields::raw(base, 1024).put(&mut machine);
    machine.wave.set_scalar(12, 0);
    machine.set(0, |lane| 16 * lane as u32 + 8);
    for i in 4..9 {
        machine.set(i, |_| 1);
    }
    machine.run(buffer("buffer_load_dwordx4", OFFEN, 0)).unwrap();
    for lane in 0..64 {
        for i in 0..4 {
            let at = 16 * lane + 8 + 4 * i;
            let expected = if at < 1024 {
                u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
            } else {
                0
            };
            assert_eq!(machine.get(4 + i, lane), expected, "lane {lane}, dword {i}");
        }
    }
    let mut expected = bytes;
    for i in 4..8 {
        machine.set(i, |_| 0);
    }
    machine.run(buffer("buffer_store_dwordx4", OFFEN, 0)).unwrap();
    expected[8..1024].fill(0);
    assert_eq!(machine.read(base, 4096), expected);
}

#[test]
fn huge_offsets_are_out_of_range_and_do_not_wrap() {
    let mut machine = Machine::new();
    let base = machine.allocate_with(&pattern(256));
    Fields::raw(base, 256).put(&mut machine);
    machine.wave.set_scalar(12, 0);
    for offset in [u32::MAX, 0x8000_0000, 256] {
        machine.set(0, |_| offset);
        machine.run(buffer("buffer_load_dword", OFFEN, 4)).unwrap();
        assert_eq!(machine.get(4, 0), 0, "at {offset:#x}");
    }
    assert!(machine.recorder.0.is_empty(), "nothing is accessed");
}

#[test]
fn a_buffer_does_not_reach_past_its_allocation() {
    let mut machine = Machine::new();
    let base = machine.allocate(256);
    Fields::raw(base, 1 << 20).put(&mut machine);
    machine.wave.set_scalar(12, 0);
    machine.set(0, |lane| 8 * lane as u32);
    let trap = machine.run(buffer("buffer_load_dword", OFFEN, 0));
    assert!(matches!(trap, Err(Trap::Memory { lane: 32, .. })));
}

#[test]
fn atomics_are_all_or_nothing() {
    let mut machine = Machine::new();
    let base = machine.allocate(256);
    machine.arena.fill(base, 256, &[0]).unwrap();
    Fields::raw(base, 252).put(&mut machine);
    machine.wave.set_scalar(12, 0);
    machine.wave.exec = 0b11;
    machine.set(0, |lane| if lane == 0 { 240 } else { 248 });
    machine.set_wide(4, |_| 5);
    machine.run(buffer("buffer_atomic_add_x2", OFFEN | Flags::SC0.0, 0)).unwrap();
    assert_eq!(machine.read(base + 240, 16), [[5, 0, 0, 0, 0, 0, 0, 0], [0; 8]].concat());
    assert_eq!((machine.get(4, 0), machine.get(4, 1)), (0, 0));
    machine.set_wide(4, |_| 1);
    machine.run(buffer("buffer_atomic_add_x2", OFFEN | Flags::SC0.0, 0)).unwrap();
    assert_eq!(machine.get(4, 0), 5, "the old value");
}

#[test]
fn an_unbound_resource_reads_0_and_drops_writes() {
    let mut machine = Machine::new();
    for code in 8..13 {
        machine.wave.set_scalar(code, 0);
    }
    machine.set(4, |_| 7);
    machine.run(buffer("buffer_store_dword", 0, 0)).unwrap();
    machine.run(buffer("buffer_load_dword", 0, 0)).unwrap();
    assert_eq!(machine.get(4, 63), 0);
}

#[test]
fn what_is_no_resource_is_an_error() {
    let mut machine = Machine::new();
    let base = machine.allocate(256);
    let check = |machine: &mut Machine, fields: Fields, word: Option<u32>, flags: u16| {
        fields.put(machine);
        if let Some(word) = word {
            machine.wave.set_scalar(11, word);
        }
        machine.wave.set_scalar(12, 0);
        machine.set(0, |_| 0);
        machine.run(buffer("buffer_load_dword", flags, 0))
    };
    let raw = Fields::raw(base, 256);
    assert_eq!(check(&mut machine, raw, Some(0x0002_7000), 0), Ok(()));
    assert!(matches!(check(&mut machine, raw, Some(0x8002_7000), 0), Err(Trap::Undefined(_))));
    let swizzled = Fields { swizzle: true, ..raw };
    assert!(matches!(check(&mut machine, swizzled, None, 0), Err(Trap::Unimplemented(_))));
    assert!(matches!(check(&mut machine, raw, None, IDXEN), Err(Trap::Unimplemented(_))));
    let structured = Fields { swizzle: true, stride: 16, ..raw };
    structured.put(&mut machine);
    let wide = machine.run(buffer("buffer_load_dwordx2", IDXEN, 0));
    assert!(matches!(wide, Err(Trap::Undefined(_))), "two dwords of a swizzled buffer");
}

#[test]
fn loads_go_to_lds_with_0_for_what_is_out_of_range() {
    let mut machine = Machine::new();
    let bytes = pattern(256);
    let base = machine.allocate_with(&bytes);
    Fields::raw(base, 128).put(&mut machine);
    machine.wave.set_scalar(12, 0);
    machine.wave.set_scalar(124, 512);
    machine.set(0, |lane| 4 * lane as u32);
    let mut load = buffer("buffer_load_dword", OFFEN | Flags::LDS.0, 4);
    load.dst = Operand::NONE;
    machine.run(load).unwrap();
    let lds = machine.lds.bytes();
    assert_eq!(lds[516..516 + 124], bytes[4..128]);
    assert_eq!(lds[516 + 124..516 + 256], [0; 132]);
    assert_eq!(lds[512..516], POISON.to_le_bytes());
    let spaces: Vec<_> = machine.recorder.0.iter().map(|seen| (seen.space, seen.lanes)).collect();
    assert_eq!(spaces, [(Space::Global, (1 << 31) - 1), (Space::Lds, ALL)]);
    machine.wave.set_scalar(124, 514);
    assert!(matches!(machine.run(load), Err(Trap::Undefined(_))));
}

#[test]
fn caches_do_nothing() {
    let mut machine = Machine::new();
    machine.run(inst(Format::Mubuf, Op::buffer_wbl2)).unwrap();
    machine.run(inst(Format::Mubuf, Op::buffer_inv)).unwrap();
}

#[test]
fn an_inline_constant_is_an_offset() {
    let mut machine = Machine::new();
    let bytes = pattern(256);
    let base = machine.allocate_with(&bytes);
    Fields::raw(base, 256).put(&mut machine);
    let mut load = buffer("buffer_load_ubyte", 0, 2);
    load.src[3] = Operand(128 + 33);
    machine.run(load).unwrap();
    assert_eq!(machine.get(4, 5), bytes[35].into());
}
