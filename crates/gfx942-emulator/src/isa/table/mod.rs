//! The opcode table: every operation of gfx942 with its operands, once, by format.

mod buffer;
mod ds;
mod flat;
mod lookup;
mod smem;
mod sop;
mod vop1;
mod vop2;
mod vop3;
mod vop3p;
mod vopc;

use super::Op::{self, *};
pub(super) use lookup::find;

/// How the bits of an operand are understood: what an inline constant or a literal stands for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// No operand.
    None,
    /// Sixteen bits or an integer of them.
    B16,
    /// A half-precision number.
    F16,
    /// Thirty-two bits or an integer of them; wider operands are several of these.
    B32,
    /// A single-precision number, or several.
    F32,
    /// Sixty-four bits or an integer of them.
    B64,
    /// A double-precision number, or several.
    F64,
    /// Two of sixteen bits.
    PkB16,
    /// Two half-precision numbers.
    PkF16,
    /// Two single-precision numbers.
    PkF32,
    /// One bit a lane.
    Mask,
}

impl Kind {
    /// Whether the sign of the operand can be changed (`neg`, `abs`) rather than its width (`sext`).
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32 | Self::F64 | Self::PkF16 | Self::PkF32)
    }
}

/// How wide an operand is, and what its bits mean.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Form {
    /// Registers that it takes.
    pub dwords: u8,
    /// How its bits are understood.
    pub kind: Kind,
}

impl Form {
    /// Whether there is an operand.
    pub const fn is_some(self) -> bool {
        self.dwords != 0
    }
}

const fn form(dwords: u8, kind: Kind) -> Form {
    Form { dwords, kind }
}

const NONE: Form = form(0, Kind::None);
const B16: Form = form(1, Kind::B16);
const F16: Form = form(1, Kind::F16);
pub(super) const B32: Form = form(1, Kind::B32);
const F32: Form = form(1, Kind::F32);
pub(super) const B64: Form = form(2, Kind::B64);
const F64: Form = form(2, Kind::F64);
const PK_B16: Form = form(1, Kind::PkB16);
const PK_F16: Form = form(1, Kind::PkF16);
const PK_F32: Form = form(2, Kind::PkF32);
pub(super) const MASK: Form = form(2, Kind::Mask);

pub(super) const fn dwords(n: u8) -> Form {
    form(n, Kind::B32)
}

const fn floats(n: u8) -> Form {
    form(n, Kind::F32)
}

const fn doubles(n: u8) -> Form {
    form(n, Kind::F64)
}

/// What else the table tells of an operation, as bits of [`OpInfo::traits`].
pub mod traits {
    /// Nothing.
    pub const PLAIN: u32 = 0;
    /// Source 0 may be negated or taken absolute in VOP3; sources 1 and 2 have the next two bits.
    pub const NEG0: u32 = 1;
    /// Sources 0 and 1 may be.
    pub const NEG01: u32 = 0b011;
    /// All three sources may be.
    pub const NEG012: u32 = 0b111;
    /// The result may be clamped.
    pub const CLAMP: u32 = 1 << 3;
    /// The result may be multiplied.
    pub const OMOD: u32 = 1 << 4;
    /// `op_sel` exists for source 0; the next bits are for sources 1 and 2 and for the result.
    pub const SEL0: u32 = 1 << 5;
    /// `op_sel` for sources 0 and 1.
    pub const SEL01: u32 = SEL0 * 0b0011;
    /// `op_sel` for all sources.
    pub const SEL012: u32 = SEL0 * 0b0111;
    /// `op_sel` for two sources and the result.
    pub const SEL013: u32 = SEL0 * 0b1011;
    /// `op_sel` for three sources and the result.
    pub const SEL0123: u32 = SEL0 * 0b1111;
    /// A VOP1, VOP2 or VOPC operation that exists in VOP3 as well.
    pub const E64: u32 = 1 << 9;
    /// It exists with sub-dword addressing.
    pub const SDWA: u32 = 1 << 10;
    /// It exists with data-parallel primitives.
    pub const DPP: u32 = 1 << 11;
    /// A second result goes to a pair of SGPRs (`vcc` outside VOP3).
    pub const SDST: u32 = 1 << 12;
    /// The last source is a lane mask (`vcc` outside VOP3).
    pub const MASK_IN: u32 = 1 << 13;
    /// The old value of the result is read as well.
    pub const ACCUM: u32 = 1 << 14;
    /// The register in the place of the result is only read.
    pub const DST_IN: u32 = 1 << 15;
    /// The result goes to an SGPR, though this is a vector operation.
    pub const SCALAR_DST: u32 = 1 << 16;
    /// SCC is written.
    pub const SCC_OUT: u32 = 1 << 17;
    /// SCC is read.
    pub const SCC_IN: u32 = 1 << 18;
    /// EXEC is written.
    pub const EXEC_OUT: u32 = 1 << 19;
    /// EXEC is read, other than as the mask of active lanes.
    pub const EXEC_IN: u32 = 1 << 20;
    /// VCC is read without being an operand.
    pub const VCC_IN: u32 = 1 << 21;
    /// M0 is read without being an operand.
    pub const M0_IN: u32 = 1 << 22;
    /// Control flow.
    pub const BRANCH: u32 = 1 << 23;
    /// Computed by the transcendental unit.
    pub const TRANS: u32 = 1 << 24;
    /// Computed by the matrix core.
    pub const MATRIX: u32 = 1 << 25;
    /// Memory is read and written; the old value is returned if the instruction asks for it (in DS, if there is
    /// a result).
    pub const ATOMIC: u32 = 1 << 26;
    /// What is loaded goes to LDS.
    pub const LDS_DMA: u32 = 1 << 27;
    /// DS: two offsets of eight bits.
    pub const TWO_OFFSETS: u32 = 1 << 28;
    /// The A matrix is 4:2 sparse; source 2 says which half is there.
    pub const SPARSE: u32 = 1 << 29;
}
use traits::*;

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct OpInfo {
    /// The number of the operation in its format's opcode field.
    pub opcode: u16,
    /// The operation.
    pub op: Op,
    /// The result.
    pub dst: Form,
    /// The sources, in the order of [`Inst::src`](super::Inst::src).
    pub src: [Form; 4],
    /// What else is to be known, as bits.
    pub traits: u32,
}

impl OpInfo {
    /// Whether all of `traits` hold.
    pub const fn has(&self, traits: u32) -> bool {
        self.traits & traits == traits
    }

    /// Sources.
    pub fn num_sources(&self) -> usize {
        self.src.iter().filter(|form| form.is_some()).count()
    }
}

const fn row(opcode: u16, op: Op, dst: Form, sources: &[Form], traits: u32) -> OpInfo {
    let mut src = [NONE; 4];
    let mut i = 0;
    while i < sources.len() {
        src[i] = sources[i];
        i += 1;
    }
    OpInfo { opcode, op, dst, src, traits }
}

impl Op {
    /// The operation's row in the table.
    pub fn info(self) -> &'static OpInfo {
        lookup::of(self)
    }

    /// The shortest encoding that it exists in.
    pub fn format(self) -> super::Format {
        lookup::format_of(self)
    }
}
