//! Every matrix instruction: operands laid out by `reference_cpu::matrix`, results compared with the plain product.
//!
//! The values are small integers, which every format holds and every order of summation adds exactly: what differs is
//! the layout or the product, not the rounding.

use engine_core::formats::{Fp8Format, Overflow};
use half::{bf16, f16};
use kernels_hip::ops::{MfmaProbe, Operands};
use kernels_hip::{Device, Stream};
use reference_cpu::matrix::{MatrixShape, Place, matrix_multiply_add};

use crate::{Bits, device};

const WAVE_SIZE: usize = 64;

/// A number format of A, B or D.
#[derive(Clone, Copy, Debug)]
struct Element {
    num_bits: usize,
    encode: fn(f64) -> u64,
}

impl Element {
    fn named(name: &str) -> Self {
        match name {
            "f64" => Element { num_bits: 64, encode: f64::to_bits },
            "f32" | "xf32" => Element { num_bits: 32, encode: |x| (x as f32).to_bits().into() },
            "i32" => Element { num_bits: 32, encode: |x| u64::from(x as i32 as u32) },
            "f16" => Element { num_bits: 16, encode: |x| f16::from_f64(x).to_bits().into() },
            "bf16" => Element { num_bits: 16, encode: |x| bf16::from_f64(x).to_bits().into() },
            "i8" => Element { num_bits: 8, encode: |x| u64::from(x as i8 as u8) },
            "fp8" => Element { num_bits: 8, encode: |x| fp8(Fp8Format::E4m3Fnuz, x) },
            "bf8" => Element { num_bits: 8, encode: |x| fp8(Fp8Format::E5m2Fnuz, x) },
            other => panic!("no element type {other}"),
        }
    }
}

fn fp8(format: Fp8Format, x: f64) -> u64 {
    format.encode(x as f32, Overflow::Special).into()
}

/// Bit fields of one size: `items` in each lane, lane after lane.
struct Operand {
    words: Vec<u32>,
    num_bits: usize,
    items: usize,
}

impl Operand {
    fn new(num_bits: usize, items: usize) -> Self {
        // The indices of a sparse A leave part of their register empty.
        Operand { words: vec![0; WAVE_SIZE * (num_bits * items).div_ceil(32)], num_bits, items }
    }

    fn put(&mut self, Place { lane, item }: Place, value: u64) {
        assert!(item < self.items && lane < WAVE_SIZE, "{lane} {item}");
        let words_per_lane = self.words.len() / WAVE_SIZE;
        let at = item * self.num_bits;
        let word = lane * words_per_lane + at / 32;
        if self.num_bits == 64 {
            self.words[word + 1] = (value >> 32) as u32;
        }
        self.words[word] |= (value as u32) << (at % 32);
    }
}

/// What the name of an instruction says: `mfma_f32_32x32x4_2b_f16`, `smfmac_i32_16x16x64_i8`,
/// `mfma_f32_16x16x32_fp8_bf8`.
struct Instruction {
    shape: MatrixShape,
    is_sparse: bool,
    a: Element,
    b: Element,
    d: Element,
}

impl Instruction {
    fn named(name: &str) -> Self {
        let words: Vec<&str> = name.split('_').collect();
        let sizes: Vec<usize> = words[2].split('x').map(|size| size.parse().unwrap()).collect();
        let blocks = words[3].strip_suffix('b').and_then(|blocks| blocks.parse().ok());
        let types = &words[if blocks.is_some() { 4 } else { 3 }..];
        Instruction {
            shape: MatrixShape {
                m: sizes[0],
                n: sizes[1],
                k: sizes[2],
                blocks: blocks.unwrap_or(1),
            },
            is_sparse: words[0] == "smfmac",
            a: Element::named(types[0]),
            b: Element::named(types[types.len() - 1]),
            d: Element::named(words[1]),
        }
    }

    fn is_f64(&self) -> bool {
        self.d.num_bits == 64
    }

    /// Every index of a matrix of so many rows and columns, in each block.
    fn indices(&self, rows: usize, columns: usize) -> impl Iterator<Item = [usize; 3]> {
        let blocks = self.shape.blocks;
        (0..blocks)
            .flat_map(move |b| (0..rows).flat_map(move |i| (0..columns).map(move |j| [b, i, j])))
    }
}

/// Integers from -4 to 4, as a function of where they stand.
fn value(matrix: u64, [block, i, j]: [usize; 3]) -> f64 {
    let mut bits = Bits(matrix << 48 | (block as u64) << 32 | (i as u64) << 16 | j as u64);
    bits.next();
    f64::from(bits.next() % 9) - 4.0
}

/// Which two of four values along K a sparse A stores, lower first.
fn stored_pair(i: usize, group: usize) -> [usize; 2] {
    const PAIRS: [[usize; 2]; 6] = [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]];
    PAIRS[(i * 5 + group * 7) % 6]
}

const A: u64 = 1;
const B: u64 = 2;
const C: u64 = 3;

fn check(device: &Device, stream: &Stream, probe: &MfmaProbe, name: &str) {
    let instruction = Instruction::named(name);
    let Instruction { shape, is_sparse, .. } = instruction;
    let MatrixShape { m, n, k, .. } = shape;
    let depth_of_a = if is_sparse { k / 2 } else { k };
    let mut a = Operand::new(instruction.a.num_bits, shape.items(m, depth_of_a));
    let mut index = Operand::new(2, a.items);
    for at in instruction.indices(m, depth_of_a) {
        let [block, i, stored] = at;
        let place = shape.input(m, depth_of_a, block, i, stored);
        a.put(place, (instruction.a.encode)(value(A, at)));
        index.put(place, stored_pair(i, stored / 2)[stored % 2] as u64);
    }
    let mut b = Operand::new(instruction.b.num_bits, shape.items(n, k));
    for at in instruction.indices(k, n) {
        let [block, k_idx, j] = at;
        b.put(shape.input(n, k, block, j, k_idx), (instruction.b.encode)(value(B, at)));
    }
    let mut c = Operand::new(instruction.d.num_bits, shape.items(m, n));
    let mut want = Operand::new(instruction.d.num_bits, shape.items(m, n));
    let value_of_a = |block: usize, i: usize, k: usize| {
        let stored = if is_sparse {
            stored_pair(i, k / 4).iter().position(|&s| s == k % 4)
        } else {
            Some(k)
        };
        stored.map_or(0.0, |s| value(A, [block, i, if is_sparse { k / 4 * 2 + s } else { s }]))
    };
    for at in instruction.indices(m, n) {
        let [block, i, j] = at;
        let place = shape.output(instruction.is_f64(), block, i, j);
        c.put(place, (instruction.d.encode)(value(C, at)));
        let d = matrix_multiply_add(
            shape,
            at,
            value_of_a,
            |block, k, j| value(B, [block, k, j]),
            |block, i, j| value(C, [block, i, j]),
        );
        want.put(place, (instruction.d.encode)(d));
    }
    let on_device = |words: &[u32]| device.buffer_from(stream, words).unwrap();
    let (on_a, on_b) = (on_device(&a.words), on_device(&b.words));
    let last = on_device(if is_sparse { &index.words } else { &c.words });
    let mut d = on_device(&c.words);
    if !is_sparse {
        d.fill_bytes(stream, 0xff).unwrap();
    }
    probe.run(stream, name, Operands { d: &mut d, a: &on_a, b: &on_b, c: &last }).unwrap();
    assert_eq!(d.to_host(stream).unwrap(), want.words, "{name}");
}

fn check_all(is_sparse: bool, num_instructions: usize) {
    let Some((device, stream)) = device() else { return };
    let probe = MfmaProbe::new(&device).unwrap();
    let instructions = probe.instructions().filter(|name| name.starts_with("smfmac") == is_sparse);
    let instructions: Vec<&str> = instructions.collect();
    assert_eq!(instructions.len(), num_instructions);
    for name in instructions {
        check(&device, &stream, &probe, name);
    }
}

#[test]
fn dense_instructions_multiply_matrices_in_their_layout() {
    check_all(false, 32);
}

#[test]
fn sparse_instructions_multiply_matrices_in_their_layout() {
    check_all(true, 14);
}
