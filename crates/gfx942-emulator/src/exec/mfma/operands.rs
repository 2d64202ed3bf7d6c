//! Where the matrices are: runs of registers, and A and B taken apart into rows by k.

use std::ops::Range;

use super::instruction::Instruction;
use crate::WAVE_SIZE;
use crate::exec::{Lanes, Trap, Wave};
use crate::isa::{Inst, Operand};

/// The most elements that a wave holds of A or B: sixteen in each lane (B of sparse FP8).
const MAX_ELEMENTS: usize = 16 * WAVE_SIZE;

/// The elements of A or B as f32, which holds them all: k after k, of each all rows (columns for B) of all blocks.
pub(super) struct Panel {
    values: [f32; MAX_ELEMENTS],
    rows: usize,
    depth: usize,
}

impl Panel {
    /// Room for the elements of a matrix with so many rows over all blocks.
    #[inline(always)]
    pub const fn new(rows: usize) -> Self {
        Self { values: [0.0; MAX_ELEMENTS], rows, depth: 0 }
    }

    /// The elements with the same k, one slice after the other.
    #[inline(always)]
    pub fn by_depth(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values[..self.rows * self.depth].chunks_exact(self.rows)
    }

    /// All elements with this k.
    #[inline(always)]
    pub fn at(&self, k: usize) -> &[f32] {
        &self.values[k * self.rows..][..self.rows]
    }

    /// How many k there are.
    pub const fn depth(&self) -> usize {
        self.depth
    }

    /// Takes `registers` apart. `PER_REGISTER` elements are in each register, the lowest bits first; `convert` gets
    /// their bits, without those above them cleared.
    #[inline(always)]
    pub fn unpack<const PER_REGISTER: usize>(
        &mut self,
        registers: &[Lanes],
        sources: Option<&Sources>,
        convert: impl Fn(u32) -> f32,
    ) {
        let items = registers.len() * PER_REGISTER;
        self.depth = items * (WAVE_SIZE / self.rows);
        for (r, register) in registers.iter().enumerate() {
            let permuted;
            let register = match sources {
                None => register,
                Some(sources) => {
                    permuted = sources.map(|lane| register[usize::from(lane)]);
                    &permuted
                }
            };
            // Each group of as many lanes as there are rows holds its own range of k.
            for (group, lanes) in register.chunks_exact(self.rows).enumerate() {
                for part in 0..PER_REGISTER {
                    let k = group * items + r * PER_REGISTER + part;
                    let values = &mut self.values[k * self.rows..][..self.rows];
                    for (value, bits) in values.iter_mut().zip(lanes) {
                        *value = convert(bits >> (part * (32 / PER_REGISTER)));
                    }
                }
            }
        }
    }
}

/// The lane that each lane's elements come from.
pub(super) type Sources = [u8; WAVE_SIZE];

/// The registers from `operand` on, all in one file.
pub(super) fn registers(inst: &Inst, operand: Operand, num: usize) -> Result<Range<usize>, Trap> {
    let wrong = || {
        let (name, code) = (inst.op.name(), operand.0);
        Trap::Undefined(format!(
            "{name}: operand {code} is not the first of {num} vector registers"
        ))
    };
    let first = operand.vector_index().ok_or_else(wrong)?;
    if first / 256 != (first + num - 1) / 256 {
        return Err(wrong());
    }
    Ok(first..first + num)
}

/// Where C comes from.
pub(super) enum Addend {
    /// It is where D will be.
    InPlace,
    /// Other registers, which may overlap D's.
    Registers(Range<usize>),
    /// An inline constant; for f64 instructions 64 bits.
    Constant(u64),
}

impl Addend {
    /// The third source of `inst`, whose result goes to `d`.
    pub fn of(inst: &Inst, matrix: Instruction, d: &Range<usize>) -> Result<Self, Trap> {
        let c = inst.src[2];
        // C of a sparse instruction is D; its third source is the index.
        if matrix.sparse || c == inst.dst {
            return Ok(Self::InPlace);
        }
        if c.vector_index().is_some() {
            return registers(inst, c, d.len()).map(Self::Registers);
        }
        constant(c, matrix.elements.is_none()).map(Self::Constant).ok_or_else(|| {
            let name = inst.op.name();
            Trap::Undefined(format!("{name}: C must be vector registers or an inline constant"))
        })
    }

    /// Brings C to where D will be. A and B must have been read before: D may overlap them.
    #[inline(always)]
    pub fn place(self, wave: &mut Wave, d: &Range<usize>, double: bool) {
        match self {
            Self::InPlace => {}
            Self::Registers(c) => wave.copy_vectors(c, d.start),
            Self::Constant(value) => {
                for (r, register) in wave.vectors_mut(d.clone()).iter_mut().enumerate() {
                    let upper = double && r % 2 == 1;
                    register.fill(if upper { (value >> 32) as u32 } else { value as u32 });
                }
            }
        }
    }
}

/// The bits of an inline constant.
pub(super) fn constant(operand: Operand, double: bool) -> Option<u64> {
    if let Some(integer) = operand.inline_integer() {
        return Some(if double { i64::from(integer) as u64 } else { u64::from(integer as u32) });
    }
    if !operand.is_inline_float() {
        return None;
    }
    const VALUES: [f64; 8] = [0.5, -0.5, 1.0, -1.0, 2.0, -2.0, 4.0, -4.0];
    Some(match (VALUES.get(usize::from(operand.0 - 240)), double) {
        (Some(value), true) => value.to_bits(),
        (Some(value), false) => u64::from((*value as f32).to_bits()),
        // 1/(2π), as the ISA gives its bits.
        (None, true) => 0x3fc4_5f30_6dc9_c882,
        (None, false) => 0x3e22_f983,
    })
}

/// The lanes that A's elements come from under CBSZ and ABID, or `None` for their own.
///
/// All blocks can get the A of one. Where CBSZ asks for less, the manual (7.1.5.1) and AMD's matrix instruction
/// calculator disagree: one repeats a run of neighbouring blocks, the other repeats one block in each such run.
pub(super) fn sources_of_a(inst: &Inst, matrix: Instruction) -> Result<Option<Sources>, Trap> {
    let (cbsz, abid) = (inst.modifiers.cbsz, inst.modifiers.abid);
    if cbsz == 0 && abid == 0 {
        return Ok(None);
    }
    let name = inst.op.name();
    let blocks = matrix.shape.blocks;
    if !matrix.broadcasts_a() || cbsz > 4 || 1 << cbsz > blocks || abid >= 1 << cbsz {
        return Err(Trap::Undefined(format!("{name} cannot have cbsz:{cbsz} abid:{abid}")));
    }
    if 1 << cbsz < blocks {
        return Err(Trap::Unimplemented(format!("{name} with cbsz:{cbsz}, a partial broadcast,")));
    }
    let size = WAVE_SIZE as u8 >> cbsz;
    Ok(Some(std::array::from_fn(|lane| lane as u8 % size + size * abid)))
}

/// The lanes that B's elements come from under BLGP (manual, table 29), or `None` for their own.
pub(super) fn sources_of_b(inst: &Inst, matrix: Instruction) -> Result<Option<Sources>, Trap> {
    let blgp = inst.modifiers.blgp;
    if blgp == 0 {
        return Ok(None);
    }
    if !matrix.permutes_b() || blgp > 7 {
        return Err(Trap::Undefined(format!("{} cannot have blgp:{blgp}", inst.op.name())));
    }
    Ok(Some(std::array::from_fn(|lane| {
        let lane = lane as u8;
        match blgp {
            1 | 2 => lane % 32 + 32 * (blgp - 1),
            3 => (lane + 16) % 64,
            _ => lane % 16 + 16 * (blgp - 4),
        }
    })))
}
