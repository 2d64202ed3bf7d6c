//! Lanes that read other lanes through the LDS crossbar: `ds_swizzle_b32`, `ds_permute_b32`, `ds_bpermute_b32`.

use super::access::for_lanes;
use super::transfer::registers;
use crate::WAVE_SIZE;
use crate::exec::{Lanes, Trap, Wave};
use crate::isa::{Inst, Op};

/// Executes `inst`.
pub(super) fn execute(wave: &mut Wave, inst: &Inst) -> Result<(), Trap> {
    let lanes = wave.exec;
    let dst = registers(inst.dst, 1)?;
    let offset = inst.offset as u32;
    let result = match inst.op {
        Op::ds_swizzle_b32 => {
            // The one operand is in the address' place.
            let data = wave.vector(registers(inst.src[0], 1)?);
            pull(data, lanes, |lane| swizzle(offset, lane))
        }
        Op::ds_bpermute_b32 => {
            let addresses = wave.vector(registers(inst.src[0], 1)?);
            let data = wave.vector(registers(inst.src[1], 1)?);
            pull(data, lanes, |lane| lane_at(addresses[lane].wrapping_add(offset)))
        }
        _ => {
            let addresses = wave.vector(registers(inst.src[0], 1)?);
            let data = wave.vector(registers(inst.src[1], 1)?);
            push(data, lanes, |lane| lane_at(addresses[lane].wrapping_add(offset)))
        }
    };
    wave.set_vector(dst, lanes, &result);
    Ok(())
}

/// The lane that a byte address of dwords means.
fn lane_at(address: u32) -> usize {
    address as usize / 4 % WAVE_SIZE
}

/// Each lane gets the data of another, or 0 where that is switched off.
#[inline(always)]
fn pull(data: &Lanes, lanes: u64, source: impl Fn(usize) -> usize) -> Lanes {
    if lanes == u64::MAX {
        return std::array::from_fn(|lane| data[source(lane) % WAVE_SIZE]);
    }
    std::array::from_fn(|lane| {
        let source = source(lane) % WAVE_SIZE;
        if lanes >> source & 1 != 0 { data[source] } else { 0 }
    })
}

/// Each lane gives its data to another; of several, the last one wins.
fn push(data: &Lanes, lanes: u64, destination: impl Fn(usize) -> usize) -> Lanes {
    let mut result = [0; WAVE_SIZE];
    for_lanes(lanes, |lane| result[destination(lane)] = data[lane]);
    result
}

/// The lane that `lane` reads in `ds_swizzle_b32`.
fn swizzle(offset: u32, lane: usize) -> usize {
    let (group, in_group) = (lane as u32 & 0x20, lane as u32 & 0x1f);
    let field = |shift: u32| offset >> shift & 0x1f;
    let source = match offset {
        0xe000.. => {
            // The butterfly of an FFT: all bits, but the low ones, reversed.
            let mask = field(0);
            (in_group.reverse_bits() >> 27 >> mask.count_ones()) | in_group & mask
        }
        0xc000.. => {
            let (mask, distance) = (field(0), field(5));
            let right = offset >> 10 & 1 != 0;
            let turned = if right {
                in_group.wrapping_sub(distance)
            } else {
                in_group.wrapping_add(distance)
            };
            (in_group & mask | turned & !mask) & 0x1f
        }
        0x8000.. => in_group & !3 | offset >> (2 * (in_group & 3)) & 3,
        _ => (in_group & field(0) | field(5)) ^ field(10),
    };
    (source | group) as usize
}
