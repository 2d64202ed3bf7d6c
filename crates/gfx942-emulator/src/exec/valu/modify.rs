//! What encodings do to sources and results: SDWA, DPP, `op_sel`, `neg`, `abs`, `omod`, `clamp`, denormals.

use super::call::{Call, flushes_results};
use crate::WAVE_SIZE;
use crate::exec::sources::Kind;
use crate::exec::{Lanes, Trap};
use crate::isa::{Dpp, Extra, Flags, Inst, Op, Sdwa, SdwaSelect};
use crate::numeric::{F16Rules, flush_f32, flush_f64};

/// Changes source `index` as its instruction asks for.
pub(super) fn source(
    inst: &Inst,
    index: usize,
    kind: Kind,
    exec: u64,
    low: &mut Lanes,
    mut high: Option<&mut Lanes>,
) -> Result<(), Trap> {
    match inst.extra {
        Extra::Dpp(dpp) if index == 0 => {
            permute(dpp, exec, low)?;
            if let Some(high) = high.as_deref_mut() {
                permute(dpp, exec, high)?;
            }
        }
        Extra::Sdwa(sdwa) if index < 2 => {
            select(sdwa.src_sel[index], sdwa.sext[index], low);
        }
        _ => {}
    }
    let bit = 1 << index;
    if kind.is_half() && inst.modifiers.op_sel & bit != 0 {
        low.iter_mut().for_each(|lane| *lane >>= 16);
    }
    let sign = if kind.is_half() { 0x8000 } else { 0x8000_0000 };
    let top = high.unwrap_or(low);
    if inst.modifiers.abs & bit != 0 {
        top.iter_mut().for_each(|lane| *lane &= !sign);
    }
    if inst.modifiers.neg & bit != 0 {
        top.iter_mut().for_each(|lane| *lane ^= sign);
    }
    Ok(())
}

/// Replaces denormals by zeros of their sign.
pub(super) fn flush(kind: Kind, low: &mut Lanes, high: Option<&mut Lanes>) {
    match (kind, high) {
        (Kind::F64, Some(high)) => {
            for (low, high) in low.iter_mut().zip(high) {
                let value = flush_f64(u64::from(*high) << 32 | u64::from(*low));
                (*low, *high) = (value as u32, (value >> 32) as u32);
            }
        }
        _ => low.iter_mut().for_each(|lane| *lane = flush_f32(*lane)),
    }
}

/// Applies denormal mode, output modifier and clamp, in this order.
pub(super) fn result(call: &Call<'_>, kind: Kind, result: &mut [Lanes]) -> Result<(), Trap> {
    let mode = call.wave.mode;
    let clamp = call.inst.flags.has(Flags::CLAMP) && !call.clamped;
    // The manual, 6.2.2: no output modifier in IEEE mode or with denormal results.
    let denormals = if kind == Kind::F32 { mode.denorm_f32() } else { mode.denorm_f16_f64() };
    let omod = if mode.ieee() || denormals & 2 != 0 { 0 } else { call.inst.modifiers.omod };
    match (kind, result) {
        (Kind::F32, [lanes]) => {
            let flush = flushes_results(kind, call.wave);
            each_f32(lanes, |value| {
                let value = scale(f64::from(value), omod) as f32;
                let value = if flush { f32::from_bits(flush_f32(value.to_bits())) } else { value };
                if clamp { clamped(f64::from(value), mode.dx10_clamp()) as f32 } else { value }
            });
        }
        (Kind::F16, [lanes]) => {
            let rules = F16Rules::of(mode);
            for lane in lanes {
                let value = f64::from(crate::numeric::f16::to_f32(*lane as u16));
                let changed = scale(value, omod);
                let changed = if clamp { clamped(changed, mode.dx10_clamp()) } else { changed };
                if omod != 0 || clamp {
                    *lane = u32::from(rules.round_f64(changed));
                }
            }
        }
        (Kind::F64, [low, high]) => {
            let flush = flushes_results(kind, call.wave);
            for (low, high) in low.iter_mut().zip(high) {
                let bits = u64::from(*high) << 32 | u64::from(*low);
                let value = scale(f64::from_bits(bits), omod);
                let value = if flush { f64::from_bits(flush_f64(value.to_bits())) } else { value };
                let value = if clamp { clamped(value, mode.dx10_clamp()) } else { value };
                (*low, *high) = (value.to_bits() as u32, (value.to_bits() >> 32) as u32);
            }
        }
        _ if clamp => return Err(Trap::Unimplemented(format!("clamp of {}", call.inst.op.name()))),
        _ => {}
    }
    Ok(())
}

fn each_f32(lanes: &mut Lanes, f: impl Fn(f32) -> f32) {
    for lane in lanes {
        *lane = f(f32::from_bits(*lane)).to_bits();
    }
}

/// The output modifier; it also makes −0 into +0.
fn scale(value: f64, omod: u8) -> f64 {
    let factor = match omod {
        0 => return value,
        1 => 2.0,
        2 => 4.0,
        _ => 0.5,
    };
    value * factor + 0.0
}

fn clamped(value: f64, nan_to_zero: bool) -> f64 {
    if value.is_nan() && !nan_to_zero {
        value
    } else if value >= 1.0 {
        1.0
    } else if value > 0.0 {
        value
    } else {
        0.0
    }
}

/// Puts a result of at most 32 bits where it belongs in the register, which held `old`.
pub(super) fn place(inst: &Inst, kind: Kind, old: &Lanes, new: &mut Lanes) -> Result<(), Trap> {
    match inst.extra {
        Extra::Sdwa(sdwa) => place_sdwa(sdwa, old, new),
        _ if !kind.is_half() => Ok(()),
        _ if inst.modifiers.op_sel & 8 != 0 => {
            merge(old, new, |old, new| old & 0xffff | new << 16);
            Ok(())
        }
        _ if keeps_high_half(inst.op) => {
            merge(old, new, |old, new| old & 0xffff_0000 | new & 0xffff);
            Ok(())
        }
        _ => {
            new.iter_mut().for_each(|lane| *lane &= 0xffff);
            Ok(())
        }
    }
}

/// Operations of the ninth generation keep what they do not write; older ones zero it.
fn keeps_high_half(op: Op) -> bool {
    use Op::*;
    matches!(
        op,
        v_mad_f16
            | v_mad_u16
            | v_mad_i16
            | v_fma_f16
            | v_div_fixup_f16
            | v_min3_f16
            | v_min3_i16
            | v_min3_u16
            | v_max3_f16
            | v_max3_i16
            | v_max3_u16
            | v_med3_f16
            | v_med3_i16
            | v_med3_u16
            | v_add_i16
            | v_sub_i16
    )
}

fn merge(old: &Lanes, new: &mut Lanes, f: impl Fn(u32, u32) -> u32) {
    for (new, old) in new.iter_mut().zip(old) {
        *new = f(*old, *new);
    }
}

/// The shift and the width of a part.
const fn part(select: SdwaSelect) -> (u32, u32) {
    match select {
        SdwaSelect::Byte0 => (0, 8),
        SdwaSelect::Byte1 => (8, 8),
        SdwaSelect::Byte2 => (16, 8),
        SdwaSelect::Byte3 => (24, 8),
        SdwaSelect::Word0 => (0, 16),
        SdwaSelect::Word1 => (16, 16),
        SdwaSelect::Dword => (0, 32),
    }
}

fn select(select: SdwaSelect, sext: bool, lanes: &mut Lanes) {
    let (shift, width) = part(select);
    let above = 32 - width - shift;
    for lane in lanes {
        let aligned = *lane << above;
        *lane =
            if sext { (aligned as i32 >> (32 - width)) as u32 } else { aligned >> (32 - width) };
    }
}

fn place_sdwa(sdwa: Sdwa, old: &Lanes, new: &mut Lanes) -> Result<(), Trap> {
    let (shift, width) = part(sdwa.dst_sel);
    if width == 32 {
        return Ok(());
    }
    let mask = ((1 << width) - 1) << shift;
    match sdwa.dst_unused {
        0 => merge(old, new, |_, new| new << shift & mask),
        1 => merge(old, new, |_, new| {
            (((new << (32 - width)) as i32 >> (32 - width)) as u32) << shift
        }),
        2 => merge(old, new, |old, new| old & !mask | new << shift & mask),
        other => return Err(Trap::Undefined(format!("dst_unused {other} is reserved"))),
    }
    Ok(())
}

/// That a lane reads outside.
const OUTSIDE: u8 = u8::MAX;

/// The lane that each lane reads, by a DPP control, or [`OUTSIDE`].
fn dpp_sources(ctrl: u16) -> Result<[u8; WAVE_SIZE], Trap> {
    let amount = ctrl as u8 & 15;
    let each = |source: fn(u8, u8) -> u8| {
        let mut sources = [0; WAVE_SIZE];
        for (lane, place) in (0..).zip(&mut sources) {
            *place = source(lane, amount);
        }
        sources
    };
    Ok(match ctrl {
        0x000..=0x0ff => {
            let quad = [0, 2, 4, 6].map(|shift| (ctrl >> shift & 3) as u8);
            std::array::from_fn(|lane| lane as u8 & !3 | quad[lane & 3])
        }
        0x101..=0x10f => each(|lane, n| if (lane & 15) + n < 16 { lane + n } else { OUTSIDE }),
        0x111..=0x11f => each(|lane, n| if lane & 15 >= n { lane - n } else { OUTSIDE }),
        0x121..=0x12f => each(|lane, n| lane & !15 | ((lane & 15) + 16 - n) & 15),
        0x130 => each(|lane, _| if lane < 63 { lane + 1 } else { OUTSIDE }),
        0x134 => each(|lane, _| (lane + 1) & 63),
        0x138 => each(|lane, _| if lane > 0 { lane - 1 } else { OUTSIDE }),
        0x13c => each(|lane, _| (lane + 63) & 63),
        0x140 => each(|lane, _| lane & !15 | (15 - (lane & 15))),
        0x141 => each(|lane, _| lane & !7 | (7 - (lane & 7))),
        0x142 => each(|lane, _| if lane > 15 { (lane & !15) - 1 } else { OUTSIDE }),
        0x143 => each(|lane, _| if lane > 31 { 31 } else { OUTSIDE }),
        0x150..=0x15f => each(|lane, n| lane & !15 | n),
        _ => return Err(Trap::Undefined(format!("dpp control {ctrl:#x} is reserved"))),
    })
}

/// Whether the lane that is read exists and is active.
#[inline(always)]
fn is_valid(source: u8, exec: u64) -> bool {
    source != OUTSIDE && exec >> (source & 63) & 1 != 0
}

/// The lanes that a DPP instruction may write.
pub(super) fn dpp_writes(dpp: Dpp, exec: u64) -> Result<u64, Trap> {
    let sources = dpp_sources(dpp.ctrl)?;
    let mut mask = 0;
    for (lane, source) in sources.into_iter().enumerate() {
        let row = dpp.row_mask >> (lane / 16) & 1 != 0;
        let bank = dpp.bank_mask >> (lane / 4 % 4) & 1 != 0;
        let valid = dpp.bound_ctrl || is_valid(source, exec);
        mask |= u64::from(row && bank && valid) << lane;
    }
    Ok(mask)
}

fn permute(dpp: Dpp, exec: u64, lanes: &mut Lanes) -> Result<(), Trap> {
    let old = *lanes;
    for (new, source) in lanes.iter_mut().zip(dpp_sources(dpp.ctrl)?) {
        *new = if is_valid(source, exec) { old[usize::from(source & 63)] } else { 0 };
    }
    Ok(())
}

#[cfg(test)]
mod tests;
