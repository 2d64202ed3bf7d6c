//! What the name of a matrix instruction says.

use crate::isa::Op;
use crate::numeric::Fp8;

/// M × N × K of one block, and how many blocks. M and N are equal in all instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    /// Rows of A and D, columns of B and D.
    pub side: usize,
    /// Columns of A, rows of B.
    pub depth: usize,
    /// Independent products.
    pub blocks: usize,
}

impl Shape {
    /// Rows of A, over all blocks: the lanes that hold one column.
    pub const fn rows(self) -> usize {
        self.side * self.blocks
    }

    /// Consecutive values of k in one lane (the manual's K_L).
    pub const fn items(self) -> usize {
        self.depth * self.rows() / crate::WAVE_SIZE
    }

    /// Where D is, for results of 32 bits: groups of four registers hold four rows of one block each, in as many tiles
    /// as there are lanes (manual, 7.1.4.2).
    pub fn tiles(self) -> impl Iterator<Item = Tile> {
        const HEIGHT: usize = 4;
        let tiles_per_block = self.side / HEIGHT;
        let lane_groups = crate::WAVE_SIZE / self.side;
        let blocks_per_item = lane_groups.div_ceil(tiles_per_block);
        let rows_per_item = lane_groups / blocks_per_item;
        let groups = self.side / (HEIGHT * rows_per_item);
        (0..self.blocks * tiles_per_block).map(move |tile| {
            let (group, lanes) = (tile / lane_groups, tile % lane_groups);
            Tile {
                register: group * HEIGHT,
                lane: lanes * self.side,
                block: group / groups * blocks_per_item + lanes / rows_per_item,
                row: (group % groups * rows_per_item + lanes % rows_per_item) * HEIGHT,
            }
        })
    }
}

/// Four rows of D: row `row + r` is in register `register + r`, its columns in the lanes from `lane` on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile {
    pub register: usize,
    pub lane: usize,
    pub block: usize,
    pub row: usize,
}

/// The type of the elements of A or B.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Element {
    F32,
    Xf32,
    F16,
    Bf16,
    Fp8(Fp8),
    I8,
}

impl Element {
    pub const fn num_bits(self) -> usize {
        match self {
            Self::F32 | Self::Xf32 => 32,
            Self::F16 | Self::Bf16 => 16,
            Self::Fp8(_) | Self::I8 => 8,
        }
    }
}

/// A matrix instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Instruction {
    pub shape: Shape,
    /// Elements of A and of B; `None`: all are doubles, and so are the results.
    pub elements: Option<[Element; 2]>,
    /// Two of four elements of A are zero and not there.
    pub sparse: bool,
}

impl Instruction {
    /// What `op` is, if it is a matrix instruction.
    pub const fn of(op: Op) -> Option<Self> {
        use Element::{Bf16, F16, F32, I8, Xf32};
        const F8: Element = Element::Fp8(Fp8::Fp8);
        const B8: Element = Element::Fp8(Fp8::Bf8);
        Some(match op {
            Op::v_mfma_f64_16x16x4_f64 => double(16, 4, 1),
            Op::v_mfma_f64_4x4x4_4b_f64 => double(4, 4, 4),

            Op::v_mfma_f32_32x32x1_2b_f32 => dense(32, 1, 2, F32, F32),
            Op::v_mfma_f32_16x16x1_4b_f32 => dense(16, 1, 4, F32, F32),
            Op::v_mfma_f32_4x4x1_16b_f32 => dense(4, 1, 16, F32, F32),
            Op::v_mfma_f32_32x32x2_f32 => dense(32, 2, 1, F32, F32),
            Op::v_mfma_f32_16x16x4_f32 => dense(16, 4, 1, F32, F32),

            Op::v_mfma_f32_16x16x8_xf32 => dense(16, 8, 1, Xf32, Xf32),
            Op::v_mfma_f32_32x32x4_xf32 => dense(32, 4, 1, Xf32, Xf32),

            Op::v_mfma_f32_32x32x4_2b_f16 => dense(32, 4, 2, F16, F16),
            Op::v_mfma_f32_16x16x4_4b_f16 => dense(16, 4, 4, F16, F16),
            Op::v_mfma_f32_4x4x4_16b_f16 => dense(4, 4, 16, F16, F16),
            Op::v_mfma_f32_32x32x8_f16 => dense(32, 8, 1, F16, F16),
            Op::v_mfma_f32_16x16x16_f16 => dense(16, 16, 1, F16, F16),

            Op::v_mfma_f32_32x32x4_2b_bf16 => dense(32, 4, 2, Bf16, Bf16),
            Op::v_mfma_f32_16x16x4_4b_bf16 => dense(16, 4, 4, Bf16, Bf16),
            Op::v_mfma_f32_4x4x4_16b_bf16 => dense(4, 4, 16, Bf16, Bf16),
            Op::v_mfma_f32_32x32x8_bf16 => dense(32, 8, 1, Bf16, Bf16),
            Op::v_mfma_f32_16x16x16_bf16 => dense(16, 16, 1, Bf16, Bf16),

            Op::v_mfma_i32_32x32x4_2b_i8 => dense(32, 4, 2, I8, I8),
            Op::v_mfma_i32_16x16x4_4b_i8 => dense(16, 4, 4, I8, I8),
            Op::v_mfma_i32_4x4x4_16b_i8 => dense(4, 4, 16, I8, I8),
            Op::v_mfma_i32_32x32x16_i8 => dense(32, 16, 1, I8, I8),
            Op::v_mfma_i32_16x16x32_i8 => dense(16, 32, 1, I8, I8),

            Op::v_mfma_f32_16x16x32_bf8_bf8 => dense(16, 32, 1, B8, B8),
            Op::v_mfma_f32_16x16x32_bf8_fp8 => dense(16, 32, 1, B8, F8),
            Op::v_mfma_f32_16x16x32_fp8_bf8 => dense(16, 32, 1, F8, B8),
            Op::v_mfma_f32_16x16x32_fp8_fp8 => dense(16, 32, 1, F8, F8),
            Op::v_mfma_f32_32x32x16_bf8_bf8 => dense(32, 16, 1, B8, B8),
            Op::v_mfma_f32_32x32x16_bf8_fp8 => dense(32, 16, 1, B8, F8),
            Op::v_mfma_f32_32x32x16_fp8_bf8 => dense(32, 16, 1, F8, B8),
            Op::v_mfma_f32_32x32x16_fp8_fp8 => dense(32, 16, 1, F8, F8),

            Op::v_smfmac_f32_16x16x32_f16 => sparse(16, 32, F16, F16),
            Op::v_smfmac_f32_32x32x16_f16 => sparse(32, 16, F16, F16),
            Op::v_smfmac_f32_16x16x32_bf16 => sparse(16, 32, Bf16, Bf16),
            Op::v_smfmac_f32_32x32x16_bf16 => sparse(32, 16, Bf16, Bf16),
            Op::v_smfmac_i32_16x16x64_i8 => sparse(16, 64, I8, I8),
            Op::v_smfmac_i32_32x32x32_i8 => sparse(32, 32, I8, I8),
            Op::v_smfmac_f32_16x16x64_bf8_bf8 => sparse(16, 64, B8, B8),
            Op::v_smfmac_f32_16x16x64_bf8_fp8 => sparse(16, 64, B8, F8),
            Op::v_smfmac_f32_16x16x64_fp8_bf8 => sparse(16, 64, F8, B8),
            Op::v_smfmac_f32_16x16x64_fp8_fp8 => sparse(16, 64, F8, F8),
            Op::v_smfmac_f32_32x32x32_bf8_bf8 => sparse(32, 32, B8, B8),
            Op::v_smfmac_f32_32x32x32_bf8_fp8 => sparse(32, 32, B8, F8),
            Op::v_smfmac_f32_32x32x32_fp8_bf8 => sparse(32, 32, F8, B8),
            Op::v_smfmac_f32_32x32x32_fp8_fp8 => sparse(32, 32, F8, F8),
            _ => return None,
        })
    }

    /// Registers of A.
    pub const fn num_a(self) -> usize {
        let items = self.shape.items();
        (if self.sparse { items / 2 } else { items }) * self.num_bits(0) / 32
    }

    /// Registers of B.
    pub const fn num_b(self) -> usize {
        self.shape.items() * self.num_bits(1) / 32
    }

    /// Bits of an element of A (0) or B (1).
    const fn num_bits(self, matrix: usize) -> usize {
        match self.elements {
            Some(elements) => elements[matrix].num_bits(),
            None => 64,
        }
    }

    /// Registers of C and of D.
    pub const fn num_d(self) -> usize {
        let num_bits = if self.elements.is_some() { 32 } else { 64 };
        self.shape.side * self.shape.rows() / crate::WAVE_SIZE * num_bits / 32
    }

    /// Whether CBSZ and ABID can broadcast a block of A.
    pub const fn broadcasts_a(self) -> bool {
        self.shape.blocks > 1 && self.elements.is_some()
    }

    /// Whether BLGP can permute the lanes of B: AMD's matrix instruction calculator says where.
    pub const fn permutes_b(self) -> bool {
        self.broadcasts_a() || matches!(self.elements, Some([Element::F32, _]))
    }
}

const fn dense(side: usize, depth: usize, blocks: usize, a: Element, b: Element) -> Instruction {
    Instruction { shape: Shape { side, depth, blocks }, elements: Some([a, b]), sparse: false }
}

const fn double(side: usize, depth: usize, blocks: usize) -> Instruction {
    Instruction { shape: Shape { side, depth, blocks }, elements: None, sparse: false }
}

const fn sparse(side: usize, depth: usize, a: Element, b: Element) -> Instruction {
    let shape = Shape { side, depth, blocks: 1 };
    Instruction { shape, elements: Some([a, b]), sparse: true }
}
