//! Matrix instructions on inputs that `oracles/_mfma.py` makes as well.

use gfx942_emulator::WAVE_SIZE;
use gfx942_emulator::exec::mfma::{Accuracy, run};
use gfx942_emulator::exec::{Mode, Trap, Wave};
use gfx942_emulator::isa::{Extra, Flags, Format, Inst, Modifiers, Op, Operand};

/// Keep all denormals, round to nearest even.
pub const MODE: Mode = Mode(0xf0);

/// What the name says: see `_mfma.py`.
#[allow(dead_code)] // Each test file uses some of it.
pub struct Shape {
    pub sparse: bool,
    pub side: usize,
    pub depth: usize,
    pub blocks: usize,
    pub a: String,
    pub b: String,
    pub d: String,
}

impl Shape {
    pub fn of(name: &str) -> Self {
        let mut parts = name.split('_').skip(1);
        let mut next = || parts.next().unwrap();
        let (kind, d, dims) = (next(), next(), next());
        let dims: Vec<usize> = dims.split('x').map(|dim| dim.parse().unwrap()).collect();
        let mut rest: Vec<&str> = parts.collect();
        let blocks = rest[0].strip_suffix('b').and_then(|blocks| blocks.parse().ok());
        if blocks.is_some() {
            rest.remove(0);
        }
        Self {
            sparse: kind == "smfmac",
            side: dims[0],
            depth: dims[2],
            blocks: blocks.unwrap_or(1),
            a: rest[0].into(),
            b: (*rest.last().unwrap()).into(),
            d: d.into(),
        }
    }

    pub fn items(&self) -> usize {
        self.depth * self.side * self.blocks / WAVE_SIZE
    }

    pub fn num_outputs(&self) -> usize {
        self.side * self.side * self.blocks / WAVE_SIZE
    }
}

pub fn num_bits(element: &str) -> usize {
    match element {
        "f64" => 64,
        "f32" | "xf32" | "i32" => 32,
        "f16" | "bf16" => 16,
        _ => 8,
    }
}

/// `Random` of `_mfma.py`.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 32
    }
}

/// Packs `items[item][lane]` into the registers from `first` on.
pub fn pack(wave: &mut Wave, first: usize, items: &[[u64; WAVE_SIZE]], num_bits: usize) {
    for (item, lanes) in items.iter().enumerate() {
        for (lane, &value) in lanes.iter().enumerate() {
            let bit = item * num_bits;
            if num_bits == 64 {
                wave.vector_mut(first + bit / 32)[lane] = value as u32;
                wave.vector_mut(first + bit / 32 + 1)[lane] = (value >> 32) as u32;
            } else {
                let register = &mut wave.vector_mut(first + bit / 32)[lane];
                let mask = (u64::from(u32::MAX) >> (32 - num_bits)) as u32;
                *register = *register & !(mask << (bit % 32)) | (value as u32 & mask) << (bit % 32);
            }
        }
    }
}

/// `name` with A, B and C from the first registers of these operands.
pub fn inst(name: &str, dst: Operand, src: [Operand; 3], modifiers: Modifiers) -> Inst {
    Inst {
        op: *Op::ALL.iter().find(|op| op.name() == name).unwrap(),
        format: Format::Mai,
        size: 8,
        dst,
        sdst: Operand::NONE,
        src: [src[0], src[1], src[2], Operand::NONE],
        literal: 0,
        offset: 0,
        flags: Flags::default(),
        modifiers,
        extra: Extra::None,
        buffer_format: 0,
    }
}

/// Where the tests put A, B, C (or a sparse instruction's index) and D.
pub const A: Operand = Operand::acc(8);
pub const B: Operand = Operand::vgpr(16);
pub const C: Operand = Operand::vgpr(64);
pub const D: Operand = Operand::acc(128);

/// Executes `name` on a wave whose registers have been filled, with EXEC zero.
pub fn execute(
    wave: &mut Wave,
    name: &str,
    modifiers: Modifiers,
    accuracy: Accuracy,
) -> Result<(), Trap> {
    run(wave, &inst(name, D, [A, B, C], modifiers), accuracy)
}

/// `checksums` of `_mfma.py`, of the registers of D.
pub fn checksums(wave: &Wave, num: usize) -> Vec<u32> {
    let first = D.vector_index().unwrap();
    (first..first + num)
        .map(|register| {
            let bytes = wave.vector(register).iter().flat_map(|value| value.to_le_bytes());
            bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
        })
        .collect()
}
