//! A decoded instruction.

use super::{Op, Operand};

/// The encoding that an instruction was found in: with [`Inst::extra`] it tells LLVM's suffix.
#[allow(missing_docs)] // The names are the manual's (chapter 13).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Format {
    Sop2,
    Sopk,
    Sop1,
    Sopc,
    Sopp,
    Smem,
    Vop2,
    Vop1,
    Vopc,
    /// VOP3A, and VOP3B where [`Inst::sdst`] is set.
    Vop3,
    Vop3p,
    /// VOP3P-MAI: matrix instructions and AccVGPR moves.
    Mai,
    Ds,
    Flat,
    Global,
    Scratch,
    Mubuf,
    Mtbuf,
}

/// A second word that changes how operands are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extra {
    /// Nothing follows, or a literal does.
    None,
    /// Sub-dword addressing (VOP1, VOP2, VOPC).
    Sdwa(Sdwa),
    /// Data-parallel primitives (VOP1, VOP2).
    Dpp(Dpp),
}

/// The part of a register that SDWA selects.
#[allow(missing_docs)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SdwaSelect {
    Byte0,
    Byte1,
    Byte2,
    Byte3,
    Word0,
    Word1,
    Dword,
}

/// Sub-dword addressing. `neg`, `abs`, `clamp` and `omod` are in [`Inst::modifiers`] and [`Inst::flags`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sdwa {
    /// What of the destination is written (not VOPC).
    pub dst_sel: SdwaSelect,
    /// What happens to the rest: 0 zero, 1 sign-extend, 2 keep.
    pub dst_unused: u8,
    /// What of each source is read.
    pub src_sel: [SdwaSelect; 2],
    /// Whether the part is sign-extended (integers).
    pub sext: [bool; 2],
}

/// A data-parallel primitive: where the first source's lanes come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dpp {
    /// The nine-bit control code (`quad_perm`, `row_shl`, `row_bcast`, …).
    pub ctrl: u16,
    /// Rows (of 16 lanes) that may write.
    pub row_mask: u8,
    /// Banks (of 4 lanes in each row) that may write.
    pub bank_mask: u8,
    /// Whether a lane with no source reads 0 instead of being switched off.
    pub bound_ctrl: bool,
}

/// What a vector instruction does to its sources and its result.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Modifiers {
    /// Bit `i`: source `i` is negated (in VOP3P: its low half).
    pub neg: u8,
    /// Bit `i`: source `i` is taken absolute (in VOP3P: its high half is negated).
    pub abs: u8,
    /// Output: 0 ×1, 1 ×2, 2 ×4, 3 ÷2.
    pub omod: u8,
    /// Bit `i`: source `i`'s high half is read (bit 3: the result's is written; in VOP3P, for the low result).
    pub op_sel: u8,
    /// VOP3P: bit `i`, which half of source `i` the high result reads.
    pub op_sel_hi: u8,
    /// MAI: control of broadcast size.
    pub cbsz: u8,
    /// MAI: the block that is broadcast.
    pub abid: u8,
    /// MAI: the B matrix' lane group pattern; for f64, the signs.
    pub blgp: u8,
}

/// One-bit fields.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Flags(pub u16);

#[allow(missing_docs)] // The names are the manual's.
impl Flags {
    pub const CLAMP: Self = Self(1);
    pub const GDS: Self = Self(1 << 1);
    pub const OFFEN: Self = Self(1 << 2);
    pub const IDXEN: Self = Self(1 << 3);
    pub const SC0: Self = Self(1 << 4);
    pub const SC1: Self = Self(1 << 5);
    pub const NT: Self = Self(1 << 6);
    pub const LDS: Self = Self(1 << 7);
    pub const GLC: Self = Self(1 << 8);
    /// SMEM: the offset is an immediate as well as, or instead of, a register.
    pub const IMM: Self = Self(1 << 9);
    /// Scratch: a VGPR takes part in the address.
    pub const SVE: Self = Self(1 << 10);

    /// Whether all of `other`'s bits are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// One decoded instruction.
///
/// Sources by format, absent ones [`Operand::NONE`]:
///
/// | format | `dst` | `sdst` | `src` |
/// |---|---|---|---|
/// | SOP1, SOP2, SOPC | sdst | – | ssrc0, ssrc1 |
/// | SOPK | sdst (the register that is compared, read or written) | – | – ; `offset` is simm16 |
/// | SOPP | – | – | – ; `offset` is simm16 |
/// | SMEM | sdata, also where it is read | – | sbase, soffset ; `offset` |
/// | VOP1, VOP2, VOP3, VOP3P, MAI | vdst | carry or compare mask | src0, src1, src2 (an implicit `vcc` carry-in and the literal of `v_fmamk` and its like included) |
/// | VOPC | – | the mask: `vcc`, or SDWA's and VOP3's own | src0, src1 |
/// | DS | vdst | – | addr, data0, data1 ; `offset` is offset0 + 256 × offset1 |
/// | FLAT, GLOBAL, SCRATCH | vdst | – | addr, data, saddr ; `offset` in bytes, signed |
/// | MUBUF, MTBUF | vdata where it is written | – | vaddr, vdata where it is read, srsrc, soffset ; `offset` |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inst {
    /// What it does.
    pub op: Op,
    /// The encoding it was found in.
    pub format: Format,
    /// Bytes, with whatever follows the first word.
    pub size: u8,
    /// The result.
    pub dst: Operand,
    /// The second result: a carry or a mask in SGPRs.
    pub sdst: Operand,
    /// The sources.
    pub src: [Operand; 4],
    /// The value of [`Operand::LITERAL`] (`s_setreg_imm32_b32`, `v_madmk` and their like as well).
    pub literal: u32,
    /// An immediate offset, or simm16.
    pub offset: i32,
    /// One-bit fields.
    pub flags: Flags,
    /// Source and result modifiers.
    pub modifiers: Modifiers,
    /// A second word that changes how operands are read.
    pub extra: Extra,
    /// MTBUF: the data format (bits 3:0) and the number format (bits 6:4). `s_atc_probe`: its permission bits.
    pub buffer_format: u8,
}
