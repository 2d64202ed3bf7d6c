//! An operand code, in the numbering of the ISA.

/// Where an operand lives: the ISA's nine-bit source code, extended by the accumulation registers.
///
/// | code | operand |
/// |---|---|
/// | 0–101 | SGPRs |
/// | 102–103 | `flat_scratch` |
/// | 104–105 | `xnack_mask` |
/// | 106–107 | `vcc` |
/// | 108–123 | `ttmp0`–`ttmp15` |
/// | 124 | `m0` |
/// | 126–127 | `exec` |
/// | 128–208 | the integers 0 to 64 and −1 to −16 |
/// | 235–239 | `src_shared_base`, `src_shared_limit`, `src_private_base`, `src_private_limit`, `src_pops_exiting_wave_id` |
/// | 240–248 | 0.5, −0.5, 1, −1, 2, −2, 4, −4, 1/(2π) |
/// | 251–253 | `src_vccz`, `src_execz`, `src_scc` |
/// | 254 | `src_lds_direct` |
/// | 255 | a literal, in [`Inst::literal`](super::Inst::literal) |
/// | 256–511 | VGPRs |
/// | 512–767 | AccVGPRs (not a hardware code: the ACC bits of the encodings) |
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Operand(pub u16);

impl Operand {
    /// No operand in this place (also how LLVM's `off` is kept).
    pub const NONE: Self = Self(u16::MAX);
    /// The low half of `flat_scratch`.
    pub const FLAT_SCRATCH: Self = Self(102);
    /// The low half of `xnack_mask`.
    pub const XNACK_MASK: Self = Self(104);
    /// The low half of `vcc`.
    pub const VCC: Self = Self(106);
    /// The first trap temporary.
    pub const TTMP0: Self = Self(108);
    /// `m0`.
    pub const M0: Self = Self(124);
    /// The low half of `exec`.
    pub const EXEC: Self = Self(126);
    /// `src_shared_base`: the aperture of LDS, as the high half of a flat address.
    pub const SHARED_BASE: Self = Self(235);
    /// `src_vccz`.
    pub const VCCZ: Self = Self(251);
    /// `src_execz`.
    pub const EXECZ: Self = Self(252);
    /// `src_scc`.
    pub const SCC: Self = Self(253);
    /// A 32-bit literal that follows the instruction.
    pub const LITERAL: Self = Self(255);
    /// The first VGPR.
    pub const VGPR0: Self = Self(256);
    /// The first AccVGPR.
    pub const ACC0: Self = Self(512);

    /// The VGPR `index`.
    pub const fn vgpr(index: u8) -> Self {
        Self(Self::VGPR0.0 + index as u16)
    }

    /// The AccVGPR `index`.
    pub const fn acc(index: u8) -> Self {
        Self(Self::ACC0.0 + index as u16)
    }

    /// The SGPR-like code `code` (0–127: SGPRs, `vcc`, `m0`, `exec` and their like).
    pub const fn sgpr(code: u8) -> Self {
        Self(code as u16)
    }

    /// Whether this is an operand.
    pub const fn is_some(self) -> bool {
        self.0 != Self::NONE.0
    }

    /// The vector register file's index: 0–255 VGPRs, 256–511 AccVGPRs; `None` for anything else.
    pub const fn vector_index(self) -> Option<usize> {
        match self.0 {
            256..=767 => Some(self.0 as usize - 256),
            _ => None,
        }
    }

    /// Whether this is a register of the scalar file, named ones included.
    pub const fn is_scalar_register(self) -> bool {
        self.0 < 128
    }

    /// The value of an integer inline constant.
    pub const fn inline_integer(self) -> Option<i32> {
        match self.0 {
            128..=192 => Some(self.0 as i32 - 128),
            193..=208 => Some(192 - self.0 as i32),
            _ => None,
        }
    }

    /// Whether this is one of the inline floating-point constants.
    pub const fn is_inline_float(self) -> bool {
        matches!(self.0, 240..=248)
    }
}
