//! What a kernel asks of a compute unit, and how many of its waves fit.

use serde::{Deserialize, Serialize};

use crate::Kernel;

/// Unified vector registers of a lane's SIMD.
const VECTOR_REGISTERS: u32 = 512;
/// The granule in which they are allocated.
const VECTOR_GRANULE: u32 = 8;
const SIMDS_PER_CU: u32 = 4;
const MAX_WAVES_PER_SIMD: u32 = 8;
const LDS_BYTES_PER_CU: u32 = 64 << 10;

/// The work-groups of a launch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WorkGroupShape {
    /// Waves of a work-group.
    pub waves_per_work_group: u32,
    /// LDS that the launch adds to the kernel's own, bytes.
    pub dynamic_lds_bytes: u32,
}

/// What a kernel asks of a compute unit. The counts and spills are the compiler's, `None` where it left no metadata.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Resources {
    /// VGPRs of a lane, AccVGPRs aside.
    pub vgprs: Option<u32>,
    /// AccVGPRs of a lane.
    pub agprs: Option<u32>,
    /// Unified vector registers allocated for a lane.
    pub vector_registers: u32,
    /// SGPRs of a wave.
    pub sgprs: Option<u32>,
    /// VGPRs that did not fit.
    pub vgpr_spills: Option<u32>,
    /// SGPRs that did not fit.
    pub sgpr_spills: Option<u32>,
    /// LDS of a work-group, bytes.
    pub lds_bytes: u32,
    /// Scratch of a lane, bytes.
    pub scratch_bytes: u32,
    /// Waves that a SIMD holds at once.
    pub waves_per_simd: u32,
    /// Waves that a compute unit holds at once: whole work-groups.
    pub waves_per_cu: u32,
}

impl Resources {
    /// What `kernel` asks for when it is launched as `shape` says.
    pub fn of(kernel: &Kernel, shape: &WorkGroupShape) -> Self {
        let descriptor = &kernel.descriptor;
        let metadata = kernel.metadata.as_ref();
        let lds_bytes = descriptor.group_segment_fixed_size.saturating_add(shape.dynamic_lds_bytes);
        let allocated = descriptor.num_vgprs.max(1).next_multiple_of(VECTOR_GRANULE);
        let by_registers =
            (VECTOR_REGISTERS / allocated).clamp(1, MAX_WAVES_PER_SIMD) * SIMDS_PER_CU;
        let by_lds = LDS_BYTES_PER_CU.checked_div(lds_bytes).unwrap_or(u32::MAX);
        let waves = shape.waves_per_work_group.max(1);
        let work_groups = (by_registers / waves).min(by_lds);
        let waves_per_cu = work_groups * waves;
        Self {
            vgprs: metadata.map(|m| m.vgpr_count.saturating_sub(m.agpr_count)),
            agprs: metadata.map(|m| m.agpr_count),
            vector_registers: allocated,
            sgprs: metadata.map(|m| m.sgpr_count),
            vgpr_spills: metadata.map(|m| m.vgpr_spill_count),
            sgpr_spills: metadata.map(|m| m.sgpr_spill_count),
            lds_bytes,
            scratch_bytes: descriptor.private_segment_fixed_size,
            waves_per_simd: waves_per_cu.div_ceil(SIMDS_PER_CU),
            waves_per_cu,
        }
    }
}
