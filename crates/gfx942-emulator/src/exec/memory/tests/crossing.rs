//! Swizzles and permutes against the manual's examples and formulas (12.12).

use super::*;

/// What the first 32 lanes get from `ds_swizzle_b32`, if lane `i` has `i + 1`.
fn swizzled(offset: u32) -> Vec<u32> {
    let mut machine = Machine::new();
    machine.set(0, |lane| lane as u32 + 1);
    let mut swizzle = inst(Format::Ds, Op::ds_swizzle_b32);
    (swizzle.dst, swizzle.src[0], swizzle.offset) = (v(0), v(0), offset as i32);
    machine.run(swizzle).unwrap();
    for lane in 0..32 {
        assert_eq!(machine.get(0, lane + 32), machine.get(0, lane) + 32, "both halves do the same");
    }
    (0..32).map(|lane| machine.get(0, lane)).collect()
}

fn hex(text: &str) -> Vec<u32> {
    text.split(',').map(|number| u32::from_str_radix(number, 16).unwrap()).collect()
}

#[test]
fn swizzles_as_in_the_manuals_examples() {
    let fft = "1,11,9,19,5,15,d,1d,3,13,b,1b,7,17,f,1f,2,12,a,1a,6,16,e,1e,4,14,c,1c,8,18,10,20";
    assert_eq!(swizzled(0xe000), hex(fft));
    let fft = "1,9,5,d,3,b,7,f,2,a,6,e,4,c,8,10,11,19,15,1d,13,1b,17,1f,12,1a,16,1e,14,1c,18,20";
    assert_eq!(swizzled(0xe010), hex(fft));
    assert_eq!(swizzled(0xe01f), (1..33).collect::<Vec<_>>());
    let left = "2,3,4,5,6,7,8,9,a,b,c,d,e,f,10,11,12,13,14,15,16,17,18,19,1a,1b,1c,1d,1e,1f,20,1";
    assert_eq!(swizzled(0xc000 | 1 << 5), hex(left));
    let right = "20,1,2,3,4,5,6,7,8,9,a,b,c,d,e,f,10,11,12,13,14,15,16,17,18,19,1a,1b,1c,1d,1e,1f";
    assert_eq!(swizzled(0xc000 | 1 << 10 | 1 << 5), hex(right));
    let odd = "1,4,3,6,5,8,7,a,9,c,b,e,d,10,f,12,11,14,13,16,15,18,17,1a,19,1c,1b,1e,1d,20,1f,2";
    assert_eq!(swizzled(0xc000 | 1 << 5 | 1), hex(odd));
    let even = "1f,2,1,4,3,6,5,8,7,a,9,c,b,e,d,10,f,12,11,14,13,16,15,18,17,1a,19,1c,1b,1e,1d,20";
    assert_eq!(swizzled(0xc000 | 1 << 10 | 1 << 5 | 1), hex(even));
}

#[test]
fn swizzles_by_masks_and_in_fours() {
    let reverse: Vec<u32> = (1..33).rev().collect();
    assert_eq!(swizzled(0x1f << 10 | 0x1f), reverse, "REVERSEX32");
    let swap: Vec<u32> = (0..32).map(|lane| (lane ^ 0x10) + 1).collect();
    assert_eq!(swizzled(0x10 << 10 | 0x1f), swap, "SWAPX16");
    let broadcast: Vec<u32> = (0..32).map(|lane| (lane & 0x18) + 5 + 1).collect();
    assert_eq!(swizzled(5 << 5 | 0x18), broadcast, "BCASTX8 of thread 5");
    let quad: Vec<u32> =
        (0..32).map(|lane| (lane & !3) + [1, 3, 0, 2][lane as usize % 4] + 1).collect();
    assert_eq!(swizzled(0x8000 | 2 << 6 | 3 << 2 | 1), quad);
}

#[test]
fn swizzles_read_0_from_lanes_that_are_off() {
    let mut machine = Machine::new();
    machine.set(0, |lane| lane as u32 + 1);
    machine.wave.exec = 0b1010;
    let mut swizzle = inst(Format::Ds, Op::ds_swizzle_b32);
    (swizzle.dst, swizzle.src[0], swizzle.offset) = (v(1), v(0), 0x8000 | 2 << 6 | 3 << 2);
    machine.run(swizzle).unwrap();
    // Lane 1 reads lane 3, lane 3 reads lane 2.
    let row: Vec<_> = (0..4).map(|lane| machine.get(1, lane)).collect();
    assert_eq!(row, [0x5555_5555, 4, 0x5555_5555, 0]);
}

/// The manual's examples have four lanes: the first four here, with nobody else in the way.
fn permuted(op: Op, exec: u64, offset: i32) -> [u32; 4] {
    let mut machine = Machine::new();
    machine.set(0, |lane| [0, 0, 12, 4].get(lane).map_or(4 * lane as u32, |address| *address));
    machine.set(1, |lane| 0xa + lane as u32);
    machine.wave.exec = exec;
    let mut permute = inst(Format::Ds, op);
    (permute.dst, permute.src[0], permute.src[1], permute.offset) = (v(2), v(0), v(1), offset);
    machine.run(permute).unwrap();
    [0, 1, 2, 3].map(|lane| machine.get(2, lane))
}

#[test]
fn permutes_as_in_the_manuals_examples() {
    const OFF: u32 = 0x5555_5555;
    assert_eq!(permuted(Op::ds_permute_b32, 0xf, 0), [0xb, 0xd, 0, 0xc]);
    assert_eq!(permuted(Op::ds_permute_b32, 0xa, 0), [OFF, 0xd, OFF, 0]);
    assert_eq!(permuted(Op::ds_bpermute_b32, 0xf, 0), [0xa, 0xa, 0xd, 0xb]);
    assert_eq!(permuted(Op::ds_bpermute_b32, 0xa, 0), [OFF, 0, OFF, 0xb]);
    assert_eq!(permuted(Op::ds_bpermute_b32, ALL, 0), [0xa, 0xa, 0xd, 0xb]);
    assert_eq!(
        permuted(Op::ds_bpermute_b32, ALL, 4),
        [0xb, 0xb, 0xe, 0xc],
        "an offset of one lane"
    );
    assert_eq!(permuted(Op::ds_bpermute_b32, ALL, 256), [0xa, 0xa, 0xd, 0xb], "64 lanes on");
}
