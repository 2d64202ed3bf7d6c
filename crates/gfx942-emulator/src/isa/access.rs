//! Which registers an instruction reads and writes, implicit ones included.

use std::ops::Deref;

use super::table::traits::*;
use super::{Extra, Flags, Format, Inst, Op, Operand, SdwaSelect};

/// A run of registers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Access {
    /// The first; [`Operand::SCC`] stands for SCC.
    pub first: Operand,
    /// Registers.
    pub dwords: u8,
}

/// The most runs that one instruction reads or writes.
const MOST: usize = 8;

/// Runs of registers, in no particular order.
#[derive(Clone, Copy, Debug)]
pub struct Accesses {
    runs: [Access; MOST],
    len: usize,
}

impl Accesses {
    const fn new() -> Self {
        Self { runs: [Access { first: Operand::NONE, dwords: 0 }; MOST], len: 0 }
    }

    /// Adds `operand` if it is a register.
    fn add(&mut self, operand: Operand, dwords: u8) {
        let (first, dwords) = match operand {
            Operand::VCCZ => (Operand::VCC, 2),
            Operand::EXECZ => (Operand::EXEC, 2),
            _ => (operand, dwords),
        };
        let is_register =
            first.is_scalar_register() || first.vector_index().is_some() || first == Operand::SCC;
        let run = Access { first, dwords };
        if is_register && dwords > 0 && !self.contains(&run) {
            self.runs[self.len] = run;
            self.len += 1;
        }
    }

    fn add_if(&mut self, applies: bool, operand: Operand, dwords: u8) {
        if applies {
            self.add(operand, dwords);
        }
    }
}

impl Deref for Accesses {
    type Target = [Access];

    fn deref(&self) -> &[Access] {
        &self.runs[..self.len]
    }
}

impl Inst {
    /// Registers that source `i` takes.
    pub fn source_dwords(&self, i: usize) -> u8 {
        let info = self.op.info();
        let has = |flag| self.flags.has(flag) as u8;
        match (self.format, i) {
            (Format::Smem, 1) => 1,
            (Format::Global, 0) => {
                if self.src[2].is_some() {
                    1
                } else {
                    2
                }
            }
            (Format::Global, 2) => 2,
            (Format::Scratch, 0 | 2) => 1,
            (Format::Mubuf | Format::Mtbuf, 0) => has(Flags::OFFEN) + has(Flags::IDXEN),
            (_, 2) if info.has(MASK_IN) => 2,
            _ => info.src[i].dwords,
        }
    }

    /// What is read. Lanes that EXEC switches off are not taken out of vector registers.
    pub fn reads(&self) -> Accesses {
        let info = self.op.info();
        let mut reads = Accesses::new();
        for (i, &source) in self.src.iter().enumerate() {
            reads.add(source, self.source_dwords(i));
        }
        reads.add_if(self.reads_result(), self.dst, info.dst.dwords);
        reads.add_if(info.has(SCC_IN), Operand::SCC, 1);
        reads.add_if(info.has(VCC_IN), Operand::VCC, 2);
        reads.add_if(info.has(M0_IN) || self.flags.has(Flags::LDS), Operand::M0, 1);
        reads.add_if(info.has(EXEC_IN) || self.is_masked(), Operand::EXEC, 2);
        reads
    }

    /// What is written, if any lane is on.
    pub fn writes(&self) -> Accesses {
        let info = self.op.info();
        let mut writes = Accesses::new();
        writes.add_if(self.writes_result(), self.dst, info.dst.dwords);
        writes.add(self.sdst, 2);
        writes.add_if(self.op == Op::v_swap_b32, self.src[0], 1);
        writes.add_if(info.has(SCC_OUT), Operand::SCC, 1);
        writes.add_if(info.has(EXEC_OUT), Operand::EXEC, 2);
        let sets_index = matches!(
            self.op,
            Op::s_set_gpr_idx_on | Op::s_set_gpr_idx_idx | Op::s_set_gpr_idx_mode
        );
        writes.add_if(sets_index, Operand::M0, 1);
        writes
    }

    /// Whether EXEC says which lanes take part.
    fn is_masked(&self) -> bool {
        match self.format {
            Format::Vop1 | Format::Vop2 | Format::Vopc | Format::Vop3 | Format::Vop3p => !matches!(
                self.op,
                Op::v_readlane_b32 | Op::v_writelane_b32 | Op::v_nop | Op::v_clrexcp
            ),
            Format::Mai => !self.op.info().has(MATRIX),
            Format::Ds | Format::Flat | Format::Global | Format::Scratch => true,
            Format::Mubuf | Format::Mtbuf => self.src[2].is_some(),
            _ => false,
        }
    }

    fn reads_result(&self) -> bool {
        let info = self.op.info();
        let keeps_part = match self.extra {
            Extra::Sdwa(sdwa) => sdwa.dst_unused == 2 && sdwa.dst_sel != SdwaSelect::Dword,
            _ => self.format == Format::Vop3 && info.has(SEL0 << 3),
        };
        let is_data = self.format == Format::Smem && info.has(ATOMIC);
        info.has(ACCUM) || info.has(DST_IN) || keeps_part || is_data
    }

    fn writes_result(&self) -> bool {
        let info = self.op.info();
        let returns =
            self.format != Format::Smem || !info.has(ATOMIC) || self.flags.has(Flags::GLC);
        !info.has(DST_IN) && returns
    }
}
