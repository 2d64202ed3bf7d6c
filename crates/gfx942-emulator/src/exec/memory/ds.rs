//! DS instructions: LDS (manual, 12.12).

use super::access::{Targets, for_lanes};
use super::atomic::{Atomic, Denormals, Update};
use super::crossing;
use super::flat::{perform_load, perform_store};
use super::ops::{Load, Part, Store};
use super::transfer::{self, AtomicRegisters, Done, check_aligned, finish, registers};
use crate::WAVE_SIZE;
use crate::exec::{AccessKind, Context, Observer, Space, Trap, Wave};
use crate::isa::{Flags, Inst, Op, Operand};

/// What a DS operation does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    Load(Load),
    Store(Store),
    /// One load at each offset, which count in these bytes; each of so many dwords.
    Load2(u64, usize),
    Store2(u64, usize),
    /// An exchange at each offset.
    Exchange2(u64, Atomic),
    Atomic(Atomic),
    /// The address is `m0` and the lane's number.
    LoadByLane,
    StoreByLane,
    /// Adds, or subtracts, the number of active lanes.
    Count(Update),
    ExchangeIf,
    Cross,
    Nothing,
}

/// Executes `inst`.
pub(super) fn execute<O: Observer>(
    wave: &mut Wave,
    inst: &Inst,
    context: &mut Context<'_, O>,
) -> Result<(), Trap> {
    let action = action(inst.op).filter(|_| !inst.flags.has(Flags::GDS));
    let Some(action) = action else {
        return Err(Trap::Unimplemented(inst.op.name().into()));
    };
    match action {
        Action::Cross => return crossing::execute(wave, inst),
        Action::Nothing => return Ok(()),
        _ if wave.exec == 0 => return Ok(()),
        Action::Count(update) => return count(wave, inst, context, update),
        _ => {}
    }
    let (dst, data) = (inst.dst, inst.src[1]);
    match action {
        Action::Load(load) => {
            let targets = targets(wave, inst)?;
            let index = registers(dst, load.num_dwords())?;
            perform_load(wave, index, context, load, Space::Lds, &targets)
        }
        Action::Store(store) => {
            let targets = targets(wave, inst)?;
            let index = registers(data, store.num_dwords())?;
            perform_store(wave, index, context, store, Space::Lds, &targets)
        }
        Action::Load2(unit, num_dwords) => {
            let index = registers(dst, 2 * num_dwords)?;
            let load = Load::new(4 * num_dwords);
            let [first, second] = target_pair(wave, inst, unit)?;
            perform_load(wave, index, context, load, Space::Lds, &first)?;
            perform_load(wave, index + num_dwords, context, load, Space::Lds, &second)
        }
        Action::Store2(unit, num_dwords) => {
            let store = Store::new(4 * num_dwords);
            for (targets, data) in target_pair(wave, inst, unit)?.iter().zip(&inst.src[1..]) {
                let index = registers(*data, num_dwords)?;
                perform_store(wave, index, context, store, Space::Lds, targets)?;
            }
            Ok(())
        }
        Action::Exchange2(unit, kind) => exchange2(wave, inst, context, unit, kind),
        Action::Atomic(kind) => {
            let targets = targets(wave, inst)?;
            let registers = atomic_registers(inst, kind)?;
            atomic(wave, context, kind, &targets, registers)
        }
        Action::LoadByLane => {
            let index = registers(dst, 1)?;
            let targets = targets_by_lane(wave, inst);
            perform_load(wave, index, context, Load::new(4), Space::Lds, &targets)
        }
        Action::StoreByLane => {
            let index = registers(data, 1)?;
            let targets = targets_by_lane(wave, inst);
            perform_store(wave, index, context, Store::new(4), Space::Lds, &targets)
        }
        Action::ExchangeIf => exchange_if(wave, inst, context),
        Action::Cross | Action::Nothing | Action::Count(_) => Ok(()),
    }
}

/// An address in a VGPR plus the offset.
fn targets(wave: &Wave, inst: &Inst) -> Result<Targets, Trap> {
    let addresses = wave.vector(registers(inst.src[0], 1)?);
    let offset = inst.offset as u32;
    Ok(Targets::new(wave.exec, |lane| addresses[lane].wrapping_add(offset).into()))
}

/// The same with two offsets, in units of `unit` bytes.
fn target_pair(wave: &Wave, inst: &Inst, unit: u64) -> Result<[Targets; 2], Trap> {
    let addresses = wave.vector(registers(inst.src[0], 1)?);
    let offsets = [inst.offset as u32 & 0xff, inst.offset as u32 >> 8 & 0xff];
    Ok(offsets.map(|offset| {
        let offset = offset * unit as u32;
        Targets::new(wave.exec, |lane| addresses[lane].wrapping_add(offset).into())
    }))
}

/// `m0` and the offset, plus 4 bytes per lane.
fn targets_by_lane(wave: &Wave, inst: &Inst) -> Targets {
    let start = (wave.scalar(Operand::M0.0) & 0xffff).wrapping_add(inst.offset as u32);
    Targets::new(wave.exec, |lane| u64::from(start) + 4 * lane as u64)
}

/// Where the operands of an atomic are. A compare-and-store has what it compares with first, what it stores second.
fn atomic_registers(inst: &Inst, atomic: Atomic) -> Result<AtomicRegisters, Trap> {
    let num_dwords = atomic.num_dwords();
    let first = registers(inst.src[1], num_dwords)?;
    let second = || registers(inst.src[2], num_dwords);
    let (value, other) = match atomic.update {
        Update::CompareSwap | Update::FloatCompareSwap | Update::MaskedOr => {
            (second()?, Some(first))
        }
        Update::Wrap => (first, Some(second()?)),
        _ => (first, None),
    };
    let old = inst.dst.is_some().then(|| registers(inst.dst, num_dwords)).transpose()?;
    Ok(AtomicRegisters { value, other, old })
}

fn atomic<O: Observer>(
    wave: &mut Wave,
    context: &mut Context<'_, O>,
    atomic: Atomic,
    targets: &Targets,
    registers: AtomicRegisters,
) -> Result<(), Trap> {
    let num_bytes = 4 * atomic.num_dwords();
    check_aligned(targets, num_bytes)?;
    let denormals = Denormals::of_lds(wave.mode, atomic)?;
    let lds = &mut *context.memory.lds;
    let outside = transfer::atomic(lds, targets, atomic, denormals, wave, registers);
    let (kind, space) = (AccessKind::Atomic, Space::Lds);
    finish(context, Done { kind, space, targets, num_bytes, outside })
}

fn exchange2<O: Observer>(
    wave: &mut Wave,
    inst: &Inst,
    context: &mut Context<'_, O>,
    unit: u64,
    kind: Atomic,
) -> Result<(), Trap> {
    let num_dwords = kind.num_dwords();
    let dst = registers(inst.dst, 2 * num_dwords)?;
    let values = [registers(inst.src[1], num_dwords)?, registers(inst.src[2], num_dwords)?];
    // The second operand is read before the first result is written.
    let second: Vec<_> = (0..num_dwords).map(|i| *wave.vector(values[1] + i)).collect();
    let [first_targets, second_targets] = target_pair(wave, inst, unit)?;
    let registers = AtomicRegisters { value: values[0], other: None, old: Some(dst) };
    atomic(wave, context, kind, &first_targets, registers)?;
    let old = dst + num_dwords;
    for (i, row) in second.iter().enumerate() {
        let lanes = wave.exec;
        wave.set_vector(old + i, lanes, row);
    }
    let registers = AtomicRegisters { value: old, other: None, old: Some(old) };
    atomic(wave, context, kind, &second_targets, registers)
}

/// `ds_append`, `ds_consume`: one counter for the wave. Compilers put its address into `m0`.
fn count<O: Observer>(
    wave: &mut Wave,
    inst: &Inst,
    context: &mut Context<'_, O>,
    update: Update,
) -> Result<(), Trap> {
    let dst = registers(inst.dst, 1)?;
    let address = (wave.scalar(Operand::M0.0) & 0xffff).wrapping_add(inst.offset as u32);
    let (lanes, num_lanes) = (wave.exec, wave.exec.count_ones());
    let targets = Targets::same(lanes & lanes.wrapping_neg(), address.into());
    check_aligned(&targets, 4)?;
    let lds = &mut *context.memory.lds;
    let old = lds.load::<u32>(address.into());
    if let Some(old) = old {
        let new = match update {
            Update::Add => old.wrapping_add(num_lanes),
            _ => old.wrapping_sub(num_lanes),
        };
        lds.store(address.into(), new);
    }
    let outside = if old.is_some() { 0 } else { targets.lanes };
    wave.set_vector(dst, lanes, &[old.unwrap_or(0); WAVE_SIZE]);
    let (kind, space) = (AccessKind::Atomic, Space::Lds);
    finish(context, Done { kind, space, targets: &targets, num_bytes: 4, outside })
}

/// `ds_condxchg32_rtn_b64`: two dwords, each exchanged if its highest bit is set, without that bit.
fn exchange_if<O: Observer>(
    wave: &mut Wave,
    inst: &Inst,
    context: &mut Context<'_, O>,
) -> Result<(), Trap> {
    let data = registers(inst.src[1], 2)?;
    let dst = registers(inst.dst, 2)?;
    let mut targets = targets(wave, inst)?;
    for address in &mut targets.addresses {
        *address &= 0xfff8;
    }
    let mut outside = 0;
    let lds = &mut *context.memory.lds;
    for_lanes(targets.lanes, |lane| {
        let address = targets.addresses[lane];
        let new = [wave.vector(data)[lane], wave.vector(data + 1)[lane]];
        let old = lds.load::<[u32; 2]>(address);
        outside |= u64::from(old.is_none()) << lane;
        let old = old.unwrap_or([0; 2]);
        let kept: [u32; 2] =
            std::array::from_fn(|i| if new[i] >> 31 != 0 { new[i] & !(1 << 31) } else { old[i] });
        lds.store(address, kept);
        wave.vector_mut(dst)[lane] = old[0];
        wave.vector_mut(dst + 1)[lane] = old[1];
    });
    let (kind, space) = (AccessKind::Atomic, Space::Lds);
    finish(context, Done { kind, space, targets: &targets, num_bytes: 8, outside })
}

fn action(op: Op) -> Option<Action> {
    access(op).or_else(|| atomic_action(op))
}

fn access(op: Op) -> Option<Action> {
    use Action::{Load2, Store2};
    let load = |load: Load| Action::Load(load);
    let store = |store: Store| Action::Store(store);
    let exchange = |wide| Atomic { update: Update::Swap, wide };
    Some(match op {
        Op::ds_read_b32 => load(Load::new(4)),
        Op::ds_read_b64 => load(Load::new(8)),
        Op::ds_read_b96 => load(Load::new(12)),
        Op::ds_read_b128 => load(Load::new(16)),
        Op::ds_read_u8 => load(Load::new(1)),
        Op::ds_read_i8 => load(Load::signed(1)),
        Op::ds_read_u16 => load(Load::new(2)),
        Op::ds_read_i16 => load(Load::signed(2)),
        Op::ds_read_u8_d16 => load(Load::new(1).to(Part::Low)),
        Op::ds_read_u8_d16_hi => load(Load::new(1).to(Part::High)),
        Op::ds_read_i8_d16 => load(Load::signed(1).to(Part::Low)),
        Op::ds_read_i8_d16_hi => load(Load::signed(1).to(Part::High)),
        Op::ds_read_u16_d16 => load(Load::new(2).to(Part::Low)),
        Op::ds_read_u16_d16_hi => load(Load::new(2).to(Part::High)),
        Op::ds_write_b8 => store(Store::new(1)),
        Op::ds_write_b16 => store(Store::new(2)),
        Op::ds_write_b32 => store(Store::new(4)),
        Op::ds_write_b64 => store(Store::new(8)),
        Op::ds_write_b96 => store(Store::new(12)),
        Op::ds_write_b128 => store(Store::new(16)),
        Op::ds_write_b8_d16_hi => store(Store::high(1)),
        Op::ds_write_b16_d16_hi => store(Store::high(2)),
        Op::ds_read2_b32 => Load2(4, 1),
        Op::ds_read2_b64 => Load2(8, 2),
        Op::ds_read2st64_b32 => Load2(4 * 64, 1),
        Op::ds_read2st64_b64 => Load2(8 * 64, 2),
        Op::ds_write2_b32 => Store2(4, 1),
        Op::ds_write2_b64 => Store2(8, 2),
        Op::ds_write2st64_b32 => Store2(4 * 64, 1),
        Op::ds_write2st64_b64 => Store2(8 * 64, 2),
        Op::ds_wrxchg2_rtn_b32 => Action::Exchange2(4, exchange(false)),
        Op::ds_wrxchg2_rtn_b64 => Action::Exchange2(8, exchange(true)),
        Op::ds_wrxchg2st64_rtn_b32 => Action::Exchange2(4 * 64, exchange(false)),
        Op::ds_wrxchg2st64_rtn_b64 => Action::Exchange2(8 * 64, exchange(true)),
        Op::ds_read_addtid_b32 => Action::LoadByLane,
        Op::ds_write_addtid_b32 => Action::StoreByLane,
        Op::ds_append => Action::Count(Update::Add),
        Op::ds_consume => Action::Count(Update::Sub),
        Op::ds_condxchg32_rtn_b64 => Action::ExchangeIf,
        Op::ds_swizzle_b32 | Op::ds_permute_b32 | Op::ds_bpermute_b32 => Action::Cross,
        Op::ds_nop => Action::Nothing,
        _ => return None,
    })
}

fn atomic_action(op: Op) -> Option<Action> {
    use Update::*;
    let (update, wide) = match op {
        Op::ds_add_u32 | Op::ds_add_rtn_u32 => (Add, false),
        Op::ds_sub_u32 | Op::ds_sub_rtn_u32 => (Sub, false),
        Op::ds_rsub_u32 | Op::ds_rsub_rtn_u32 => (ReverseSub, false),
        Op::ds_inc_u32 | Op::ds_inc_rtn_u32 => (Inc, false),
        Op::ds_dec_u32 | Op::ds_dec_rtn_u32 => (Dec, false),
        Op::ds_min_i32 | Op::ds_min_rtn_i32 => (SignedMin, false),
        Op::ds_max_i32 | Op::ds_max_rtn_i32 => (SignedMax, false),
        Op::ds_min_u32 | Op::ds_min_rtn_u32 => (UnsignedMin, false),
        Op::ds_max_u32 | Op::ds_max_rtn_u32 => (UnsignedMax, false),
        Op::ds_and_b32 | Op::ds_and_rtn_b32 => (And, false),
        Op::ds_or_b32 | Op::ds_or_rtn_b32 => (Or, false),
        Op::ds_xor_b32 | Op::ds_xor_rtn_b32 => (Xor, false),
        Op::ds_mskor_b32 | Op::ds_mskor_rtn_b32 => (MaskedOr, false),
        Op::ds_cmpst_b32 | Op::ds_cmpst_rtn_b32 => (CompareSwap, false),
        Op::ds_cmpst_f32 | Op::ds_cmpst_rtn_f32 => (FloatCompareSwap, false),
        Op::ds_min_f32 | Op::ds_min_rtn_f32 => (FloatMin, false),
        Op::ds_max_f32 | Op::ds_max_rtn_f32 => (FloatMax, false),
        Op::ds_add_f32 | Op::ds_add_rtn_f32 => (FloatAdd, false),
        Op::ds_pk_add_f16 | Op::ds_pk_add_rtn_f16 => (PackedAddF16, false),
        Op::ds_pk_add_bf16 | Op::ds_pk_add_rtn_bf16 => (PackedAddBf16, false),
        Op::ds_wrxchg_rtn_b32 => (Swap, false),
        Op::ds_wrap_rtn_b32 => (Wrap, false),
        Op::ds_add_u64 | Op::ds_add_rtn_u64 => (Add, true),
        Op::ds_sub_u64 | Op::ds_sub_rtn_u64 => (Sub, true),
        Op::ds_rsub_u64 | Op::ds_rsub_rtn_u64 => (ReverseSub, true),
        Op::ds_inc_u64 | Op::ds_inc_rtn_u64 => (Inc, true),
        Op::ds_dec_u64 | Op::ds_dec_rtn_u64 => (Dec, true),
        Op::ds_min_i64 | Op::ds_min_rtn_i64 => (SignedMin, true),
        Op::ds_max_i64 | Op::ds_max_rtn_i64 => (SignedMax, true),
        Op::ds_min_u64 | Op::ds_min_rtn_u64 => (UnsignedMin, true),
        Op::ds_max_u64 | Op::ds_max_rtn_u64 => (UnsignedMax, true),
        Op::ds_and_b64 | Op::ds_and_rtn_b64 => (And, true),
        Op::ds_or_b64 | Op::ds_or_rtn_b64 => (Or, true),
        Op::ds_xor_b64 | Op::ds_xor_rtn_b64 => (Xor, true),
        Op::ds_mskor_b64 | Op::ds_mskor_rtn_b64 => (MaskedOr, true),
        Op::ds_cmpst_b64 | Op::ds_cmpst_rtn_b64 => (CompareSwap, true),
        Op::ds_cmpst_f64 | Op::ds_cmpst_rtn_f64 => (FloatCompareSwap, true),
        Op::ds_min_f64 | Op::ds_min_rtn_f64 => (FloatMin, true),
        Op::ds_max_f64 | Op::ds_max_rtn_f64 => (FloatMax, true),
        Op::ds_add_f64 | Op::ds_add_rtn_f64 => (FloatAdd, true),
        Op::ds_wrxchg_rtn_b64 => (Swap, true),
        _ => return None,
    };
    Some(Action::Atomic(Atomic { update, wide }))
}
