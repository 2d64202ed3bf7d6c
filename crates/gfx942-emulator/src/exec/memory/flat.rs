//! FLAT, GLOBAL and SCRATCH instructions (manual, chapter 10).

use super::access::Targets;
use super::atomic::{Atomic, Denormals};
use super::ops::{Action, Load, Store, action};
use super::transfer::{
    self, AtomicRegisters, Done, check_aligned, finish, registers, scalar, scalar_address,
};
use super::{PRIVATE_BASE, SHARED_BASE, to_lds};
use crate::exec::{AccessKind, Context, Observer, Space, Trap, Wave};
use crate::isa::{Flags, Format, Inst, Operand};

/// Bytes of an aperture.
const APERTURE: u64 = 1 << 32;

/// Executes `inst`.
pub(super) fn execute<O: Observer>(
    wave: &mut Wave,
    inst: &Inst,
    context: &mut Context<'_, O>,
) -> Result<(), Trap> {
    let Some(action) = action(inst.op) else {
        return Err(Trap::Unimplemented(inst.op.name().into()));
    };
    let (space, targets) = match inst.format {
        Format::Global => (Space::Global, global_targets(wave, inst)?),
        Format::Scratch => (Space::Scratch, scratch_targets(wave, inst)?),
        _ => return flat(wave, inst, context, action),
    };
    if let Action::LoadLds(load) = action {
        // Bits 17:2 of m0, and the same offset as in memory.
        let lds_offset = wave.scalar(Operand::M0.0) & 0x3fffc;
        let lds_offset = lds_offset.wrapping_add_signed(inst.offset);
        return to_lds(context, space, wave.exec, &targets, load, lds_offset);
    }
    perform(wave, inst, context, action, space, &targets)
}

/// Where a GLOBAL instruction goes: a 64-bit address in VGPRs, or one in SGPRs plus 32 bits in a VGPR.
fn global_targets(wave: &Wave, inst: &Inst) -> Result<Targets, Trap> {
    let [address, _, base, _] = inst.src;
    if !base.is_some() {
        return wide_targets(wave, inst);
    }
    let base = scalar_address(wave, base)?.wrapping_add_signed(inst.offset.into());
    let offsets = wave.vector(registers(address, 1)?);
    Ok(Targets::new(wave.exec, |lane| base.wrapping_add(offsets[lane].into())))
}

/// A 64-bit address in VGPRs.
fn wide_targets(wave: &Wave, inst: &Inst) -> Result<Targets, Trap> {
    let index = registers(inst.src[0], 2)?;
    let (low, high) = (wave.vector(index), wave.vector(index + 1));
    Ok(Targets::new(wave.exec, |lane| {
        (u64::from(low[lane]) | u64::from(high[lane]) << 32).wrapping_add_signed(inst.offset.into())
    }))
}

/// Where a SCRATCH instruction goes: a VGPR and an SGPR, both optional, plus the offset, as 32 bits.
fn scratch_targets(wave: &Wave, inst: &Inst) -> Result<Targets, Trap> {
    let [address, _, base, _] = inst.src;
    let mut start = inst.offset as u32;
    if base.is_some() {
        start = start.wrapping_add(scalar(wave, base)?);
    }
    if !address.is_some() {
        return Ok(Targets::same(wave.exec, start.into()));
    }
    let offsets = wave.vector(registers(address, 1)?);
    Ok(Targets::new(wave.exec, |lane| start.wrapping_add(offsets[lane]).into()))
}

/// A FLAT instruction: each lane's address says which memory it means.
fn flat<O: Observer>(
    wave: &mut Wave,
    inst: &Inst,
    context: &mut Context<'_, O>,
    action: Action,
) -> Result<(), Trap> {
    let targets = wide_targets(wave, inst)?;
    let shared = targets.lanes_where(|address| address.wrapping_sub(SHARED_BASE) < APERTURE);
    let private = targets.lanes_where(|address| address.wrapping_sub(PRIVATE_BASE) < APERTURE);
    let global = targets.lanes & !shared & !private;
    for (space, lanes, base) in [
        (Space::Global, global, 0),
        (Space::Lds, shared, SHARED_BASE),
        (Space::Scratch, private, PRIVATE_BASE),
    ] {
        if lanes != 0 {
            let targets = targets.only(lanes).offset(base.wrapping_neg());
            perform(wave, inst, context, action, space, &targets)?;
        }
    }
    Ok(())
}

/// Loads, stores or updates at `targets`.
#[inline(always)]
pub(super) fn perform<O: Observer>(
    wave: &mut Wave,
    inst: &Inst,
    context: &mut Context<'_, O>,
    action: Action,
    space: Space,
    targets: &Targets,
) -> Result<(), Trap> {
    if targets.lanes == 0 {
        return Ok(());
    }
    match action {
        Action::Load(load) => {
            let index = registers(inst.dst, load.num_dwords())?;
            perform_load(wave, index, context, load, space, targets)
        }
        Action::Store(store) => {
            let index = registers(inst.src[1], store.num_dwords())?;
            perform_store(wave, index, context, store, space, targets)
        }
        Action::Atomic(atomic) => perform_atomic(wave, inst, context, atomic, space, targets),
        _ => Err(Trap::Unimplemented(inst.op.name().into())),
    }
}

/// Loads into the registers from `index` on.
pub(super) fn perform_load<O: Observer>(
    wave: &mut Wave,
    index: usize,
    context: &mut Context<'_, O>,
    load: Load,
    space: Space,
    targets: &Targets,
) -> Result<(), Trap> {
    let memory = &mut context.memory;
    let outside = match space {
        Space::Lds => transfer::load(memory.lds, targets, load, wave, index),
        Space::Scratch => match memory.scratch.load_rows(targets, load.num_bytes, wave, index) {
            Some(()) => 0,
            None => transfer::load(memory.scratch, targets, load, wave, index),
        },
        _ => transfer::load(&mut memory.arena, targets, load, wave, index),
    };
    let (kind, num_bytes) = (AccessKind::Load, load.num_bytes);
    finish(context, Done { kind, space, targets, num_bytes, outside })
}

/// Stores from the registers from `index` on.
pub(super) fn perform_store<O: Observer>(
    wave: &Wave,
    index: usize,
    context: &mut Context<'_, O>,
    store: Store,
    space: Space,
    targets: &Targets,
) -> Result<(), Trap> {
    let memory = &mut context.memory;
    let outside = match space {
        Space::Lds => transfer::store(memory.lds, targets, store, wave, index),
        Space::Scratch => match memory.scratch.store_rows(targets, store.num_bytes, wave, index) {
            Some(()) => 0,
            None => transfer::store(memory.scratch, targets, store, wave, index),
        },
        _ => transfer::store(&mut memory.arena, targets, store, wave, index),
    };
    let (kind, num_bytes) = (AccessKind::Store, store.num_bytes);
    finish(context, Done { kind, space, targets, num_bytes, outside })
}

/// Updates memory; `sc0` asks for the old values.
pub(super) fn perform_atomic<O: Observer>(
    wave: &mut Wave,
    inst: &Inst,
    context: &mut Context<'_, O>,
    atomic: Atomic,
    space: Space,
    targets: &Targets,
) -> Result<(), Trap> {
    let num_dwords = atomic.num_dwords();
    let value = registers(inst.src[1], atomic.num_operand_dwords())?;
    let old = inst.flags.has(Flags::SC0).then(|| registers(inst.dst, num_dwords)).transpose()?;
    let other = (atomic.num_operand_dwords() > num_dwords).then_some(value + num_dwords);
    let registers = AtomicRegisters { value, other, old };
    check_aligned(targets, 4 * num_dwords)?;
    let memory = &mut context.memory;
    let outside = match space {
        Space::Global => {
            let arena = &mut memory.arena;
            transfer::atomic(arena, targets, atomic, Denormals::KEPT, wave, registers)
        }
        Space::Lds => {
            let denormals = Denormals::of_lds(wave.mode, atomic)?;
            transfer::atomic(memory.lds, targets, atomic, denormals, wave, registers)
        }
        _ => return Err(Trap::Undefined(format!("{} on scratch", inst.op.name()))),
    };
    let kind = AccessKind::Atomic;
    finish(context, Done { kind, space, targets, num_bytes: 4 * num_dwords, outside })
}
