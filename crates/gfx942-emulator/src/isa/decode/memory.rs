//! SMEM, DS, FLAT, GLOBAL, SCRATCH, MUBUF, MTBUF.

use super::super::table::Form;
use super::super::table::traits::*;
use super::super::{Flags, Format, Inst, Op};
use super::{OpInfo, Reader, Result, bit, bits, flag};

/// The saddr code that stands for no register.
const SADDR_OFF: u32 = 0x7f;

fn or(flags: &[Flags]) -> Flags {
    Flags(flags.iter().fold(0, |all, flag| all | flag.0))
}

/// The low `width` bits of `word` as a signed number.
fn signed(word: u32, width: u32) -> i32 {
    (word << (32 - width)) as i32 >> (32 - width)
}

pub fn smem(reader: &mut Reader<'_>) -> Result<Inst> {
    let info = reader.find(Format::Smem, 18, 8)?;
    let word = reader.first;
    let second = reader.next()?;
    let mut inst = reader.inst(info, Format::Smem);
    let data = bits(word, 6, 7);
    let is_probe = matches!(info.op, Op::s_atc_probe | Op::s_atc_probe_buffer);
    if info.dst.is_some() {
        inst.dst = reader.scalar_register(data, info.dst)?;
    } else if is_probe {
        inst.buffer_format = data as u8;
    } else {
        reader.require(data == 0, "sdata")?;
    }
    inst.flags = or(&[flag(word, 16, Flags::GLC), flag(word, 17, Flags::IMM)]);
    reader.require(!bit(word, 15) && !bit(word, 13), "reserved bit")?;
    if info.src[0].is_some() {
        inst.src[0] = reader.scalar_register(bits(word, 0, 6) << 1, info.src[0])?;
        smem_offset(reader, &mut inst, second)?;
    } else {
        let rest = bits(word, 0, 6) | second | u32::from(inst.flags.0);
        reader.require(rest == 0 && !bit(word, 14), "operand")?;
    }
    reader.finish(inst)
}

/// An immediate, a register, or (with `soffset_en`) both.
fn smem_offset(reader: &Reader<'_>, inst: &mut Inst, second: u32) -> Result<()> {
    let both = bit(reader.first, 14);
    let offset = signed(bits(second, 0, 21), 21);
    if inst.flags.has(Flags::IMM) {
        inst.offset = offset;
        reader.require(bits(second, 21, 4) == 0, "reserved bit")?;
        if !both {
            return reader.require(bits(second, 25, 7) == 0, "soffset");
        }
        inst.src[1] = reader.scalar_register(bits(second, 25, 7), SCALAR)?;
    } else if both {
        reader.require(bits(second, 0, 25) == 0, "offset")?;
        inst.src[1] = reader.scalar_register(bits(second, 25, 7), SCALAR)?;
    } else {
        reader.require(bits(second, 7, 25) == 0, "offset")?;
        inst.src[1] = reader.scalar_register(bits(second, 0, 7), SCALAR)?;
    }
    Ok(())
}

const SCALAR: Form = super::super::table::B32;

pub fn ds(reader: &mut Reader<'_>) -> Result<Inst> {
    let info = reader.find(Format::Ds, 17, 8)?;
    let word = reader.first;
    let second = reader.next()?;
    let mut inst = reader.inst(info, Format::Ds);
    let acc = bit(word, 25);
    inst.flags = flag(word, 16, Flags::GDS);
    // Of the global data share only the wave barriers are left.
    reader.require(inst.flags.has(Flags::GDS) == is_global_wave_sync(info.op), "gds")?;
    inst.offset = bits(word, 0, 16) as i32;
    for i in 0..3 {
        let index = bits(second, 8 * i as u32, 8);
        if info.src[i].is_some() {
            inst.src[i] = reader.vector_register(
                index,
                acc && (i > 0 || is_global_wave_sync(info.op)),
                info.src[i],
            )?;
        } else {
            reader.require(index == 0, ["addr", "data0", "data1"][i])?;
        }
    }
    let vdst = bits(second, 24, 8);
    if info.dst.is_some() {
        inst.dst = reader.vector_register(vdst, acc, info.dst)?;
    } else {
        reader.require(vdst == 0, "vdst")?;
    }
    reader.finish(inst)
}

const fn is_global_wave_sync(op: Op) -> bool {
    use Op::*;
    matches!(
        op,
        ds_gws_init
            | ds_gws_barrier
            | ds_gws_sema_v
            | ds_gws_sema_p
            | ds_gws_sema_br
            | ds_gws_sema_release_all
    )
}

pub fn flat(reader: &mut Reader<'_>) -> Result<Inst> {
    let word = reader.first;
    let format = match bits(word, 14, 2) {
        0 => Format::Flat,
        1 => Format::Scratch,
        2 => Format::Global,
        _ => return Err(reader.no("segment")),
    };
    let info = reader.find(format, 18, 7)?;
    let second = reader.next()?;
    let mut inst = reader.inst(info, format);
    inst.flags = or(&[
        flag(word, 16, Flags::SC0),
        flag(word, 17, Flags::NT),
        flag(word, 25, Flags::SC1),
        flag(word, 13, Flags::SVE),
    ]);
    reader.require(format == Format::Scratch || !bit(word, 13), "reserved bit")?;
    inst.offset = signed(bits(word, 0, 13), 13);
    reader.require(format != Format::Flat || inst.offset >= 0, "offset")?;
    flat_address(reader, &mut inst, second)?;
    let acc = bit(second, 23);
    let (data, vdst) = (bits(second, 8, 8), bits(second, 24, 8));
    if info.src[1].is_some() {
        inst.src[1] = reader.vector_register(data, acc, info.src[1])?;
    } else {
        reader.require(data == 0, "data")?;
    }
    if info.dst.is_some() && returns(info, &inst) {
        inst.dst = reader.vector_register(vdst, acc, info.dst)?;
    } else {
        reader.require(vdst == 0, "vdst")?;
    }
    reader.finish(inst)
}

/// addr and saddr, by segment.
fn flat_address(reader: &Reader<'_>, inst: &mut Inst, second: u32) -> Result<()> {
    use super::super::table::B64;
    let (addr, saddr) = (bits(second, 0, 8), bits(second, 16, 7));
    let has_saddr = saddr != SADDR_OFF;
    match inst.format {
        Format::Flat => {
            reader.require(saddr == 0, "saddr")?;
            inst.src[0] = reader.vector_register(addr, false, B64)?;
        }
        Format::Global => {
            inst.src[0] =
                reader.vector_register(addr, false, if has_saddr { SCALAR } else { B64 })?;
            if has_saddr {
                inst.src[2] = if inst.op.info().has(LDS_DMA) {
                    reader.scalar_register(saddr, B64)?
                } else {
                    reader.scalar_register_but_exec(saddr, B64)?
                };
            }
        }
        _ => {
            if inst.flags.has(Flags::SVE) {
                inst.src[0] = reader.vector_register(addr, false, SCALAR)?;
            } else {
                reader.require(addr == 0, "addr")?;
            }
            if has_saddr {
                inst.src[2] = reader.scalar_register(saddr, SCALAR)?;
            }
        }
    }
    Ok(())
}

/// Whether there is a result: atomics have one if SC0 asks for it.
fn returns(info: &OpInfo, inst: &Inst) -> bool {
    !info.has(ATOMIC) || inst.flags.has(Flags::SC0)
}

pub fn mubuf(reader: &mut Reader<'_>) -> Result<Inst> {
    let info = reader.find(Format::Mubuf, 18, 7)?;
    let word = reader.first;
    let second = reader.next()?;
    let mut inst = reader.inst(info, Format::Mubuf);
    reader.require(bits(second, 21, 2) == 0, "reserved bit")?;
    inst.flags = or(&[
        flag(word, 12, Flags::OFFEN),
        flag(word, 13, Flags::IDXEN),
        flag(word, 14, Flags::SC0),
        flag(word, 15, Flags::SC1),
        flag(word, 16, Flags::LDS),
        flag(word, 17, Flags::NT),
    ]);
    buffer(reader, info, inst, second)
}

pub fn mtbuf(reader: &mut Reader<'_>) -> Result<Inst> {
    let info = reader.find(Format::Mtbuf, 15, 4)?;
    let word = reader.first;
    let second = reader.next()?;
    let mut inst = reader.inst(info, Format::Mtbuf);
    inst.flags = or(&[
        flag(word, 12, Flags::OFFEN),
        flag(word, 13, Flags::IDXEN),
        flag(word, 14, Flags::SC0),
        flag(second, 21, Flags::SC1),
        flag(second, 22, Flags::NT),
    ]);
    inst.buffer_format = bits(word, 19, 7) as u8;
    buffer(reader, info, inst, second)
}

/// Loads of up to a dword can go to LDS.
const fn can_load_to_lds(op: Op) -> bool {
    use Op::*;
    matches!(
        op,
        buffer_load_ubyte
            | buffer_load_sbyte
            | buffer_load_ushort
            | buffer_load_sshort
            | buffer_load_dword
            | buffer_load_format_x
    )
}

/// What the two buffer formats share.
fn buffer(reader: &mut Reader<'_>, info: &OpInfo, mut inst: Inst, second: u32) -> Result<Inst> {
    inst.offset = bits(reader.first, 0, 12) as i32;
    if !info.src[2].is_some() {
        let rest = second | inst.offset as u32;
        let addressing = Flags(Flags::OFFEN.0 | Flags::IDXEN.0 | Flags::LDS.0);
        reader.require(rest == 0 && inst.flags.0 & addressing.0 == 0, "operand")?;
        return reader.finish(inst);
    }
    let acc = bit(second, 23);
    let address_dwords = inst.flags.has(Flags::OFFEN) as u8 + inst.flags.has(Flags::IDXEN) as u8;
    let address = bits(second, 0, 8);
    if address_dwords > 0 {
        let form = Form { dwords: address_dwords, kind: SCALAR.kind };
        inst.src[0] = reader.vector_register(address, false, form)?;
    } else {
        reader.require(address == 0, "vaddr")?;
    }
    let data = bits(second, 8, 8);
    if info.src[1].is_some() {
        inst.src[1] = reader.vector_register(data, acc, info.src[1])?;
    }
    let to_lds = inst.flags.has(Flags::LDS);
    if to_lds {
        reader.require(data == 0 && !acc, "vdata")?;
        reader.require(can_load_to_lds(info.op), "lds")?;
    } else if info.dst.is_some() && returns(info, &inst) {
        inst.dst = reader.vector_register(data, acc, info.dst)?;
    }
    inst.src[2] = reader.scalar_register(bits(second, 16, 5) << 2, info.src[2])?;
    let code = bits(second, 24, 8);
    reader.require(code != 255, "soffset")?;
    inst.src[3] = reader.scalar_source(code, info.src[3])?;
    reader.finish(inst)
}
