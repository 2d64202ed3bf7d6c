//! VOP1, VOP2, VOPC, VOP3, VOP3P and MAI.

use super::super::decode::has_destination_select;
use super::super::table::traits::*;
use super::super::table::{Kind, MASK, OpInfo};
use super::super::{Dpp, Extra, Flags, Format, Inst, Op, Sdwa, SdwaSelect};
use super::Line;
use super::operand::operand;

pub fn print(inst: &Inst, line: &mut Line) {
    let info = inst.op.info();
    line.text.push_str(suffix(inst, info));
    if inst.dst.is_some() {
        line.operand(&operand(inst, inst.dst, info.dst));
    }
    if inst.sdst.is_some() {
        line.operand(&operand(inst, inst.sdst, MASK));
    }
    for i in 0..3 {
        if inst.src[i].is_some() {
            line.operand(&source(inst, info, i));
        }
    }
    match inst.format {
        Format::Vop3p => packed_modifiers(inst, info, line),
        Format::Mai => matrix_modifiers(inst, line),
        _ => modifiers(inst, info, line),
    }
    match &inst.extra {
        Extra::None => {}
        Extra::Sdwa(sdwa) => sdwa_selects(inst, info, sdwa, line),
        Extra::Dpp(dpp) => dpp_control(dpp, line),
    }
}

/// The encoding, where the operation has more than one.
fn suffix(inst: &Inst, info: &OpInfo) -> &'static str {
    let has_forms = info.has(E64) && info.dst.is_some();
    match (inst.format, &inst.extra) {
        _ if !has_forms && !info.has(SDWA) && !info.has(DPP) => "",
        (_, Extra::Sdwa(_)) => "_sdwa",
        _ if !has_forms => "",
        (_, Extra::Dpp(_)) => "_dpp",
        (Format::Vop3, _) => "_e64",
        _ => "_e32",
    }
}

/// A source; lane masks have no form of their own in the table.
fn source(inst: &Inst, info: &OpInfo, i: usize) -> String {
    let form = if i == 2 && info.has(MASK_IN) { MASK } else { info.src[i] };
    let mut text = operand(inst, inst.src[i], form);
    if Some(i) == literal_place(inst.op) {
        text = format!("{:#x}", inst.literal);
    }
    if matches!(inst.format, Format::Vop3p | Format::Mai) && !is_mix(inst.op) {
        return text;
    }
    let is_set = |bits: u8| bits >> i & 1 != 0;
    if is_set(inst.modifiers.abs) {
        text = format!("|{text}|");
    }
    if is_set(inst.modifiers.neg) {
        let is_number = text.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        text = if is_number { format!("neg({text})") } else { format!("-{text}") };
    }
    match &inst.extra {
        Extra::Sdwa(sdwa) if i < 2 && sdwa.sext[i] => format!("sext({text})"),
        _ => text,
    }
}

/// The source that is always a literal, and is always printed as bits.
const fn literal_place(op: Op) -> Option<usize> {
    match op {
        Op::v_fmamk_f32 | Op::v_madmk_f16 => Some(1),
        Op::v_fmaak_f32 | Op::v_madak_f16 => Some(2),
        _ => None,
    }
}

/// Mixed-precision fused multiply-add: VOP3P in encoding, VOP3 in its signs.
fn is_mix(op: Op) -> bool {
    matches!(op, Op::v_fma_mix_f32 | Op::v_fma_mixlo_f16 | Op::v_fma_mixhi_f16)
}

fn modifiers(inst: &Inst, info: &OpInfo, line: &mut Line) {
    let modifiers = &inst.modifiers;
    let sources = if info.has(SEL0123) { 3 } else { 2 };
    if modifiers.op_sel != 0 {
        // The last bit is the result's, right after the last source's.
        let bits = modifiers.op_sel & ((1 << sources) - 1) | modifiers.op_sel >> 3 << sources;
        line.bits("op_sel", bits, sources + 1, 0);
    }
    line.modifier(inst.flags.has(Flags::CLAMP), "clamp");
    let omod = ["", "mul:2", "mul:4", "div:2"][usize::from(modifiers.omod & 3)];
    line.modifier(modifiers.omod != 0, omod);
}

fn packed_modifiers(inst: &Inst, info: &OpInfo, line: &mut Line) {
    let modifiers = &inst.modifiers;
    let sources = info.num_sources();
    let mix = is_mix(inst.op);
    line.bits("op_sel", modifiers.op_sel, sources, 0);
    line.bits("op_sel_hi", modifiers.op_sel_hi, sources, if mix { 0 } else { 7 });
    if !mix {
        line.bits("neg_lo", modifiers.neg, sources, 0);
        line.bits("neg_hi", modifiers.abs, sources, 0);
    }
    line.modifier(inst.flags.has(Flags::CLAMP), "clamp");
}

fn matrix_modifiers(inst: &Inst, line: &mut Line) {
    let modifiers = &inst.modifiers;
    line.modifier(modifiers.cbsz != 0, &format!("cbsz:{}", modifiers.cbsz));
    line.modifier(modifiers.abid != 0, &format!("abid:{}", modifiers.abid));
    if inst.op.info().dst.kind == Kind::F64 {
        line.bits("neg", modifiers.blgp, 3, 0);
    } else {
        line.modifier(modifiers.blgp != 0, &format!("blgp:{}", modifiers.blgp));
    }
}

fn sdwa_selects(inst: &Inst, info: &OpInfo, sdwa: &Sdwa, line: &mut Line) {
    if inst.format != Format::Vopc && has_destination_select(inst.op) {
        line.modifier(true, &format!("dst_sel:{}", select(sdwa.dst_sel)));
        let unused = ["PAD", "SEXT", "PRESERVE"][usize::from(sdwa.dst_unused).min(2)];
        line.modifier(true, &format!("dst_unused:UNUSED_{unused}"));
    }
    line.modifier(true, &format!("src0_sel:{}", select(sdwa.src_sel[0])));
    line.modifier(info.src[1].is_some(), &format!("src1_sel:{}", select(sdwa.src_sel[1])));
}

fn select(select: SdwaSelect) -> &'static str {
    match select {
        SdwaSelect::Byte0 => "BYTE_0",
        SdwaSelect::Byte1 => "BYTE_1",
        SdwaSelect::Byte2 => "BYTE_2",
        SdwaSelect::Byte3 => "BYTE_3",
        SdwaSelect::Word0 => "WORD_0",
        SdwaSelect::Word1 => "WORD_1",
        SdwaSelect::Dword => "DWORD",
    }
}

fn dpp_control(dpp: &Dpp, line: &mut Line) {
    let ctrl = dpp.ctrl;
    let lanes = ctrl & 15;
    let text = match ctrl {
        0..=0xff => {
            format!("quad_perm:[{},{},{},{}]", ctrl & 3, ctrl >> 2 & 3, ctrl >> 4 & 3, ctrl >> 6)
        }
        0x100..=0x10f => format!("row_shl:{lanes}"),
        0x110..=0x11f => format!("row_shr:{lanes}"),
        0x120..=0x12f => format!("row_ror:{lanes}"),
        0x130 => "wave_shl:1".into(),
        0x134 => "wave_rol:1".into(),
        0x138 => "wave_shr:1".into(),
        0x13c => "wave_ror:1".into(),
        0x140 => "row_mirror".into(),
        0x141 => "row_half_mirror".into(),
        0x142 => "row_bcast:15".into(),
        0x143 => "row_bcast:31".into(),
        _ => format!("row_newbcast:{lanes}"),
    };
    line.modifier(true, &text);
    line.modifier(true, &format!("row_mask:{:#x}", dpp.row_mask));
    line.modifier(true, &format!("bank_mask:{:#x}", dpp.bank_mask));
    line.modifier(dpp.bound_ctrl, "bound_ctrl:1");
}
