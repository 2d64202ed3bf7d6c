//! SOP2, SOPK, SOP1, SOPC, SOPP.

use super::super::{Format, Inst, Op, Operand};
use super::{Reader, Result, bits};

/// Whatever starts with the bits 10.
pub fn decode(reader: &mut Reader<'_>) -> Result<Inst> {
    let first = reader.first;
    let inst = match first >> 23 {
        0b1_0111_1101 => sop1(reader),
        0b1_0111_1110 => sopc(reader),
        0b1_0111_1111 => sopp(reader),
        _ if first >> 28 == 0b1011 => sopk(reader),
        _ => sop2(reader),
    }?;
    reader.finish(inst)
}

fn sop2(reader: &Reader<'_>) -> Result<Inst> {
    let word = reader.first;
    let info = reader.find(Format::Sop2, 23, 7)?;
    let mut inst = reader.inst(info, Format::Sop2);
    inst.dst = destination(reader, bits(word, 16, 7), info)?;
    inst.src[0] = reader.scalar_source(bits(word, 0, 8), info.src[0])?;
    inst.src[1] = reader.scalar_source(bits(word, 8, 8), info.src[1])?;
    Ok(inst)
}

/// The result, whose field is 0 where there is none.
fn destination(reader: &Reader<'_>, code: u32, info: &super::OpInfo) -> Result<Operand> {
    if info.dst.is_some() {
        return reader.scalar_register(code, info.dst);
    }
    reader.require(code == 0, "sdst")?;
    Ok(Operand::NONE)
}

fn sopk(reader: &Reader<'_>) -> Result<Inst> {
    let word = reader.first;
    let info = reader.find(Format::Sopk, 23, 5)?;
    let mut inst = reader.inst(info, Format::Sopk);
    inst.dst = destination(reader, bits(word, 16, 7), info)?;
    inst.offset = i32::from(word as i16);
    if info.op == Op::s_setreg_imm32_b32 {
        inst.src[0] = Operand::LITERAL;
    }
    Ok(inst)
}

fn sop1(reader: &Reader<'_>) -> Result<Inst> {
    let word = reader.first;
    let info = reader.find(Format::Sop1, 8, 8)?;
    let mut inst = reader.inst(info, Format::Sop1);
    inst.dst = destination(reader, bits(word, 16, 7), info)?;
    let code = bits(word, 0, 8);
    if matches!(info.op, Op::s_movrels_b32 | Op::s_movrels_b64) {
        reader.require(!matches!(code, 128..=208 | 240..=248 | 255), "ssrc0")?;
        inst.src[0] = reader.scalar_source(code, info.src[0])?;
    } else if info.src[0].is_some() {
        inst.src[0] = reader.scalar_source(code, info.src[0])?;
    } else {
        reader.require(code == 0, "ssrc0")?;
    }
    Ok(inst)
}

fn sopc(reader: &Reader<'_>) -> Result<Inst> {
    let word = reader.first;
    let info = reader.find(Format::Sopc, 16, 7)?;
    let mut inst = reader.inst(info, Format::Sopc);
    inst.src[0] = reader.scalar_source(bits(word, 0, 8), info.src[0])?;
    if info.src[1].is_some() {
        inst.src[1] = reader.scalar_source(bits(word, 8, 8), info.src[1])?;
    } else {
        inst.offset = bits(word, 8, 8) as i32;
    }
    Ok(inst)
}

fn sopp(reader: &Reader<'_>) -> Result<Inst> {
    let info = reader.find(Format::Sopp, 16, 7)?;
    let mut inst = reader.inst(info, Format::Sopp);
    inst.offset = i32::from(reader.first as i16);
    reader.require(inst.offset == 0 || has_immediate(info.op), "simm16")?;
    Ok(inst)
}

/// Whether SOPP's simm16 means something.
pub const fn has_immediate(op: Op) -> bool {
    use Op::*;
    !matches!(
        op,
        s_wakeup
            | s_barrier
            | s_icache_inv
            | s_ttracedata
            | s_endpgm_saved
            | s_set_gpr_idx_off
            | s_endpgm_ordered_ps_done
    )
}
