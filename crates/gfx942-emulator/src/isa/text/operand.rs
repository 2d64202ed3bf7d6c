//! Registers, constants and literals.

use super::super::table::{Form, Kind};
use super::super::{Inst, Operand};

/// The operand, `form` registers wide.
pub fn operand(inst: &Inst, operand: Operand, form: Form) -> String {
    match operand.0 {
        0..102 => registers("s", operand.0, form.dwords),
        108..124 => registers("ttmp", operand.0 - 108, form.dwords),
        102..128 => named(operand.0, form.dwords == 1),
        128..=208 | 240..=248 => constant(operand, form.kind),
        235 => "src_shared_base".into(),
        236 => "src_shared_limit".into(),
        237 => "src_private_base".into(),
        238 => "src_private_limit".into(),
        239 => "src_pops_exiting_wave_id".into(),
        251 => "src_vccz".into(),
        252 => "src_execz".into(),
        253 => "src_scc".into(),
        255 => literal(inst.literal, form.kind),
        256..512 => registers("v", operand.0 - 256, form.dwords),
        512..768 => registers("a", operand.0 - 512, form.dwords),
        _ => "off".into(),
    }
}

fn registers(file: &str, index: u16, dwords: u8) -> String {
    match dwords {
        1 => format!("{file}{index}"),
        _ => format!("{file}[{index}:{}]", index + u16::from(dwords) - 1),
    }
}

/// The named scalar registers, of which most come as a pair or as one of its halves.
fn named(code: u16, is_half: bool) -> String {
    let name = match code {
        102 | 103 => "flat_scratch",
        104 | 105 => "xnack_mask",
        106 | 107 => "vcc",
        126 | 127 => "exec",
        _ => return "m0".into(),
    };
    match (is_half, code % 2) {
        (false, _) => name.into(),
        (true, 0) => format!("{name}_lo"),
        (true, _) => format!("{name}_hi"),
    }
}

fn constant(operand: Operand, kind: Kind) -> String {
    if let Some(integer) = operand.inline_integer() {
        return integer.to_string();
    }
    let index = usize::from(operand.0 - 240);
    match kind {
        // Integer operations read the bits of the half-precision constant; LLVM prints those.
        Kind::B16 => format!("{:#x}", F16_CONSTANTS[index]),
        Kind::B64 | Kind::F64 if index == 8 => "0.15915494309189532".into(),
        _ => CONSTANTS[index].into(),
    }
}

/// The floating-point inline constants, from code 240.
const CONSTANTS: [&str; 9] =
    ["0.5", "-0.5", "1.0", "-1.0", "2.0", "-2.0", "4.0", "-4.0", "0.15915494"];
const F16_CONSTANTS: [u16; 9] =
    [0x3800, 0xb800, 0x3c00, 0xbc00, 0x4000, 0xc000, 0x4400, 0xc400, 0x3118];
const F32_CONSTANTS: [u32; 9] = [
    0x3f00_0000,
    0xbf00_0000,
    0x3f80_0000,
    0xbf80_0000,
    0x4000_0000,
    0xc000_0000,
    0x4080_0000,
    0xc080_0000,
    0x3e22_f983,
];

/// A literal: LLVM prints values that could have been inline constants as if they were, except for f64.
fn literal(bits: u32, kind: Kind) -> String {
    let half = bits as u16;
    let integer = match kind {
        Kind::F16 => i64::from(half as i16),
        Kind::B64 => i64::from(bits),
        _ => i64::from(bits as i32),
    };
    let constant = match kind {
        Kind::F16 => F16_CONSTANTS.iter().position(|&constant| constant == half),
        Kind::B32 | Kind::F32 => F32_CONSTANTS.iter().position(|&constant| constant == bits),
        _ => None,
    };
    match (kind, constant) {
        (Kind::F64, _) => format!("{bits:#x}"),
        _ if (-16..=64).contains(&integer) => integer.to_string(),
        (_, Some(index)) => CONSTANTS[index].into(),
        (Kind::B16 | Kind::F16, _) => format!("{half:#x}"),
        _ => format!("{bits:#x}"),
    }
}

/// Immediates that would be inline constants are decimal.
pub fn small(immediate: u16) -> String {
    match immediate {
        0..=64 => immediate.to_string(),
        _ => format!("{immediate:#x}"),
    }
}
