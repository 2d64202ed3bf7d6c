//! The second words of VOP1, VOP2 and VOPC: SDWA and DPP.

use super::super::table::traits::*;
use super::super::{Dpp, Extra, Flags, Format, Inst, Op, Operand, Sdwa, SdwaSelect};
use super::{OpInfo, Reader, Result, bit, bits, flag};

impl Reader<'_> {
    pub fn sdwa(&mut self, info: &OpInfo, inst: &mut Inst) -> Result<()> {
        self.require(info.has(SDWA), "SDWA form")?;
        let word = self.next()?;
        let is_compare = inst.format == Format::Vopc;
        inst.src[0] = self.sdwa_source(info, 0, bits(word, 0, 8), bit(word, 23))?;
        let mut sdwa = Sdwa {
            dst_sel: SdwaSelect::Dword,
            dst_unused: 0,
            src_sel: [self.select(bits(word, 16, 3))?, SdwaSelect::Dword],
            sext: [bit(word, 19), false],
        };
        if is_compare {
            if bit(word, 15) {
                inst.sdst = self.scalar_register(bits(word, 8, 7), info.dst)?;
            } else {
                self.require(bits(word, 8, 7) == 0, "sdst")?;
            }
        } else {
            sdwa.dst_sel = self.select(bits(word, 8, 3))?;
            sdwa.dst_unused = bits(word, 11, 2) as u8;
            self.require(sdwa.dst_unused < 3, "dst_unused")?;
            inst.modifiers.omod = bits(word, 14, 2) as u8;
            inst.flags = flag(word, 13, Flags::CLAMP);
            let fixed = !has_destination_select(info.op) && bits(word, 8, 5) != 6;
            self.require(!fixed, "dst_sel")?;
        }
        inst.modifiers.neg = bit(word, 20) as u8;
        inst.modifiers.abs = bit(word, 21) as u8;
        if info.src[1].is_some() {
            let index = bits(self.first, 9, 8);
            inst.src[1] = self.sdwa_source(info, 1, index, bit(word, 31))?;
            sdwa.src_sel[1] = self.select(bits(word, 24, 3))?;
            sdwa.sext[1] = bit(word, 27);
            inst.modifiers.neg |= (bit(word, 28) as u8) << 1;
            inst.modifiers.abs |= (bit(word, 29) as u8) << 1;
        } else {
            self.require(bits(word, 24, 8) == 0, "src1")?;
        }
        self.require(!bit(word, 22) && !bit(word, 30), "reserved bit")?;
        inst.extra = Extra::Sdwa(sdwa);
        self.check_sdwa(info, inst, &sdwa)
    }

    /// Floats can change their sign, integers can be sign-extended, and only float results can be multiplied.
    fn check_sdwa(&self, info: &OpInfo, inst: &Inst, sdwa: &Sdwa) -> Result<()> {
        for i in 0..2 {
            let is_packed = info.op == Op::v_pk_fmac_f16;
            let has_sign = bit(info.traits, i as u32) && !is_packed;
            let has_sext = !has_sign && info.src[i].is_some();
            let changed = bit(u32::from(inst.modifiers.neg | inst.modifiers.abs), i as u32);
            self.require(has_sign || !changed, "neg or abs")?;
            self.require(has_sext || !sdwa.sext[i], "sext")?;
        }
        let has_omod = info.has(OMOD) && info.dst.kind.is_float();
        self.require(inst.modifiers.omod == 0 || has_omod, "omod")
    }

    fn sdwa_source(&self, info: &OpInfo, i: usize, index: u32, scalar: bool) -> Result<Operand> {
        if scalar {
            // The field is one bit short of a source code: constants have 128 and more as well.
            return self.source(index, info.src[i]);
        }
        self.vector_register(index, false, info.src[i])
    }

    fn select(&self, code: u32) -> Result<SdwaSelect> {
        use SdwaSelect::*;
        let selects = [Byte0, Byte1, Byte2, Byte3, Word0, Word1, Dword];
        selects.get(code as usize).copied().ok_or(self.no("SDWA select"))
    }

    pub fn dpp(&mut self, info: &OpInfo, inst: &mut Inst) -> Result<()> {
        self.require(info.has(DPP), "DPP form")?;
        let word = self.next()?;
        if info.src[0].is_some() {
            inst.src[0] = self.vector_register(bits(word, 0, 8), false, info.src[0])?;
        } else {
            self.require(bits(word, 0, 8) == 0, "src0")?;
        }
        let dpp = Dpp {
            ctrl: bits(word, 8, 9) as u16,
            row_mask: bits(word, 28, 4) as u8,
            bank_mask: bits(word, 24, 4) as u8,
            bound_ctrl: bit(word, 19),
        };
        self.require(is_control(dpp.ctrl, is_double(info)), "dpp_ctrl")?;
        inst.extra = Extra::Dpp(dpp);
        inst.modifiers.neg = (bits(word, 20, 1) | bits(word, 22, 1) << 1) as u8;
        inst.modifiers.abs = (bits(word, 21, 1) | bits(word, 23, 1) << 1) as u8;
        let changed = inst.modifiers.neg | inst.modifiers.abs;
        let signs = (info.traits & NEG012) as u8;
        self.require(changed & !signs == 0, "neg or abs")?;
        self.require(bits(word, 17, 2) == 0, "reserved bit")
    }
}

/// Conversions from FP8 select a part of their source only.
pub const fn has_destination_select(op: Op) -> bool {
    !matches!(
        op,
        Op::v_cvt_f32_fp8 | Op::v_cvt_f32_bf8 | Op::v_cvt_pk_f32_fp8 | Op::v_cvt_pk_f32_bf8
    )
}

/// Whether the double-precision unit executes it, which knows `row_newbcast` only.
fn is_double(info: &OpInfo) -> bool {
    info.dst.dwords == 2 || info.src[0].dwords == 2
}

fn is_control(ctrl: u16, is_double: bool) -> bool {
    match ctrl {
        0x150..=0x15f => true,
        _ if is_double => false,
        0..=0xff | 0x101..=0x10f | 0x111..=0x11f | 0x121..=0x12f => true,
        0x130 | 0x134 | 0x138 | 0x13c | 0x140..=0x143 => true,
        _ => false,
    }
}
