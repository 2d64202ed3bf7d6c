//! VOP1, VOP2, VOPC, VOP3, VOP3P and MAI.

use super::super::table::MASK;
use super::super::table::traits::*;
use super::super::{Flags, Format, Inst, Modifiers, Op, Operand};
use super::{OpInfo, Reader, Result, bit, bits, flag};

/// Source codes that say what the second word is.
const SDWA_WORD: u32 = 249;
const DPP_WORD: u32 = 250;

pub fn vop1(reader: &mut Reader<'_>) -> Result<Inst> {
    let word = reader.first;
    let info = reader.find(Format::Vop1, 9, 8)?;
    let mut inst = reader.inst(info, Format::Vop1);
    let acc = info.op == Op::v_accvgpr_mov_b32;
    inst.dst = vector_result(reader, info, bits(word, 17, 8), acc)?;
    if !info.src[0].is_some() {
        reader.require(matches!(bits(word, 0, 9), 0 | DPP_WORD), "src0")?;
    }
    first_source(reader, info, &mut inst)?;
    if acc || matches!(info.op, Op::v_swap_b32 | Op::v_readfirstlane_b32) {
        let Some(index) = inst.src[0].vector_index() else { return Err(reader.no("src0")) };
        inst.src[0] = reader.vector_register(index as u32, acc, info.src[0])?;
    }
    reader.finish(inst)
}

pub fn vop2(reader: &mut Reader<'_>) -> Result<Inst> {
    let word = reader.first;
    let info = reader.find(Format::Vop2, 25, 6)?;
    let mut inst = reader.inst(info, Format::Vop2);
    inst.dst = vector_result(reader, info, bits(word, 17, 8), false)?;
    first_source(reader, info, &mut inst)?;
    let second = second_source(reader, info, &inst)?;
    match info.op {
        Op::v_fmamk_f32 | Op::v_madmk_f16 => {
            [inst.src[1], inst.src[2]] = [Operand::LITERAL, second]
        }
        Op::v_fmaak_f32 | Op::v_madak_f16 => {
            [inst.src[1], inst.src[2]] = [second, Operand::LITERAL]
        }
        _ => inst.src[1] = second,
    }
    implicit_masks(info, &mut inst);
    reader.finish(inst)
}

pub fn vopc(reader: &mut Reader<'_>) -> Result<Inst> {
    let info = reader.find(Format::Vopc, 17, 8)?;
    let mut inst = reader.inst(info, Format::Vopc);
    inst.sdst = Operand::VCC;
    first_source(reader, info, &mut inst)?;
    inst.src[1] = second_source(reader, info, &inst)?;
    reader.finish(inst)
}

/// The carry or condition that the shorter encodings keep in `vcc`.
fn implicit_masks(info: &OpInfo, inst: &mut Inst) {
    if info.has(SDST) {
        inst.sdst = Operand::VCC;
    }
    if info.has(MASK_IN) {
        inst.src[2] = Operand::VCC;
    }
}

/// The result in the vdst field, which may name an SGPR and is 0 where there is no result.
fn vector_result(reader: &Reader<'_>, info: &OpInfo, code: u32, acc: bool) -> Result<Operand> {
    if !info.dst.is_some() {
        reader.require(code == 0, "vdst")?;
        return Ok(Operand::NONE);
    }
    if info.has(SCALAR_DST) {
        return reader.scalar_register(code, info.dst);
    }
    reader.vector_register(code, acc, info.dst)
}

/// src0 of VOP1, VOP2 and VOPC, with the SDWA or DPP word that it may announce.
fn first_source(reader: &mut Reader<'_>, info: &OpInfo, inst: &mut Inst) -> Result<()> {
    match bits(reader.first, 0, 9) {
        SDWA_WORD => reader.sdwa(info, inst),
        DPP_WORD => reader.dpp(info, inst),
        code if info.src[0].is_some() => {
            inst.src[0] = reader.source_or_literal(code, info.src[0])?;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// vsrc1 of VOP2 and VOPC; SDWA may have made an SGPR of it.
fn second_source(reader: &Reader<'_>, info: &OpInfo, inst: &Inst) -> Result<Operand> {
    if inst.src[1].is_some() {
        return Ok(inst.src[1]);
    }
    reader.vector_register(bits(reader.first, 9, 8), false, info.src[1])
}

pub fn vop3(reader: &mut Reader<'_>) -> Result<Inst> {
    let info = reader.find(Format::Vop3, 16, 10)?;
    let word = reader.first;
    let second = reader.next()?;
    let mut inst = reader.inst(info, Format::Vop3);
    let code = bits(word, 0, 8);
    let is_compare = word >> 24 & 3 == 0;
    if is_compare {
        inst.sdst = reader.scalar_register(code, info.dst)?;
    } else {
        inst.dst = vector_result(reader, info, code, false)?;
    }
    // VOP3B has its second result where VOP3A has `abs` and `op_sel`.
    let mask = if info.has(SDST) { 0 } else { u32::MAX };
    if info.has(SDST) {
        inst.sdst = reader.scalar_register(bits(word, 8, 7), MASK)?;
    }
    for i in 0..3 {
        let code = bits(second, 9 * i as u32, 9);
        inst.src[i] = match i {
            2 if info.has(MASK_IN) => reader.scalar_register_but_exec(code, MASK)?,
            _ => source(reader, info, i, code)?,
        };
    }
    inst.modifiers = Modifiers {
        neg: bits(second, 29, 3) as u8,
        abs: (bits(word, 8, 3) & mask) as u8,
        omod: bits(second, 27, 2) as u8,
        op_sel: (bits(word, 11, 4) & mask) as u8,
        ..Modifiers::default()
    };
    inst.flags = flag(word, 15, Flags::CLAMP);
    reader.check_modifiers(info, &inst)?;
    reader.finish(inst)
}

fn source(reader: &Reader<'_>, info: &OpInfo, i: usize, code: u32) -> Result<Operand> {
    let form = info.src[i];
    if !form.is_some() {
        reader.require(code == 0, ["src0", "src1", "src2"][i])?;
        return Ok(Operand::NONE);
    }
    if matches!(info.op, Op::v_readlane_b32 | Op::v_writelane_b32) {
        return lane_source(reader, info, i, code);
    }
    reader.require(code >= 256 || form.dwords < 4, "src2")?;
    reader.source(code, form)
}

/// Lane selects and the value that `v_writelane` writes are scalar, what `v_readlane` reads is a vector.
fn lane_source(reader: &Reader<'_>, info: &OpInfo, i: usize, code: u32) -> Result<Operand> {
    let is_vector = info.op == Op::v_readlane_b32 && i == 0;
    reader.require((code >= 256) == is_vector, "lane operand")?;
    reader.source(code, info.src[i])
}

impl Reader<'_> {
    /// Refuses modifiers that the operation does not have.
    fn check_modifiers(&self, info: &OpInfo, inst: &Inst) -> Result<()> {
        let modifiers = &inst.modifiers;
        let signs = (info.traits & NEG012) as u8;
        self.require(modifiers.neg & !signs == 0, "neg")?;
        self.require(modifiers.abs & !signs == 0, "abs")?;
        self.require(modifiers.omod == 0 || info.has(OMOD), "omod")?;
        self.require(!inst.flags.has(Flags::CLAMP) || info.has(CLAMP), "clamp")?;
        let selects = (info.traits / SEL0) as u8 & 15;
        self.require(modifiers.op_sel & !selects == 0, "op_sel")
    }
}

pub fn vop3p(reader: &mut Reader<'_>) -> Result<Inst> {
    let Ok(info) = reader.find(Format::Vop3p, 16, 7) else { return mai(reader) };
    let word = reader.first;
    let second = reader.next()?;
    let mut inst = reader.inst(info, Format::Vop3p);
    inst.dst = reader.vector_register(bits(word, 0, 8), false, info.dst)?;
    for i in 0..3 {
        inst.src[i] = source(reader, info, i, bits(second, 9 * i as u32, 9))?;
    }
    inst.modifiers = Modifiers {
        neg: bits(second, 29, 3) as u8,
        abs: bits(word, 8, 3) as u8,
        op_sel: bits(word, 11, 3) as u8,
        op_sel_hi: (bits(second, 27, 2) | bits(word, 14, 1) << 2) as u8,
        ..Modifiers::default()
    };
    inst.flags = flag(word, 15, Flags::CLAMP);
    check_packed(reader, info, &mut inst.modifiers)?;
    reader.finish(inst)
}

/// Sources that do not exist have no modifiers, except that their `op_sel_hi` is ignored (and is 1 by custom).
fn check_packed(reader: &Reader<'_>, info: &OpInfo, modifiers: &mut Modifiers) -> Result<()> {
    let absent = !((1 << info.num_sources()) - 1);
    reader.require(modifiers.neg & absent == 0, "neg_lo")?;
    reader.require(modifiers.abs & absent == 0, "neg_hi")?;
    let selects = (info.traits / SEL0) as u8 & 7;
    reader.require(modifiers.op_sel & !selects == 0, "op_sel")?;
    modifiers.op_sel_hi |= !selects & 7;
    Ok(())
}

fn mai(reader: &mut Reader<'_>) -> Result<Inst> {
    let info = reader.find(Format::Mai, 16, 7)?;
    let word = reader.first;
    let second = reader.next()?;
    let mut inst = reader.inst(info, Format::Mai);
    if matches!(info.op, Op::v_accvgpr_read_b32 | Op::v_accvgpr_write_b32) {
        return acc_move(reader, info, second, inst);
    }
    let acc = bit(word, 15);
    inst.dst = reader.vector_register(bits(word, 0, 8), acc, info.dst)?;
    for i in 0..2 {
        let code = bits(second, 9 * i as u32, 9);
        reader.require(code >= 256, "matrix operand outside the vector registers")?;
        let acc = bit(second, 27 + i as u32);
        inst.src[i] = reader.vector_register(code - 256, acc, info.src[i])?;
    }
    let code = bits(second, 18, 9);
    inst.src[2] = match code {
        256.. => reader.vector_register(code - 256, acc && !info.has(SPARSE), info.src[2])?,
        _ if info.has(SPARSE) || code < 128 => return Err(reader.no("src2")),
        _ => reader.source(code, info.src[2])?,
    };
    inst.modifiers = Modifiers {
        cbsz: bits(word, 8, 3) as u8,
        abid: bits(word, 11, 4) as u8,
        blgp: bits(second, 29, 3) as u8,
        ..Modifiers::default()
    };
    reader.require(inst.modifiers.blgp == 0 || !info.has(SPARSE), "blgp")?;
    reader.finish(inst)
}

/// `v_accvgpr_read_b32` and `v_accvgpr_write_b32`.
fn acc_move(reader: &mut Reader<'_>, info: &OpInfo, second: u32, mut inst: Inst) -> Result<Inst> {
    let reads = info.op == Op::v_accvgpr_read_b32;
    reader.require(bits(reader.first, 8, 6) == 0 && bits(second, 29, 3) == 0, "modifier")?;
    reader.require(bits(second, 9, 18) == 0, "src1 or src2")?;
    inst.dst = reader.vector_register(bits(reader.first, 0, 8), !reads, info.dst)?;
    let code = bits(second, 0, 9);
    inst.src[0] = if reads {
        reader.require(code >= 256, "src0")?;
        reader.vector_register(code - 256, true, info.src[0])?
    } else {
        reader.source(code, info.src[0])?
    };
    reader.finish(inst)
}
