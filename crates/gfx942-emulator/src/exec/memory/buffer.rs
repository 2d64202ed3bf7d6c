//! MUBUF and MTBUF instructions (manual, 9.1).

use std::sync::atomic::{Ordering, fence};

use super::access::Targets;
use super::flat::{perform_atomic, perform_load, perform_store};
use super::format;
use super::ops::{Action, Load, Store, action};
use super::resource::{BufferTargets, resource, targets};
use super::to_lds;
use super::transfer::registers;
use crate::WAVE_SIZE;
use crate::exec::{Context, Observer, Space, Trap, Wave};
use crate::isa::{Flags, Inst, Operand};

/// Executes `inst`.
pub(super) fn execute<O: Observer>(
    wave: &mut Wave,
    inst: &Inst,
    context: &mut Context<'_, O>,
) -> Result<(), Trap> {
    let Some(action) = action(inst.op) else {
        return Err(Trap::Unimplemented(inst.op.name().into()));
    };
    if action == Action::Cache {
        // There are no caches here, but the host may have its own order of things.
        fence(Ordering::SeqCst);
        return Ok(());
    }
    let formatted = matches!(action, Action::LoadFormat(_) | Action::StoreFormat(_));
    let resource = resource(wave, inst, formatted)?;
    match action {
        Action::LoadFormat(registers) => {
            return format::load(wave, inst, context, &resource, registers);
        }
        Action::StoreFormat(registers) => {
            return format::store(wave, inst, context, &resource, registers);
        }
        _ => {}
    }
    let num_bytes = match action {
        Action::Load(load) => load.num_bytes,
        Action::Store(store) => store.num_bytes,
        Action::Atomic(atomic) => 4 * atomic.num_dwords(),
        _ => return Err(Trap::Unimplemented(inst.op.name().into())),
    };
    let mut targets = targets(wave, inst, &resource, num_bytes)?;
    let lanes = wave.exec;
    if resource.unbound(false) {
        targets.targets.lanes = 0;
    }
    match action {
        Action::Load(kind) if inst.flags.has(Flags::LDS) => {
            load_to_lds(wave, inst, context, kind, &targets)
        }
        _ if inst.flags.has(Flags::LDS) => {
            Err(Trap::Undefined(format!("{} with lds", inst.op.name())))
        }
        Action::Load(kind) => load(wave, inst, context, kind, &targets, lanes),
        Action::Store(kind) => store(wave, inst, context, kind, &targets),
        Action::Atomic(kind) => {
            // All or nothing.
            let inside = targets.in_range(0) & targets.in_range(num_bytes as u64 - 4);
            if inst.flags.has(Flags::SC0) {
                let index = registers(inst.dst, kind.num_dwords())?;
                clear(wave, index, kind.num_dwords(), lanes & !inside);
            }
            let inside = targets.targets.only(inside);
            if inside.lanes == 0 {
                return Ok(());
            }
            perform_atomic(wave, inst, context, kind, Space::Global, &inside)
        }
        _ => Err(Trap::Unimplemented(inst.op.name().into())),
    }
}

/// Writes 0 for `lanes`.
fn clear(wave: &mut Wave, index: usize, num_dwords: usize, lanes: u64) {
    for register in index..index + num_dwords {
        wave.set_vector(register, lanes, &[0; WAVE_SIZE]);
    }
}

/// The parts of an access that are range-checked by themselves: the whole, or each dword. Calls `action` with the
/// dword, the bytes and the lanes in range.
fn by_component(
    targets: &BufferTargets,
    num_bytes: usize,
    mut action: impl FnMut(usize, usize, &Targets) -> Result<(), Trap>,
) -> Result<(), Trap> {
    let num_dwords = num_bytes.div_ceil(4);
    let (first, last) = (targets.in_range(0), targets.in_range(4 * (num_dwords as u64 - 1)));
    if first == last {
        return match targets.targets.only(first) {
            targets if targets.lanes == 0 => Ok(()),
            targets => action(0, num_bytes, &targets),
        };
    }
    for dword in 0..num_dwords {
        let offset = 4 * dword as u64;
        let targets = targets.targets.only(targets.in_range(offset)).offset(offset);
        if targets.lanes != 0 {
            action(dword, 4, &targets)?;
        }
    }
    Ok(())
}

fn load<O: Observer>(
    wave: &mut Wave,
    inst: &Inst,
    context: &mut Context<'_, O>,
    load: Load,
    targets: &BufferTargets,
    lanes: u64,
) -> Result<(), Trap> {
    let index = registers(inst.dst, load.num_dwords())?;
    let inside = targets.in_range(4 * (load.num_dwords() as u64 - 1));
    clear(wave, index, load.num_dwords(), lanes & !inside);
    by_component(targets, load.num_bytes, |dword, num_bytes, targets| {
        let load = Load { num_bytes, ..load };
        perform_load(wave, index + dword, context, load, Space::Global, targets)
    })
}

fn store<O: Observer>(
    wave: &Wave,
    inst: &Inst,
    context: &mut Context<'_, O>,
    store: Store,
    targets: &BufferTargets,
) -> Result<(), Trap> {
    let index = registers(inst.src[1], store.num_dwords())?;
    by_component(targets, store.num_bytes, |dword, num_bytes, targets| {
        let store = Store { num_bytes, ..store };
        perform_store(wave, index + dword, context, store, Space::Global, targets)
    })
}

/// `lds`: from memory to LDS, at `m0` plus the offset.
fn load_to_lds<O: Observer>(
    wave: &Wave,
    inst: &Inst,
    context: &mut Context<'_, O>,
    load: Load,
    targets: &BufferTargets,
) -> Result<(), Trap> {
    if load.num_bytes > 4 || load.part != super::ops::Part::All {
        return Err(Trap::Undefined(format!("{} with lds", inst.op.name())));
    }
    let start = (wave.scalar(Operand::M0.0) & 0xffff).wrapping_add_signed(inst.offset);
    if !start.is_multiple_of(4) {
        return Err(Trap::Undefined(format!(
            "{}: LDS offset {start} is no multiple of 4",
            inst.op.name()
        )));
    }
    let inside = targets.targets.only(targets.in_range(0));
    to_lds(context, Space::Global, wave.exec, &inside, load, start)
}
