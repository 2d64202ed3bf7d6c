//! The buffer resource, V#, and the addresses it gives (manual, 9.1.5 and 9.1.8).

use super::access::Targets;
use super::transfer::{registers, scalar};
use crate::WAVE_SIZE;
use crate::exec::{Trap, Wave};
use crate::isa::{Flags, Format, Inst, Operand};

/// Bytes of an element of a swizzled buffer. GFX9 has no field for it any more.
const ELEMENT: u64 = 4;

/// A decoded V#.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Resource {
    pub(super) base: u64,
    stride: u64,
    swizzle: bool,
    num_records: u64,
    /// Where each component of a format load comes from: 0 zero, 1 one, 4–7 a component.
    pub(super) dst_sel: [u32; 4],
    pub(super) num_format: u32,
    pub(super) data_format: u32,
    index_stride: u64,
    add_tid: bool,
}

impl Resource {
    /// What is in four scalar registers, for an instruction that does, or does not, use the resource's format.
    pub(super) fn new(words: [u32; 4], formatted: bool) -> Result<Self, Trap> {
        let [low, high, num_records, flags] = words;
        let add_tid = flags >> 23 & 1 != 0;
        let data_format = flags >> 15 & 15;
        let mut stride = u64::from(high >> 16 & 0x3fff);
        if add_tid && !formatted {
            stride |= u64::from(data_format) << 14;
        }
        if flags & 0xf718_0000 != 0 {
            return Err(Trap::Undefined(format!(
                "buffer resource {words:08x?}: type, user VM mode and reserved bits must be 0; \
                 are these registers a resource?"
            )));
        }
        Ok(Self {
            base: u64::from(low) | u64::from(high & 0xffff) << 32,
            stride,
            swizzle: high >> 31 != 0,
            num_records: num_records.into(),
            dst_sel: [0, 3, 6, 9].map(|shift| flags >> shift & 7),
            num_format: flags >> 12 & 7,
            data_format,
            index_stride: 8 << (flags >> 21 & 3),
            add_tid,
        })
    }

    /// Whether nothing is bound: reads give 0, writes are dropped. With `add_tid` the format's field is a part of the
    /// stride.
    pub(super) fn unbound(&self, formatted: bool) -> bool {
        self.data_format == 0 && (formatted || !self.add_tid)
    }

    fn check(&self, indexed: bool) -> Result<Check, Trap> {
        match (self.add_tid, indexed) {
            (true, false) => Ok(Check::None),
            (false, false) if !self.swizzle => Ok(Check::Offset),
            (false, true) if self.stride != 0 => Ok(Check::Index),
            _ => Err(Trap::Unimplemented(format!(
                "a buffer with add_tid {}, swizzle {} and stride {}, idxen {indexed}: \
                 the manual gives no range check",
                self.add_tid, self.swizzle, self.stride
            ))),
        }
    }

    /// The address within the buffer.
    fn buffer_offset(&self, index: u64, offset: u64) -> u64 {
        if !self.swizzle {
            return index * self.stride + offset;
        }
        let (index_high, index_low) = (index / self.index_stride, index % self.index_stride);
        let (offset_high, offset_low) = (offset / ELEMENT, offset % ELEMENT);
        (index_high * self.stride + offset_high * ELEMENT) * self.index_stride
            + index_low * ELEMENT
            + offset_low
    }
}

/// What is compared with the number of records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Check {
    /// Nothing: scratch.
    None,
    /// The offset: a raw buffer.
    Offset,
    /// The index: a structured buffer.
    Index,
}

/// Where a buffer instruction goes.
pub(super) struct BufferTargets {
    /// The address of each lane.
    pub(super) targets: Targets,
    /// Offset or index, whichever is checked.
    checked: [u64; WAVE_SIZE],
    check: Check,
    num_records: u64,
}

impl BufferTargets {
    /// The lanes whose byte `offset` is within the buffer.
    pub(super) fn in_range(&self, offset: u64) -> u64 {
        let offset = match self.check {
            Check::None => return self.targets.lanes,
            Check::Offset => offset,
            Check::Index => 0,
        };
        let mut lanes = 0;
        for (lane, &checked) in self.checked.iter().enumerate() {
            lanes |= u64::from(checked + offset < self.num_records) << lane;
        }
        lanes & self.targets.lanes
    }
}

/// Reads the resource of `inst`.
pub(super) fn resource(wave: &Wave, inst: &Inst, formatted: bool) -> Result<Resource, Trap> {
    Resource::new(words(wave, inst.src[2])?, formatted)
}

/// The addresses of `inst`, which accesses `num_bytes` per lane.
pub(super) fn targets(
    wave: &Wave,
    inst: &Inst,
    resource: &Resource,
    num_bytes: usize,
) -> Result<BufferTargets, Trap> {
    let (offen, idxen) = (inst.flags.has(Flags::OFFEN), inst.flags.has(Flags::IDXEN));
    let check = resource.check(idxen)?;
    let start = resource.base.wrapping_add(scalar(wave, inst.src[3])?.into());
    let num_registers = usize::from(offen) + usize::from(idxen);
    let row = |used: bool, place: usize| -> Result<Option<&_>, Trap> {
        let index = || Ok(wave.vector(registers(inst.src[0], num_registers)? + place));
        used.then(index).transpose()
    };
    let (indices, offsets) = (row(idxen, 0)?, row(offen, usize::from(idxen))?);
    let index = |lane: usize| {
        let tid = if resource.add_tid { lane as u64 } else { 0 };
        indices.map_or(0, |row| u64::from(row[lane])) + tid
    };
    let offset =
        |lane: usize| offsets.map_or(0, |row| u64::from(row[lane])) + u64::from(inst.offset as u32);
    let targets = Targets::new(wave.exec, |lane| {
        start.wrapping_add(resource.buffer_offset(index(lane), offset(lane)))
    });
    if resource.swizzle {
        check_elements(inst, num_bytes, &targets)?;
    }
    let checked = match check {
        Check::Offset => std::array::from_fn(offset),
        _ => std::array::from_fn(index),
    };
    Ok(BufferTargets { targets, checked, check, num_records: resource.num_records })
}

/// Accesses to a swizzled buffer must stay in one element.
fn check_elements(inst: &Inst, num_bytes: usize, targets: &Targets) -> Result<(), Trap> {
    let crossing = |address: u64| address % ELEMENT + num_bytes as u64 > ELEMENT;
    if inst.format == Format::Mtbuf || targets.lanes_where(crossing) != 0 {
        return Err(Trap::Undefined(format!(
            "{} of {num_bytes} bytes in a swizzled buffer must stay in an element of {ELEMENT} bytes",
            inst.op.name()
        )));
    }
    Ok(())
}

/// The base and the size in bytes of a buffer in scalar registers, as SMEM uses them (manual, 8.2.1.1).
pub(super) fn scalar_buffer(wave: &Wave, operand: Operand) -> Result<(u64, u64), Trap> {
    let words = words(wave, operand)?;
    let Resource { base, stride, num_records, .. } = Resource::new(words, true)?;
    Ok((base & !3, stride.max(1) * num_records))
}

fn words(wave: &Wave, operand: Operand) -> Result<[u32; 4], Trap> {
    let Operand(code) = operand;
    if code > 124 {
        return Err(Trap::Undefined(format!("operand {code} cannot be a buffer resource")));
    }
    Ok(std::array::from_fn(|i| wave.scalar(code + i as u16)))
}
