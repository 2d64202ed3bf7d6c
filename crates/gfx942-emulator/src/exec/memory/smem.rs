//! SMEM instructions: scalar memory (manual, chapter 8).

use super::access::{AtomicMemory, Targets};
use super::arena::Cursor;
use super::atomic::{Atomic, Denormals, Update};
use super::ops::atomic;
use super::resource;
use super::transfer::{Done, check_aligned, finish, scalar, scalar_address};
use crate::exec::{AccessKind, Context, Observer, Space, Trap, Wave};
use crate::isa::{Flags, Inst, Op, Operand};

/// Cycles of the shader clock (2.1 GHz) in one of the constant clock (100 MHz).
const CYCLES_PER_TICK: u64 = 21;

/// Where an address comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Base {
    /// A pair of registers.
    Address,
    /// The same, and an offset register that counts in 64 bytes.
    Scratch,
    /// A resource.
    Buffer,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    Load(Base, usize),
    Store(Base, usize),
    Atomic(Base, Atomic),
    /// The clock, divided.
    Clock(u64),
    /// About caches, of which there are none, or a hint.
    Nothing,
}

/// Executes `inst`.
pub(super) fn execute<O: Observer>(
    wave: &mut Wave,
    inst: &Inst,
    context: &mut Context<'_, O>,
) -> Result<(), Trap> {
    let Some(action) = action(inst.op) else {
        return Err(Trap::Unimplemented(inst.op.name().into()));
    };
    match action {
        Action::Load(base, num_dwords) => load(wave, inst, context, base, num_dwords),
        Action::Store(base, num_dwords) => store(wave, inst, context, base, num_dwords),
        Action::Atomic(base, kind) => update(wave, inst, context, base, kind),
        Action::Clock(divisor) => {
            let code = data(inst.dst, 2)?;
            wave.set_scalar64(code, context.memory.clock / divisor);
            Ok(())
        }
        Action::Nothing => Ok(()),
    }
}

/// The code of the first of `num_dwords` scalar registers.
fn data(operand: Operand, num_dwords: usize) -> Result<u16, Trap> {
    // SGPRs up to and with vcc, or trap temporaries; m0 and exec are not allowed.
    let Operand(code) = operand;
    let end = if code < Operand::TTMP0.0 { Operand::TTMP0.0 } else { Operand::M0.0 };
    if usize::from(code) + num_dwords <= usize::from(end) {
        return Ok(code);
    }
    Err(Trap::Undefined(format!("{num_dwords} scalar registers from operand {code} on")))
}

/// An address, and how many bytes from it on are within the buffer.
struct Place {
    address: u64,
    num_bytes: u64,
}

impl Place {
    /// How many of `num_dwords` are within the buffer.
    fn in_range(&self, num_dwords: usize) -> usize {
        num_dwords.min(usize::try_from(self.num_bytes.div_ceil(4)).unwrap_or(num_dwords))
    }
}

/// Where `inst` goes. The lowest two bits of each part count as 0.
fn place(wave: &Wave, inst: &Inst, base: Base) -> Result<Place, Trap> {
    let [base_operand, register, ..] = inst.src;
    let mut offset = i64::from(inst.offset & !3);
    if register.is_some() {
        let unit = if base == Base::Scratch { 64 } else { 1 };
        offset += i64::from(scalar(wave, register)? & !3) * unit;
    }
    if offset < 0 && (register.is_some() || base == Base::Buffer) {
        return Err(Trap::Undefined(format!("{} with offset {offset}", inst.op.name())));
    }
    if base != Base::Buffer {
        let address = scalar_address(wave, base_operand)? & !3;
        return Ok(Place { address: address.wrapping_add_signed(offset), num_bytes: u64::MAX });
    }
    let (address, size) = resource::scalar_buffer(wave, base_operand)?;
    let num_bytes = size.saturating_sub(offset as u64);
    Ok(Place { address: address.wrapping_add_signed(offset), num_bytes })
}

/// A scalar access, as that of lane 0.
fn targets(address: u64) -> Targets {
    Targets::same(1, address)
}

fn load<O: Observer>(
    wave: &mut Wave,
    inst: &Inst,
    context: &mut Context<'_, O>,
    base: Base,
    num_dwords: usize,
) -> Result<(), Trap> {
    let code = data(inst.dst, num_dwords)?;
    let place = place(wave, inst, base)?;
    let num_inside = place.in_range(num_dwords);
    let mut cursor = Cursor::new(context.memory.arena);
    let mut values = [0; 16];
    let mut outside = 0;
    for (i, value) in values[..num_inside].iter_mut().enumerate() {
        let dword = cursor.load(place.address.wrapping_add(4 * i as u64));
        outside |= u64::from(dword.is_none());
        *value = dword.unwrap_or(0);
    }
    if num_inside != 0 {
        let (kind, space, targets) = (AccessKind::Load, Space::Scalar, &targets(place.address));
        finish(context, Done { kind, space, targets, num_bytes: 4 * num_inside, outside })?;
    }
    for (i, &value) in values[..num_dwords].iter().enumerate() {
        wave.set_scalar(code + i as u16, value);
    }
    Ok(())
}

fn store<O: Observer>(
    wave: &Wave,
    inst: &Inst,
    context: &mut Context<'_, O>,
    base: Base,
    num_dwords: usize,
) -> Result<(), Trap> {
    let code = data(inst.dst, num_dwords)?;
    let place = place(wave, inst, base)?;
    let num_inside = place.in_range(num_dwords);
    if num_inside == 0 {
        return Ok(());
    }
    let mut cursor = Cursor::new(context.memory.arena);
    let mut outside = 0;
    for i in 0..num_inside {
        let address = place.address.wrapping_add(4 * i as u64);
        let done = cursor.store(address, wave.scalar(code + i as u16));
        outside |= u64::from(done.is_none());
    }
    let (kind, space, targets) = (AccessKind::Store, Space::Scalar, &targets(place.address));
    finish(context, Done { kind, space, targets, num_bytes: 4 * num_inside, outside })
}

/// An atomic; `glc` asks for the old value.
fn update<O: Observer>(
    wave: &mut Wave,
    inst: &Inst,
    context: &mut Context<'_, O>,
    base: Base,
    atomic: Atomic,
) -> Result<(), Trap> {
    let Atomic { update, wide } = atomic;
    let num_dwords = atomic.num_dwords();
    let code = data(inst.dst, atomic.num_operand_dwords())?;
    let place = place(wave, inst, base)?;
    if place.in_range(num_dwords) < num_dwords {
        return Ok(());
    }
    let targets = &targets(place.address);
    check_aligned(targets, 4 * num_dwords)?;
    let operand = |place: usize| {
        let code = code + (place * num_dwords) as u16;
        if wide { wave.scalar64(code) } else { wave.scalar(code).into() }
    };
    let value = operand(0);
    let other = if update == Update::CompareSwap { operand(1) } else { 0 };
    let mut arena = context.memory.arena;
    let old = if wide {
        let new = |old| update.apply64(old, value, other, Denormals::KEPT);
        arena.update64(place.address, new)
    } else {
        let new = |old| update.apply32(old, value as u32, other as u32, Denormals::KEPT);
        arena.update32(place.address, new).map(u64::from)
    };
    let (kind, space, outside) = (AccessKind::Atomic, Space::Scalar, u64::from(old.is_none()));
    finish(context, Done { kind, space, targets, num_bytes: 4 * num_dwords, outside })?;
    if let Some(old) = old.filter(|_| inst.flags.has(Flags::GLC)) {
        wave.set_scalar(code, old as u32);
        if wide {
            wave.set_scalar(code + 1, (old >> 32) as u32);
        }
    }
    Ok(())
}

fn action(op: Op) -> Option<Action> {
    use Action::{Clock, Load, Nothing, Store};
    use Base::{Address, Buffer, Scratch};
    Some(match op {
        Op::s_load_dword => Load(Address, 1),
        Op::s_load_dwordx2 => Load(Address, 2),
        Op::s_load_dwordx4 => Load(Address, 4),
        Op::s_load_dwordx8 => Load(Address, 8),
        Op::s_load_dwordx16 => Load(Address, 16),
        Op::s_buffer_load_dword => Load(Buffer, 1),
        Op::s_buffer_load_dwordx2 => Load(Buffer, 2),
        Op::s_buffer_load_dwordx4 => Load(Buffer, 4),
        Op::s_buffer_load_dwordx8 => Load(Buffer, 8),
        Op::s_buffer_load_dwordx16 => Load(Buffer, 16),
        Op::s_scratch_load_dword => Load(Scratch, 1),
        Op::s_scratch_load_dwordx2 => Load(Scratch, 2),
        Op::s_scratch_load_dwordx4 => Load(Scratch, 4),
        Op::s_store_dword => Store(Address, 1),
        Op::s_store_dwordx2 => Store(Address, 2),
        Op::s_store_dwordx4 => Store(Address, 4),
        Op::s_buffer_store_dword => Store(Buffer, 1),
        Op::s_buffer_store_dwordx2 => Store(Buffer, 2),
        Op::s_buffer_store_dwordx4 => Store(Buffer, 4),
        Op::s_scratch_store_dword => Store(Scratch, 1),
        Op::s_scratch_store_dwordx2 => Store(Scratch, 2),
        Op::s_scratch_store_dwordx4 => Store(Scratch, 4),
        Op::s_memtime => Clock(1),
        Op::s_memrealtime => Clock(CYCLES_PER_TICK),
        Op::s_dcache_inv
        | Op::s_dcache_inv_vol
        | Op::s_dcache_wb
        | Op::s_dcache_wb_vol
        | Op::s_dcache_discard
        | Op::s_dcache_discard_x2
        | Op::s_atc_probe
        | Op::s_atc_probe_buffer => Nothing,
        _ => {
            let base = if op.name().starts_with("s_buffer_") { Buffer } else { Address };
            Action::Atomic(base, atomic(op)?)
        }
    })
}
