//! SMEM, DS, FLAT, GLOBAL, SCRATCH, MUBUF, MTBUF.

use super::super::table::traits::*;
use super::super::{Flags, Format, Inst, Op, Operand};
use super::Line;
use super::operand::{operand, small};

pub fn smem(inst: &Inst, line: &mut Line) {
    let info = inst.op.info();
    if inst.dst.is_some() {
        line.operand(&operand(inst, inst.dst, info.dst));
    } else if matches!(inst.op, Op::s_atc_probe | Op::s_atc_probe_buffer) {
        line.operand(&small(inst.buffer_format.into()));
    }
    if !info.src[0].is_some() {
        return;
    }
    line.operand(&operand(inst, inst.src[0], info.src[0]));
    let immediate = hex(inst.offset);
    if inst.src[1].is_some() {
        line.operand(&operand(inst, inst.src[1], super::super::table::B32));
        line.modifier(inst.flags.has(Flags::IMM), &format!("offset:{immediate}"));
    } else {
        line.operand(&immediate);
    }
    line.modifier(inst.flags.has(Flags::GLC), "glc");
}

fn hex(offset: i32) -> String {
    let sign = if offset < 0 { "-" } else { "" };
    format!("{sign}{:#x}", offset.unsigned_abs())
}

pub fn ds(inst: &Inst, line: &mut Line) {
    let info = inst.op.info();
    if inst.dst.is_some() {
        line.operand(&operand(inst, inst.dst, info.dst));
    }
    for (source, form) in inst.src.iter().zip(info.src) {
        if form.is_some() {
            line.operand(&operand(inst, *source, form));
        }
    }
    let offset = inst.offset as u16;
    if info.has(TWO_OFFSETS) {
        line.modifier(offset & 255 != 0, &format!("offset0:{}", offset & 255));
        line.modifier(offset >> 8 != 0, &format!("offset1:{}", offset >> 8));
    } else if inst.op == Op::ds_swizzle_b32 {
        line.modifier(offset != 0, &format!("offset:{}", swizzle(offset)));
    } else {
        line.modifier(offset != 0, &format!("offset:{offset}"));
    }
    line.modifier(inst.flags.has(Flags::GDS), "gds");
}

/// The pattern of `ds_swizzle_b32`.
fn swizzle(offset: u16) -> String {
    let (and, or, xor) = (offset & 31, offset >> 5 & 31, offset >> 10 & 31);
    match offset {
        0xe000.. => return format!("swizzle(FFT,{and})"),
        0xc000.. => return format!("swizzle(ROTATE,{},{or})", xor & 1),
        0x8100.. => return offset.to_string(),
        0x8000.. => {
            let lane = |i: u16| offset >> (2 * i) & 3;
            return format!("swizzle(QUAD_PERM,{},{},{},{})", lane(0), lane(1), lane(2), lane(3));
        }
        _ => {}
    }
    let is_mirror = |size: u16| and == 31 && or == 0 && xor == size - 1;
    match (and, or, xor) {
        (31, 0, 1 | 2 | 4 | 8 | 16) => format!("swizzle(SWAP,{xor})"),
        (31, 0, _) if xor > 0 && is_mirror(xor + 1) && (xor + 1).is_power_of_two() => {
            format!("swizzle(REVERSE,{})", xor + 1)
        }
        (_, _, 0) if is_broadcast(and, or) => format!("swizzle(BROADCAST,{},{or})", 32 - and),
        _ => format!("swizzle(BITMASK_PERM,\"{}\")", bit_masks(and, or, xor)),
    }
}

/// Groups of a power of two lanes read the same lane, which lies in the group.
fn is_broadcast(and: u16, or: u16) -> bool {
    let size = 32 - and;
    size > 1 && size.is_power_of_two() && or < size
}

/// What becomes of each bit of the lane number, from the highest.
fn bit_masks(and: u16, or: u16, xor: u16) -> String {
    let letter = |i: u16| match (and >> i & 1, or >> i & 1, xor >> i & 1) {
        (0, 0, 0) | (_, 1, 1) => '0',
        (0, 0, 1) | (_, 1, 0) => '1',
        (_, _, 0) => 'p',
        _ => 'i',
    };
    (0..5).rev().map(letter).collect()
}

pub fn flat(inst: &Inst, line: &mut Line) {
    let info = inst.op.info();
    let address_dwords = match inst.format {
        Format::Flat => 2,
        Format::Global if !inst.src[2].is_some() => 2,
        _ => 1,
    };
    let address = super::super::table::dwords(address_dwords);
    if inst.dst.is_some() {
        line.operand(&operand(inst, inst.dst, info.dst));
    }
    line.operand(&operand(inst, inst.src[0], address));
    if info.src[1].is_some() {
        line.operand(&operand(inst, inst.src[1], info.src[1]));
    }
    if inst.format != Format::Flat {
        let saddr = super::super::table::dwords(if inst.format == Format::Global { 2 } else { 1 });
        line.operand(&operand(inst, inst.src[2], saddr));
    }
    line.modifier(inst.offset != 0, &format!("offset:{}", inst.offset));
    cache_policy(inst, line);
}

fn cache_policy(inst: &Inst, line: &mut Line) {
    line.modifier(inst.flags.has(Flags::SC0), "sc0");
    line.modifier(inst.flags.has(Flags::NT), "nt");
    line.modifier(inst.flags.has(Flags::SC1), "sc1");
}

pub fn buffer(inst: &Inst, line: &mut Line) {
    let info = inst.op.info();
    if !info.src[2].is_some() {
        return cache_policy(inst, line);
    }
    let (data, form) = match inst.src[1] {
        Operand::NONE => (inst.dst, info.dst),
        data => (data, info.src[1]),
    };
    if data.is_some() {
        line.operand(&operand(inst, data, form));
    }
    let has = |flag: Flags| inst.flags.has(flag);
    let address_dwords = has(Flags::OFFEN) as u8 + has(Flags::IDXEN) as u8;
    line.operand(&operand(inst, inst.src[0], super::super::table::dwords(address_dwords)));
    line.operand(&operand(inst, inst.src[2], info.src[2]));
    line.operand(&operand(inst, inst.src[3], info.src[3]));
    if inst.format == Format::Mtbuf {
        line.text.push_str(&buffer_format(inst.buffer_format));
    }
    line.modifier(has(Flags::IDXEN), "idxen");
    line.modifier(has(Flags::OFFEN), "offen");
    line.modifier(inst.offset != 0, &format!("offset:{}", inst.offset));
    cache_policy(inst, line);
    line.modifier(has(Flags::LDS), "lds");
}

/// Data and number format, unless they are the assembler's defaults.
fn buffer_format(format: u8) -> String {
    let data = [
        "INVALID",
        "8",
        "16",
        "8_8",
        "32",
        "16_16",
        "10_11_11",
        "11_11_10",
        "10_10_10_2",
        "2_10_10_10",
        "8_8_8_8",
        "32_32",
        "16_16_16_16",
        "32_32_32",
        "32_32_32_32",
        "RESERVED_15",
    ];
    let number = ["UNORM", "SNORM", "USCALED", "SSCALED", "UINT", "SINT", "RESERVED_6", "FLOAT"];
    let (dfmt, nfmt) = (usize::from(format & 15), usize::from(format >> 4 & 7));
    let data = format!("BUF_DATA_FORMAT_{}", data[dfmt]);
    let number = format!("BUF_NUM_FORMAT_{}", number[nfmt]);
    match (dfmt, nfmt) {
        (1, 0) => String::new(),
        (1, _) => format!(" format:[{number}]"),
        (_, 0) => format!(" format:[{data}]"),
        _ => format!(" format:[{data},{number}]"),
    }
}
