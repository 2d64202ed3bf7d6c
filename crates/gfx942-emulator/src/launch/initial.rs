//! The registers of a wave that starts (manual, 3.13; LLVM, "Initial Kernel Execution State").

use code_object::{KernelDescriptor, UserSgpr};

use super::emulator::Launch;
use crate::WAVE_SIZE;
use crate::exec::memory::{PRIVATE_BASE, SHARED_BASE};
use crate::exec::{Lanes, Trap, Wave};
use crate::isa::Operand;

/// Bytes of a dispatch packet, of what kernels read of a queue, and of the space for both.
const PACKET_BYTES: usize = 64;
const QUEUE_BYTES: usize = 256;
pub(super) const SERVICE_BYTES: usize = PACKET_BYTES + QUEUE_BYTES;

/// Device addresses of what waves are given.
#[derive(Clone, Copy)]
pub(super) struct Addresses {
    pub kernarg: u64,
    /// [`SERVICE_BYTES`] made by [`service_block`].
    pub service: u64,
    pub kernel_object: u64,
}

impl Addresses {
    fn packet(&self) -> u64 {
        self.service
    }

    /// Also what the hidden argument says.
    pub(super) fn queue(&self) -> u64 {
        self.service + PACKET_BYTES as u64
    }
}

/// The dispatch packet and the queue, as far as kernels read them (HSA runtime, "AQL kernel dispatch packet").
pub(super) fn service_block(
    launch: &Launch<'_>,
    descriptor: &KernelDescriptor,
    addresses: &Addresses,
) -> [u8; SERVICE_BYTES] {
    let mut block = [0; SERVICE_BYTES];
    let mut put = |offset: usize, bytes: &[u8]| {
        block[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    let grid = launch.grid_work_items();
    put(2, &3u16.to_le_bytes());
    for (axis, (block, grid)) in launch.block.into_iter().zip(grid).enumerate() {
        put(4 + 2 * axis, &(block as u16).to_le_bytes());
        put(12 + 4 * axis, &grid.to_le_bytes());
    }
    let lds_bytes = descriptor.group_segment_fixed_size.saturating_add(launch.dynamic_lds_bytes);
    put(24, &descriptor.private_segment_fixed_size.to_le_bytes());
    put(28, &lds_bytes.to_le_bytes());
    put(32, &addresses.kernel_object.to_le_bytes());
    put(40, &addresses.kernarg.to_le_bytes());
    // The apertures, in amd_queue_t.
    put(PACKET_BYTES + 0x40, &high(SHARED_BASE).to_le_bytes());
    put(PACKET_BYTES + 0x44, &high(PRIVATE_BASE).to_le_bytes());
    block
}

fn high(address: u64) -> u32 {
    (address >> 32) as u32
}

/// Sets the scalar registers that every wave of the launch starts with, those of the work-group aside.
pub(super) fn set_user_sgprs(
    wave: &mut Wave,
    descriptor: &KernelDescriptor,
    addresses: &Addresses,
    kernarg: &[u8],
) -> Result<(), Trap> {
    for (sgpr, first, count) in descriptor.user_sgprs() {
        let first = first as u16;
        match sgpr {
            UserSgpr::DispatchPtr => wave.set_scalar64(first, addresses.packet()),
            UserSgpr::QueuePtr => wave.set_scalar64(first, addresses.queue()),
            UserSgpr::KernargSegmentPtr => wave.set_scalar64(first, addresses.kernarg),
            UserSgpr::DispatchId => wave.set_scalar64(first, 0),
            UserSgpr::PrivateSegmentSize => {
                wave.set_scalar(first, descriptor.private_segment_fixed_size);
            }
            UserSgpr::KernargPreload => {
                let start = descriptor.kernarg_preload_offset as usize * 4;
                for i in 0..count as usize {
                    let bytes = kernarg.get(start + 4 * i..start + 4 * i + 4);
                    let bytes = bytes.and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
                    wave.set_scalar(first + i as u16, u32::from_le_bytes(bytes));
                }
            }
            UserSgpr::PrivateSegmentBuffer | UserSgpr::FlatScratchInit => {
                return Err(Trap::Unimplemented(format!(
                    "{sgpr:?}, which gfx942's own scratch instructions do not need,"
                )));
            }
        }
    }
    Ok(())
}

/// Sets the scalar registers of wave `wave_index` of a work-group: its place in the grid.
pub(super) fn set_work_group_sgprs(
    wave: &mut Wave,
    descriptor: &KernelDescriptor,
    launch: &Launch<'_>,
    addresses: &Addresses,
    work_group: [u32; 3],
    wave_index: u32,
) {
    let mut next = descriptor.user_sgpr_count as u16;
    for (enabled, id) in descriptor.enable_sgpr_workgroup_id.into_iter().zip(work_group) {
        if enabled {
            wave.set_scalar(next, id);
            next += 1;
        }
    }
    if descriptor.enable_sgpr_workgroup_info {
        let first_wave = u32::from(wave_index == 0) << 31;
        wave.set_scalar(next, first_wave | wave_index << 20 | launch.num_waves());
    }
    let ttmp = Operand::TTMP0.0;
    wave.set_scalar64(ttmp + 4, 0);
    wave.set_scalar64(ttmp + 6, addresses.packet());
    for (axis, work_items) in launch.grid_work_items().into_iter().enumerate() {
        wave.set_scalar(ttmp + 8 + axis as u16, work_items);
    }
    wave.set_scalar(ttmp + 11, wave_index);
}

/// v0 and the active lanes of wave `wave_index`: `dimensions` is 0 for x alone, 1 for x and y, 2 for all.
pub(super) fn work_items(block: [u32; 3], wave_index: u32, dimensions: u32) -> (Lanes, u64) {
    let num_work_items = block.iter().product::<u32>();
    let first = wave_index * WAVE_SIZE as u32;
    let mut ids = [0; WAVE_SIZE];
    for (work_item, id) in (first..num_work_items).zip(&mut ids) {
        let [x, y] = [work_item % block[0], work_item / block[0] % block[1]];
        let z = work_item / (block[0] * block[1]);
        *id = match dimensions {
            0 => x,
            1 => x | y << 10,
            _ => x | y << 10 | z << 20,
        };
    }
    let num_lanes = (num_work_items - first).min(WAVE_SIZE as u32);
    (ids, u64::MAX >> (WAVE_SIZE as u32 - num_lanes))
}
