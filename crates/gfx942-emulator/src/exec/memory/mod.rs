//! Device memory, LDS and scratch, and the instructions that reach them.
//!
//! An instruction becomes `access::Targets` (an address per lane) in `flat`, `buffer` or `ds`, and one of the
//! `ops::Action`s moves data there in `transfer`. Scalar memory is in `smem`.

mod access;
mod arena;
mod atomic;
mod buffer;
mod chunks;
mod crossing;
mod ds;
mod flat;
mod format;
mod lds;
mod ops;
mod raw;
mod resource;
mod scratch;
mod smem;
#[cfg(test)]
mod tests;
mod transfer;
mod written;

pub use arena::{Allocation, Arena, ArenaConfig, ArenaError, MemoryKind, Usage};
pub use lds::{LDS_BYTES, Lds};
pub use scratch::Scratch;

use self::access::{Targets, gather, scatter};
use self::ops::Load;
use self::transfer::{Done, finish};
use super::{AccessKind, Context, Lanes, Observer, Space, Trap, Wave};
use crate::WAVE_SIZE;
use crate::isa::{Format, Inst};

/// Where LDS begins among the addresses of FLAT instructions; it has 4 GiB of them (`src_shared_base` is its high half).
pub const SHARED_BASE: u64 = 1 << 48;

/// Where scratch begins among the addresses of FLAT instructions (`src_private_base` is its high half).
pub const PRIVATE_BASE: u64 = 2 << 48;

/// What one wave can reach.
pub struct Memory<'a> {
    /// Device memory.
    pub arena: &'a Arena,
    /// The work-group's LDS.
    pub lds: &'a mut Lds,
    /// The wave's scratch.
    pub scratch: &'a mut Scratch,
    /// What `s_memtime` reads: cycles, by whatever clock the launch keeps. `s_memrealtime` is derived from it.
    pub clock: u64,
}

/// Executes `inst`. Accesses are reported to the context's observer.
pub(super) fn execute<O: Observer>(
    wave: &mut Wave,
    inst: &Inst,
    context: &mut Context<'_, O>,
) -> Result<(), Trap> {
    match inst.format {
        Format::Global | Format::Flat | Format::Scratch => flat::execute(wave, inst, context),
        Format::Ds => ds::execute(wave, inst, context),
        Format::Mubuf | Format::Mtbuf => buffer::execute(wave, inst, context),
        Format::Smem => smem::execute(wave, inst, context),
        _ => Err(Trap::Unimplemented(inst.op.name().into())),
    }
}

/// Loads from `space`, device memory or scratch, to LDS: a dword per lane of `lanes`, from `lds_offset` on. Lanes that
/// are not in `targets` write 0.
///
/// Lanes whose place in LDS is not allocated load nothing (manual, 3.11 and 9.1.9.1).
fn to_lds<O: Observer>(
    context: &mut Context<'_, O>,
    space: Space,
    lanes: u64,
    targets: &Targets,
    load: Load,
    lds_offset: u32,
) -> Result<(), Trap> {
    if lanes == 0 {
        return Ok(());
    }
    let places = Targets::new(lanes, |lane| u64::from(lds_offset) + 4 * lane as u64);
    let num_bytes = context.memory.lds.bytes().len() as u64;
    let targets = &targets.only(places.lanes_where(|address| address + 4 <= num_bytes));
    let mut values = [0; WAVE_SIZE];
    if targets.lanes != 0 {
        let outside = match space {
            Space::Scratch => gather_dwords(context.memory.scratch, targets, load, &mut values),
            _ => gather_dwords(&mut context.memory.arena, targets, load, &mut values),
        };
        let (kind, num_bytes) = (AccessKind::Load, load.num_bytes);
        finish(context, Done { kind, space, targets, num_bytes, outside })?;
    }
    let outside = scatter(context.memory.lds, &places, |lane| values[lane]);
    let (kind, space, num_bytes) = (AccessKind::Store, Space::Lds, 4);
    finish(context, Done { kind, space, targets: &places, num_bytes, outside })
}

/// What each lane loads, as a dword; the lanes for which nothing is there.
fn gather_dwords(
    memory: &mut impl access::Memory,
    targets: &Targets,
    load: Load,
    values: &mut Lanes,
) -> u64 {
    match load.num_bytes {
        1 => gather(memory, targets, |lane, raw: u8| values[lane] = load.extend(raw.into())),
        2 => gather(memory, targets, |lane, raw: u16| values[lane] = load.extend(raw.into())),
        _ => gather(memory, targets, |lane, dword| values[lane] = dword),
    }
}
