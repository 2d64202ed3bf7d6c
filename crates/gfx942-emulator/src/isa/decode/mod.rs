//! From bytes to [`Inst`].

mod memory;
mod operand;
mod scalar;
mod second_word;

mod vector;

pub(super) use scalar::has_immediate;
pub(super) use second_word::has_destination_select;
use thiserror::Error;

use super::table::{OpInfo, find};
use super::{Extra, Flags, Format, Inst, Modifiers, Operand};

/// Why bytes are no instruction of gfx942.
#[derive(Clone, Copy, PartialEq, Eq, Error, Debug)]
pub enum DecodeError {
    /// The code ends inside an instruction.
    #[error("the code ends inside an instruction (after {num_bytes} bytes)")]
    Truncated {
        /// What is left.
        num_bytes: usize,
    },
    /// No operation has this opcode.
    #[error("{word:#010x} is no gfx942 instruction: unknown opcode")]
    Opcode {
        /// The first word.
        word: u32,
    },
    /// An operand that does not exist, or not there, or that is not aligned.
    #[error("{word:#010x} is no gfx942 instruction: no operand of {dwords} dwords has code {code}")]
    Operand {
        /// The first word.
        word: u32,
        /// The operand's code, in [`Operand`]'s numbering.
        code: u16,
        /// The registers it would take.
        dwords: u8,
    },
    /// A field or a bit has a value that this operation does not have.
    #[error("{word:#010x} is no gfx942 instruction: it has no such {field}")]
    Field {
        /// The first word.
        word: u32,
        /// What was found, in the manual's terms.
        field: &'static str,
    },
}

type Result<T> = std::result::Result<T, DecodeError>;

/// Decodes the instruction at the start of `bytes`, which may go on after it.
pub fn decode(bytes: &[u8]) -> Result<Inst> {
    let mut reader = Reader::new(bytes)?;
    let first = reader.first;
    match first >> 26 {
        0b110000 => memory::smem(&mut reader),
        0b110100 if first >> 23 & 7 == 0b111 => vector::vop3p(&mut reader),
        0b110100 => vector::vop3(&mut reader),
        0b110110 => memory::ds(&mut reader),
        0b110111 => memory::flat(&mut reader),
        0b111000 => memory::mubuf(&mut reader),
        0b111010 => memory::mtbuf(&mut reader),
        _ if first >> 31 == 0 => match first >> 25 {
            0x3f => vector::vop1(&mut reader),
            0x3e => vector::vopc(&mut reader),
            _ => vector::vop2(&mut reader),
        },
        _ if first >> 30 == 0b10 => scalar::decode(&mut reader),
        _ => Err(DecodeError::Opcode { word: first }),
    }
}

/// The words of one instruction.
struct Reader<'a> {
    bytes: &'a [u8],
    num_words: u8,
    first: u32,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self> {
        let mut reader = Self { bytes, num_words: 0, first: 0 };
        reader.first = reader.next()?;
        Ok(reader)
    }

    /// The next word: the second of a long encoding, or a literal.
    fn next(&mut self) -> Result<u32> {
        let at = usize::from(self.num_words) * 4;
        let word = self.bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        self.num_words += 1;
        word.map(u32::from_le_bytes).ok_or(DecodeError::Truncated { num_bytes: self.bytes.len() })
    }

    /// The row of the opcode at `bits`, `width` bits wide, of the first word.
    fn find(&self, format: Format, at: u32, width: u32) -> Result<&'static OpInfo> {
        find(format, bits(self.first, at, width)).ok_or(DecodeError::Opcode { word: self.first })
    }

    fn no(&self, field: &'static str) -> DecodeError {
        DecodeError::Field { word: self.first, field }
    }

    /// An error that names `field` unless `holds`.
    fn require(&self, holds: bool, field: &'static str) -> Result<()> {
        if holds { Ok(()) } else { Err(self.no(field)) }
    }

    /// An instruction of `info`'s operation whose operands are still to be filled in.
    fn inst(&self, info: &OpInfo, format: Format) -> Inst {
        Inst {
            op: info.op,
            format,
            size: 0,
            dst: Operand::NONE,
            sdst: Operand::NONE,
            src: [Operand::NONE; 4],
            literal: 0,
            offset: 0,
            flags: Flags::default(),
            modifiers: Modifiers::default(),
            extra: Extra::None,
            buffer_format: 0,
        }
    }

    /// The last step: reads the literal if an operand asks for one, and settles the size.
    fn finish(&mut self, mut inst: Inst) -> Result<Inst> {
        if inst.src.contains(&Operand::LITERAL) {
            inst.literal = self.next()?;
        }
        inst.size = self.num_words * 4;
        Ok(inst)
    }
}

const fn bits(word: u32, at: u32, width: u32) -> u32 {
    word >> at & ((1 << width) - 1)
}

const fn bit(word: u32, at: u32) -> bool {
    word >> at & 1 != 0
}

/// `flag` if bit `at` of `word` is set.
fn flag(word: u32, at: u32, flag: Flags) -> Flags {
    if bit(word, at) { flag } else { Flags::default() }
}
