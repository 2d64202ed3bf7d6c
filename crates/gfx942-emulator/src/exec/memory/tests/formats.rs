//! Format loads and stores.

use super::*;

/// A machine with `element` in memory and a resource of these formats in s[8:11].
fn machine(element: &[u8], data_format: u32, num_format: u32, select: [u32; 4]) -> (Machine, u64) {
    let mut machine = Machine::new();
    let base = machine.allocate_with(element);
    let [x, y, z, w] = select;
    let flags = x | y << 3 | z << 6 | w << 9 | num_format << 12 | data_format << 15;
    let words = [base as u32, (base >> 32) as u32, element.len() as u32, flags, 0];
    for (code, word) in (8..).zip(words) {
        machine.wave.set_scalar(code, word);
    }
    (machine, base)
}

const IDENTITY: [u32; 4] = [4, 5, 6, 7];

fn buffer(op: Op) -> Inst {
    let mut inst = inst(Format::Mubuf, op);
    (inst.dst, inst.src) = (v(4), [Operand::NONE, v(4), s(8), s(12)]);
    inst
}

/// The registers after a load of four components.
fn load(element: &[u8], data_format: u32, num_format: u32) -> [u32; 4] {
    let (mut machine, _) = machine(element, data_format, num_format, IDENTITY);
    machine.run(buffer(Op::buffer_load_format_xyzw)).unwrap();
    let loaded = [4, 5, 6, 7].map(|register| machine.get(register, 17));
    // MTBUF says the same with formats of its own.
    let (mut machine, _) = self::machine(element, 4, 7, [0, 0, 0, 0]);
    let mut typed = buffer(Op::tbuffer_load_format_xyzw);
    (typed.format, typed.buffer_format) = (Format::Mtbuf, (data_format | num_format << 4) as u8);
    machine.run(typed).unwrap();
    assert_eq!([4, 5, 6, 7].map(|register| machine.get(register, 17)), loaded);
    loaded
}

fn floats(values: [f32; 4]) -> [u32; 4] {
    values.map(f32::to_bits)
}

#[test]
fn components_are_converted() {
    assert_eq!(load(&[255, 0, 128, 51], 10, 0), floats([1.0, 0.0, 128.0 / 255.0, 0.2]), "unorm");
    assert_eq!(load(&[127, 0x80, 0x81, 0], 10, 1), floats([1.0, -1.0, -1.0, 0.0]), "snorm");
    assert_eq!(load(&[255, 1], 3, 2), floats([255.0, 1.0, 0.0, 0.0]), "uscaled");
    assert_eq!(load(&[255, 1], 3, 3), floats([-1.0, 1.0, 0.0, 0.0]), "sscaled");
    assert_eq!(load(&[0x34, 0x92], 2, 4), [0x9234, 0, 0, 0], "uint");
    assert_eq!(load(&[0x34, 0x92], 2, 5), [0xffff_9234, 0, 0, 0], "sint");
    let halves = [0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00, 0x00, 0x7c];
    assert_eq!(load(&halves, 12, 7), floats([1.0, -2.0, 5.960_464_5e-8, f32::INFINITY]), "f16");
    let wide: Vec<u8> = (1..=12).collect();
    assert_eq!(load(&wide, 13, 7), [0x0403_0201, 0x0807_0605, 0x0c0b_0a09, 0]);
    let packed = (3_u32 << 30 | 1 << 20 | 2 << 10 | 3).to_le_bytes();
    assert_eq!(load(&packed, 9, 4), [3, 2, 1, 3], "2_10_10_10: the last is the highest");
    let packed = (1_u32 << 22 | 2 << 12 | 3 << 2 | 1).to_le_bytes();
    assert_eq!(load(&packed, 8, 4), [1, 3, 2, 1], "10_10_10_2");
    // 1.0 in 5 bits of exponent and 6 or 5 of mantissa.
    let small = (0x3c0_u32 | 0x3e0 << 11 | 0x1e0 << 22).to_le_bytes();
    assert_eq!(load(&small, 6, 7), floats([1.0, 1.5, 1.0, 0.0]), "10_11_11");
}

#[test]
fn destinations_are_selected() {
    let (mut machine, _) = machine(&[1, 2, 3, 4], 10, 4, [7, 0, 1, 4]);
    machine.run(buffer(Op::buffer_load_format_xyzw)).unwrap();
    assert_eq!([4, 5, 6, 7].map(|register| machine.get(register, 0)), [4, 0, 1, 1]);
    // Out of range, what is selected as one is still one.
    machine.wave.set_scalar(10, 0);
    machine.run(buffer(Op::buffer_load_format_xyzw)).unwrap();
    assert_eq!([4, 5, 6, 7].map(|register| machine.get(register, 0)), [0, 0, 1, 0]);
}

#[test]
fn d16_packs_two() {
    let (mut machine, _) = machine(&[255, 0, 51, 255], 10, 0, IDENTITY);
    machine.run(buffer(Op::buffer_load_format_d16_xyz)).unwrap();
    let half = |value| u32::from(half::f16::from_f32(value).to_bits());
    assert_eq!([machine.get(4, 0), machine.get(5, 0)], [half(1.0), half(0.2)]);
    machine.run(buffer(Op::buffer_load_format_d16_hi_x)).unwrap();
    assert_eq!(machine.get(4, 0), half(1.0) << 16);
}

#[test]
fn stores_convert_back() {
    for (data_format, num_format, element) in [
        (10, 0, &[255, 0, 128, 51][..]),
        (10, 1, &[127, 0x81, 3, 0]),
        (10, 4, &[1, 2, 3, 255]),
        (10, 5, &[1, 2, 3, 255]),
        (3, 2, &[9, 200]),
        (3, 3, &[9, 200]),
        (5, 7, &[0, 0x3c, 1, 0]),
        (14, 7, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]),
    ] {
        let (mut machine, base) = machine(element, data_format, num_format, IDENTITY);
        machine.run(buffer(Op::buffer_load_format_xyzw)).unwrap();
        machine.arena.fill(base, element.len() as u64, &[0]).unwrap();
        machine.run(buffer(Op::buffer_store_format_xyzw)).unwrap();
        assert_eq!(
            machine.read(base, element.len()),
            element,
            "dfmt {data_format}, nfmt {num_format}"
        );
    }
}

#[test]
fn what_the_manual_leaves_open_is_an_error() {
    let (mut machine, _) = machine(&[0; 4], 10, 4, IDENTITY);
    machine.set(4, |_| 256);
    let store = machine.run(buffer(Op::buffer_store_format_xyzw));
    assert!(matches!(store, Err(Trap::Unimplemented(_))), "256 in 8 bits");
    assert!(machine.run(buffer(Op::buffer_store_format_x)).is_err(), "one of four components");
    for (data_format, num_format) in [(15, 4), (4, 0), (10, 6), (1, 7)] {
        let (mut machine, _) = self::machine(&[0; 4], data_format, num_format, IDENTITY);
        let load = machine.run(buffer(Op::buffer_load_format_x));
        assert!(
            matches!(load, Err(Trap::Unimplemented(_))),
            "dfmt {data_format}, nfmt {num_format}"
        );
    }
}
