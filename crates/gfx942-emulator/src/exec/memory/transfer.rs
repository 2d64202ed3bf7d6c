//! Between registers and a memory.

use super::access::{self, Targets, for_lanes, gather, scatter};
use super::atomic::{Atomic, Denormals};
use super::ops::{Load, Store};
use crate::exec::{Access, AccessKind, Context, Lanes, Observer, Space, Trap, Wave};
use crate::isa::Operand;
use crate::{WAVE_SIZE, simd};

/// The index of the first of `num_dwords` vector registers.
pub(super) fn registers(operand: Operand, num_dwords: usize) -> Result<usize, Trap> {
    const FILE: usize = 256;
    match operand.vector_index() {
        Some(index) if index % FILE + num_dwords <= FILE => Ok(index),
        Some(index) => Err(Trap::Undefined(format!(
            "{num_dwords} vector registers from {} on: there are only {FILE}",
            index % FILE
        ))),
        None => Err(Trap::Undefined("the operand must be a vector register".into())),
    }
}

/// The value of a scalar operand: a register or an inline constant.
pub(super) fn scalar(wave: &Wave, operand: Operand) -> Result<u32, Trap> {
    if operand.is_scalar_register() {
        return Ok(wave.scalar(operand.0));
    }
    let no_scalar = || Trap::Undefined(format!("operand {} cannot be an offset", operand.0));
    operand.inline_integer().map(|value| value as u32).ok_or_else(no_scalar)
}

/// The address in a pair of scalar registers.
pub(super) fn scalar_address(wave: &Wave, operand: Operand) -> Result<u64, Trap> {
    match operand.0 {
        0..=126 => Ok(wave.scalar64(operand.0)),
        _ => Err(Trap::Undefined(format!("operand {} cannot be an address", operand.0))),
    }
}

/// Loads into the registers from `index` on; the lanes for which nothing is there, which get 0.
pub(super) fn load(
    memory: &mut impl access::Memory,
    targets: &Targets,
    load: Load,
    wave: &mut Wave,
    index: usize,
) -> u64 {
    match load.num_bytes {
        1 => {
            let row = wave.vector_mut(index);
            gather(memory, targets, |lane, raw: u8| row[lane] = load.extend(raw.into()))
        }
        2 => {
            let row = wave.vector_mut(index);
            gather(memory, targets, |lane, raw: u16| row[lane] = load.extend(raw.into()))
        }
        4 => {
            let row = wave.vector_mut(index);
            gather(memory, targets, |lane, dword| row[lane] = dword)
        }
        8 => load_dwords::<2>(memory, targets, wave, index),
        12 => load_dwords::<3>(memory, targets, wave, index),
        _ => load_dwords::<4>(memory, targets, wave, index),
    }
}

fn load_dwords<const N: usize>(
    memory: &mut impl access::Memory,
    targets: &Targets,
    wave: &mut Wave,
    index: usize,
) -> u64
where
    [u32; N]: access::Element,
{
    let rows = wave.vectors_mut(index..index + N);
    if targets.lanes != u64::MAX {
        return gather(memory, targets, |lane, dwords: [u32; N]| {
            for (row, dword) in rows.iter_mut().zip(dwords) {
                row[lane] = dword;
            }
        });
    }
    // Lane by lane into one place, then turned into rows by vector instructions.
    let mut lanes = [[0; N]; WAVE_SIZE];
    let outside = gather(memory, targets, |lane, dwords: [u32; N]| lanes[lane] = dwords);
    simd::run(ToRows { lanes: &lanes, rows });
    outside
}

/// What each lane loaded, to the registers.
struct ToRows<'a, const N: usize> {
    lanes: &'a [[u32; N]; WAVE_SIZE],
    rows: &'a mut [Lanes],
}

impl<const N: usize> simd::Job for ToRows<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (i, row) in self.rows.iter_mut().enumerate().take(N) {
            for (dword, lane) in row.iter_mut().zip(self.lanes) {
                *dword = lane[i];
            }
        }
    }
}

/// What each lane stores, from the registers.
struct ToLanes<'a, const N: usize>([&'a Lanes; N]);

impl<const N: usize> simd::Job for ToLanes<'_, N> {
    type Output = [[u32; N]; WAVE_SIZE];

    #[inline(always)]
    fn run(self) -> Self::Output {
        let mut lanes = [[0; N]; WAVE_SIZE];
        for (lane, dwords) in lanes.iter_mut().enumerate() {
            *dwords = self.0.map(|row| row[lane]);
        }
        lanes
    }
}

/// Stores from the registers from `index` on; the lanes for which nothing is there.
pub(super) fn store(
    memory: &mut impl access::Memory,
    targets: &Targets,
    store: Store,
    wave: &Wave,
    index: usize,
) -> u64 {
    let row = wave.vector(index);
    match store.num_bytes {
        1 => scatter(memory, targets, |lane| store.select(row[lane]) as u8),
        2 => scatter(memory, targets, |lane| store.select(row[lane]) as u16),
        4 => scatter(memory, targets, |lane| row[lane]),
        8 => store_dwords::<2>(memory, targets, wave, index),
        12 => store_dwords::<3>(memory, targets, wave, index),
        _ => store_dwords::<4>(memory, targets, wave, index),
    }
}

fn store_dwords<const N: usize>(
    memory: &mut impl access::Memory,
    targets: &Targets,
    wave: &Wave,
    index: usize,
) -> u64
where
    [u32; N]: access::Element,
{
    let rows: [&Lanes; N] = std::array::from_fn(|i| wave.vector(index + i));
    if targets.lanes != u64::MAX {
        return scatter(memory, targets, |lane| {
            std::array::from_fn::<u32, N, _>(|i| rows[i][lane])
        });
    }
    let lanes = simd::run(ToLanes(rows));
    scatter(memory, targets, |lane| lanes[lane])
}

/// The registers of an atomic.
#[derive(Clone, Copy)]
pub(super) struct AtomicRegisters {
    /// Where the first operand is.
    pub(super) value: usize,
    /// Where the second operand is, if there is one.
    pub(super) other: Option<usize>,
    /// Where the old values go, if they are wanted.
    pub(super) old: Option<usize>,
}

/// Updates memory lane after lane; the lanes for which nothing is there, whose old value is 0.
pub(super) fn atomic(
    memory: &mut impl access::AtomicMemory,
    targets: &Targets,
    atomic: Atomic,
    denormals: Denormals,
    wave: &mut Wave,
    registers: AtomicRegisters,
) -> u64 {
    let Atomic { update, wide } = atomic;
    let mut outside = 0;
    for_lanes(targets.lanes, |lane| {
        let address = targets.addresses[lane];
        let operand = |index: usize| {
            let low = u64::from(wave.vector(index)[lane]);
            if wide { low | u64::from(wave.vector(index + 1)[lane]) << 32 } else { low }
        };
        let (value, other) = (operand(registers.value), registers.other.map_or(0, operand));
        let old = if wide {
            memory.update64(address, |old| update.apply64(old, value, other, denormals))
        } else {
            let (value, other) = (value as u32, other as u32);
            let old = memory.update32(address, |old| update.apply32(old, value, other, denormals));
            old.map(u64::from)
        };
        outside |= u64::from(old.is_none()) << lane;
        if let Some(index) = registers.old {
            let old = old.unwrap_or(0);
            wave.vector_mut(index)[lane] = old as u32;
            if wide {
                wave.vector_mut(index + 1)[lane] = (old >> 32) as u32;
            }
        }
    });
    outside
}

/// An access that is done, for the observer and for traps.
pub(super) struct Done<'a> {
    pub(super) kind: AccessKind,
    pub(super) space: Space,
    pub(super) targets: &'a Targets,
    pub(super) num_bytes: usize,
    /// Lanes for which nothing was there.
    pub(super) outside: u64,
}

/// Traps if a lane missed, unless that is LDS, which lets it pass (manual, 3.6.1); then tells the observer.
#[inline(always)]
pub(super) fn finish<O: Observer>(
    context: &mut Context<'_, O>,
    done: Done<'_>,
) -> Result<(), Trap> {
    if done.outside != 0 && done.space != Space::Lds {
        return Err(missed(context, &done));
    }
    let Done { kind, space, targets: Targets { addresses, lanes, .. }, num_bytes, outside } = done;
    let access = Access { kind, space, lanes: *lanes, addresses, num_bytes, outside };
    context.observer.access(context.id, &access);
    Ok(())
}

#[cold]
fn missed<O>(context: &Context<'_, O>, done: &Done<'_>) -> Trap {
    let lane = done.outside.trailing_zeros() as usize;
    let address = done.targets.addresses[lane];
    if done.space == Space::Scratch {
        let (access, num_bytes) = (name(done.kind), done.num_bytes);
        let scratch_bytes = context.memory.scratch.num_bytes();
        return Trap::Scratch { lane, access, address, num_bytes, scratch_bytes };
    }
    let reason = context.memory.arena.describe(address);
    memory_trap(lane, done.kind, address, done.num_bytes, reason)
}

/// Why a lane's access failed.
#[cold]
pub(super) fn memory_trap(
    lane: usize,
    kind: AccessKind,
    address: u64,
    num_bytes: usize,
    reason: String,
) -> Trap {
    Trap::Memory { lane, access: name(kind), address, num_bytes, reason }
}

const fn name(kind: AccessKind) -> &'static str {
    match kind {
        AccessKind::Load => "load",
        AccessKind::Store => "store",
        AccessKind::Atomic => "atomic",
    }
}

/// Traps if an address of an atomic is not a multiple of its size.
pub(super) fn check_aligned(targets: &Targets, num_bytes: usize) -> Result<(), Trap> {
    let crooked = targets.lanes_where(|address| address % num_bytes as u64 != 0);
    if crooked == 0 {
        return Ok(());
    }
    let lane = crooked.trailing_zeros() as usize;
    let reason = format!("an atomic must be at a multiple of its {num_bytes} bytes");
    Err(memory_trap(lane, AccessKind::Atomic, targets.addresses[lane], num_bytes, reason))
}
