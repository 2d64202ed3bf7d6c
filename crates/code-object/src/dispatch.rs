//! What a launch says, and what hidden arguments make of it.

use crate::Hidden;
use crate::metadata::Axis;

/// What a launch says, and what of the device hidden arguments tell the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Dispatch {
    /// Work-items of the grid.
    pub grid: [u32; 3],
    /// Work-items of a work-group.
    pub workgroup: [u32; 3],
    /// LDS on top of what the kernel needs by itself, bytes.
    pub dynamic_lds_bytes: u32,
    /// Where LDS appears among flat addresses.
    pub shared_base: u64,
    /// Where scratch memory appears among flat addresses.
    pub private_base: u64,
    /// Address of the queue.
    pub queue_ptr: u64,
}

impl Dispatch {
    /// The value of a hidden argument and its size in bytes. `None` is a pointer that nobody serves here.
    pub(crate) fn hidden(&self, hidden: Hidden) -> Option<(u64, usize)> {
        let workgroup = |axis: Axis| self.workgroup[axis].max(1);
        let value = match hidden {
            Hidden::BlockCount(axis) => ((self.grid[axis] / workgroup(axis)).into(), 4),
            Hidden::GroupSize(axis) => (workgroup(axis).into(), 2),
            Hidden::Remainder(axis) => ((self.grid[axis] % workgroup(axis)).into(), 2),
            Hidden::GlobalOffset(_) => (0, 8),
            // A launch of HIP always has three.
            Hidden::GridDims => (3, 2),
            Hidden::DynamicLdsSize => (self.dynamic_lds_bytes.into(), 4),
            Hidden::PrivateBase => (self.private_base >> 32, 4),
            Hidden::SharedBase => (self.shared_base >> 32, 4),
            Hidden::QueuePtr => (self.queue_ptr, 8),
            Hidden::None
            | Hidden::PrintfBuffer
            | Hidden::HostcallBuffer
            | Hidden::HeapV1
            | Hidden::DefaultQueue
            | Hidden::CompletionAction
            | Hidden::MultigridSyncArg => return None,
        };
        Some(value)
    }
}
