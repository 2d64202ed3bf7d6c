//! Which operand codes exist, and where.

use super::super::Operand;
use super::super::table::Form;
use super::{DecodeError, Reader, Result};

/// The first code that names no general SGPR.
const NUM_SGPRS: u16 = 102;

impl Reader<'_> {
    fn no_operand(&self, code: u16, form: Form) -> DecodeError {
        DecodeError::Operand { word: self.first, code, dwords: form.dwords }
    }

    fn operand(&self, code: u16, form: Form, exists: bool) -> Result<Operand> {
        if exists { Ok(Operand(code)) } else { Err(self.no_operand(code, form)) }
    }

    /// A scalar register: SGPRs and their named relatives.
    pub fn scalar_register(&self, code: u32, form: Form) -> Result<Operand> {
        let code = code as u16;
        let dwords = u16::from(form.dwords);
        let alignment = if dwords == 2 { 2 } else { dwords.min(4) };
        let exists = match code {
            0..NUM_SGPRS => code.is_multiple_of(alignment) && code + dwords <= NUM_SGPRS,
            102..=107 | 126..=127 => dwords == 1 || dwords == 2 && code.is_multiple_of(2),
            108..=123 => (code - 108).is_multiple_of(alignment) && code + dwords <= 124,
            124 => dwords == 1,
            _ => false,
        };
        self.operand(code, form, exists)
    }

    /// The same for operands that cannot be `exec`.
    pub fn scalar_register_but_exec(&self, code: u32, form: Form) -> Result<Operand> {
        if code == 126 { Err(self.no_operand(126, form)) } else { self.scalar_register(code, form) }
    }

    /// A scalar source: a register, an inline constant, or a literal.
    pub fn scalar_source(&self, code: u32, form: Form) -> Result<Operand> {
        match code {
            0..128 => self.scalar_register(code, form),
            255 => Ok(Operand::LITERAL),
            _ => self.constant(code, form),
        }
    }

    /// An inline constant, or a value that the hardware provides.
    fn constant(&self, code: u32, form: Form) -> Result<Operand> {
        let exists = matches!(code, 128..=208 | 235..=248 | 251..=253);
        self.operand(code as u16, form, exists)
    }

    /// A vector register; `acc` picks the accumulation registers.
    pub fn vector_register(&self, index: u32, acc: bool, form: Form) -> Result<Operand> {
        let dwords = u32::from(form.dwords);
        let code = index as u16 + if acc { Operand::ACC0.0 } else { Operand::VGPR0.0 };
        let exists = index + dwords <= 256 && (dwords == 1 || index.is_multiple_of(2));
        self.operand(code, form, exists)
    }

    /// A nine-bit source without literals (VOP3 and its relatives).
    pub fn source(&self, code: u32, form: Form) -> Result<Operand> {
        match code {
            0..128 => self.scalar_register(code, form),
            256..512 => self.vector_register(code - 256, false, form),
            _ => self.constant(code, form),
        }
    }

    /// A nine-bit source that may be a literal (VOP1, VOP2, VOPC).
    pub fn source_or_literal(&self, code: u32, form: Form) -> Result<Operand> {
        if code == 255 { Ok(Operand::LITERAL) } else { self.source(code, form) }
    }
}
