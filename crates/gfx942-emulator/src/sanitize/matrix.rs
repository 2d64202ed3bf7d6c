//! Wait states after matrix instructions (manual, table 37).

use super::effects::{Class, Effects, Role, Span};
use super::states::addend;
use crate::isa::{CYCLES_PER_PASS, Op, matrix_cycles, traits};

/// A matrix instruction that was issued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Matrix {
    passes: u32,
    /// It multiplies f64.
    pub is_double: bool,
    /// It runs on the matrix core proper: not f64, and not f32 × f32 (the manual's XDL and SGEMM).
    is_core: bool,
    result: Span,
}

impl Matrix {
    pub fn of(effects: &Effects) -> Option<Self> {
        let op = effects.inst.op;
        let passes = matrix_cycles(op)? / CYCLES_PER_PASS;
        let (is_double, is_core) = (is_double(op), is_core(op));
        Some(Self { passes, is_double, is_core, result: *effects.writes.first()? })
    }

    /// Until vector arithmetic or memory instructions, or other matrix instructions, may read the result in `span`.
    pub fn until_read(&self, reader: &Effects, span: Span, role: Role) -> u32 {
        match reader.class {
            Class::Matrix if addend(reader) == Some(span) && is_addend(reader, role) => {
                self.until_addend(reader, span)
            }
            Class::Matrix | Class::Vector => self.until_vector_writes(),
            Class::VectorMemory | Class::Lds => match (self.is_double, self.passes) {
                (true, 4) => 9,
                (true, _) => 18,
                (false, _) => self.until_vector_writes(),
            },
            _ => 0,
        }
    }

    fn until_addend(&self, reader: &Effects, span: Span) -> u32 {
        let is_small = |op| op == Op::v_mfma_f64_4x4x4_4b_f64;
        if span == self.result {
            let both_small = self.is_double && self.passes == 4 && is_small(reader.inst.op);
            return match self.passes {
                2 => 2,
                _ if both_small => 4,
                _ => 0,
            };
        }
        match (self.is_core, is_core(reader.inst.op)) {
            (true, _) => self.passes + 1,
            (false, true) => 0,
            (false, false) if !self.is_double => self.passes,
            (false, false) if self.passes == 4 => 4,
            (false, false) => 9,
        }
    }

    /// Until vector arithmetic may overwrite the result; also until it may be read as A or B.
    pub fn until_vector_writes(&self) -> u32 {
        match (self.is_double, self.passes) {
            (true, 4) => 6,
            (true, _) => 11,
            (false, passes) => passes + if self.is_core { 3 } else { 2 },
        }
    }

    /// Until vector arithmetic may overwrite C.
    pub fn until_addend_is_read(&self) -> u32 {
        if self.is_core { self.passes - 1 } else { 0 }
    }
}

fn is_double(op: Op) -> bool {
    op.name().starts_with("v_mfma_f64")
}

fn is_core(op: Op) -> bool {
    let name = op.name();
    let is_single = name.ends_with("_f32") && !name.ends_with("_xf32");
    op.info().has(traits::MATRIX) && !is_double(op) && !is_single
}

fn is_addend(reader: &Effects, role: Role) -> bool {
    let is_sparse = reader.inst.op.info().has(traits::SPARSE);
    role == if is_sparse { Role::Old } else { Role::Source(2) }
}
