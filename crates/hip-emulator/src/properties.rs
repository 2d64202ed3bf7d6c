//! What the device says of itself: an MI300X as ROCm presents it, less what the emulator does not have (textures,
//! managed memory, cooperative launches, registered host memory).

use std::ffi::{c_char, c_int};

use hip_sys::bindings::{hipDeviceArch_t, hipDeviceAttribute_t, hipDeviceProp_tR0600};

/// The device's name.
pub const NAME: &str = "AMD Instinct MI300X (emulated)";

/// Compute units.
pub const NUM_COMPUTE_UNITS: u32 = 304;

/// Most work-items of a work-group.
pub const MAX_WORK_GROUP: u32 = 1024;

/// LDS of a compute unit, all of which one work-group can have.
pub const LDS_BYTES: usize = 64 << 10;

/// All properties of a device with `capacity` bytes of memory.
pub fn properties(capacity: u64) -> hipDeviceProp_tR0600 {
    const LARGEST: c_int = c_int::MAX;
    hipDeviceProp_tR0600 {
        name: text(NAME),
        totalGlobalMem: capacity as usize,
        sharedMemPerBlock: LDS_BYTES,
        regsPerBlock: 65536,
        warpSize: gfx942_emulator::WAVE_SIZE as c_int,
        memPitch: LARGEST as usize,
        maxThreadsPerBlock: MAX_WORK_GROUP as c_int,
        maxThreadsDim: [MAX_WORK_GROUP as c_int; 3],
        maxGridSize: [LARGEST, 65536, 65536],
        clockRate: 2_100_000,
        totalConstMem: LARGEST as usize,
        major: 9,
        minor: 4,
        deviceOverlap: 1,
        multiProcessorCount: NUM_COMPUTE_UNITS as c_int,
        canMapHostMemory: 1,
        concurrentKernels: 1,
        ECCEnabled: 1,
        pciBusID: 1,
        asyncEngineCount: 1,
        unifiedAddressing: 1,
        memoryClockRate: 1_300_000,
        memoryBusWidth: 8192,
        l2CacheSize: 4 << 20,
        maxThreadsPerMultiProcessor: 2048,
        streamPrioritiesSupported: 1,
        globalL1CacheSupported: 1,
        localL1CacheSupported: 1,
        sharedMemPerMultiprocessor: LDS_BYTES,
        regsPerMultiprocessor: 65536 * 2,
        hostNativeAtomicSupported: 1,
        sharedMemPerBlockOptin: LDS_BYTES,
        maxBlocksPerMultiProcessor: 32,
        memoryPoolsSupported: 1,
        gcnArchName: text("gfx942:sramecc+:xnack-"),
        maxSharedMemoryPerMultiProcessor: LDS_BYTES,
        clockInstructionRate: 100_000,
        arch: arch(),
        isLargeBar: 1,
        ..hipDeviceProp_tR0600::default()
    }
}

/// The bits of `hipDeviceArch_t`, in its order: atomics of 32 and 64 bits in both memories, `f64`, votes, ballots and
/// shuffles (0 to 10); system fences (12); grids of three dimensions (15). Funnel shifts, `__syncthreads_count` and its
/// like, surfaces and launches from the device are not there.
fn arch() -> hipDeviceArch_t {
    hipDeviceArch_t { _bindgen_opaque_blob: 0x7ff | 1 << 12 | 1 << 15, ..Default::default() }
}

/// A C string in a field.
fn text<const N: usize>(text: &str) -> [c_char; N] {
    let mut field = [0; N];
    for (place, byte) in field.iter_mut().zip(text.bytes().take(N - 1)) {
        *place = byte as c_char;
    }
    field
}

/// One attribute; `None` is one that this device does not know.
pub fn attribute(which: hipDeviceAttribute_t, capacity: u64) -> Option<c_int> {
    type A = hipDeviceAttribute_t;
    let p = properties(capacity);
    let large = |value: usize| c_int::try_from(value).unwrap_or(c_int::MAX);
    let value = match which {
        A::hipDeviceAttributeEccEnabled => p.ECCEnabled,
        A::hipDeviceAttributeAsyncEngineCount => p.asyncEngineCount,
        A::hipDeviceAttributeCanMapHostMemory => p.canMapHostMemory,
        A::hipDeviceAttributeClockRate => p.clockRate,
        A::hipDeviceAttributeConcurrentKernels => p.concurrentKernels,
        A::hipDeviceAttributeDeviceOverlap => p.deviceOverlap,
        A::hipDeviceAttributeGlobalL1CacheSupported => p.globalL1CacheSupported,
        A::hipDeviceAttributeHostNativeAtomicSupported => p.hostNativeAtomicSupported,
        A::hipDeviceAttributeL2CacheSize => p.l2CacheSize,
        A::hipDeviceAttributeLocalL1CacheSupported => p.localL1CacheSupported,
        A::hipDeviceAttributeComputeCapabilityMajor => p.major,
        A::hipDeviceAttributeComputeCapabilityMinor => p.minor,
        A::hipDeviceAttributeMaxBlocksPerMultiProcessor => p.maxBlocksPerMultiProcessor,
        A::hipDeviceAttributeMaxBlockDimX => p.maxThreadsDim[0],
        A::hipDeviceAttributeMaxBlockDimY => p.maxThreadsDim[1],
        A::hipDeviceAttributeMaxBlockDimZ => p.maxThreadsDim[2],
        A::hipDeviceAttributeMaxGridDimX => p.maxGridSize[0],
        A::hipDeviceAttributeMaxGridDimY => p.maxGridSize[1],
        A::hipDeviceAttributeMaxGridDimZ => p.maxGridSize[2],
        A::hipDeviceAttributeMaxThreadsDim => p.maxThreadsDim[0],
        A::hipDeviceAttributeMaxThreadsPerBlock => p.maxThreadsPerBlock,
        A::hipDeviceAttributeMaxThreadsPerMultiProcessor => p.maxThreadsPerMultiProcessor,
        A::hipDeviceAttributeMaxPitch => large(p.memPitch),
        A::hipDeviceAttributeMemoryBusWidth => p.memoryBusWidth,
        A::hipDeviceAttributeMemoryClockRate => p.memoryClockRate,
        A::hipDeviceAttributeMultiprocessorCount
        | A::hipDeviceAttributePhysicalMultiProcessorCount => p.multiProcessorCount,
        A::hipDeviceAttributePciBusId => p.pciBusID,
        A::hipDeviceAttributeMaxRegistersPerBlock => p.regsPerBlock,
        A::hipDeviceAttributeMaxRegistersPerMultiprocessor => p.regsPerMultiprocessor,
        A::hipDeviceAttributeMaxSharedMemoryPerBlock => large(p.sharedMemPerBlock),
        A::hipDeviceAttributeSharedMemPerBlockOptin => large(p.sharedMemPerBlockOptin),
        A::hipDeviceAttributeSharedMemPerMultiprocessor
        | A::hipDeviceAttributeMaxSharedMemoryPerMultiprocessor => {
            large(p.sharedMemPerMultiprocessor)
        }
        A::hipDeviceAttributeStreamPrioritiesSupported => p.streamPrioritiesSupported,
        A::hipDeviceAttributeTotalConstantMemory => large(p.totalConstMem),
        A::hipDeviceAttributeTotalGlobalMem => large(p.totalGlobalMem),
        A::hipDeviceAttributeUnifiedAddressing => p.unifiedAddressing,
        A::hipDeviceAttributeWarpSize => p.warpSize,
        A::hipDeviceAttributeMemoryPoolsSupported => p.memoryPoolsSupported,
        A::hipDeviceAttributeClockInstructionRate | A::hipDeviceAttributeWallClockRate => {
            p.clockInstructionRate
        }
        A::hipDeviceAttributeIsLargeBar => p.isLargeBar,
        A::hipDeviceAttributeFineGrainSupport => 1,
        // What it knows and does not have.
        A::hipDeviceAttributeComputeMode
        | A::hipDeviceAttributeCanUseHostPointerForRegisteredMem
        | A::hipDeviceAttributeComputePreemptionSupported
        | A::hipDeviceAttributeConcurrentManagedAccess
        | A::hipDeviceAttributeCooperativeLaunch
        | A::hipDeviceAttributeCooperativeMultiDeviceLaunch
        | A::hipDeviceAttributeDirectManagedMemAccessFromHost
        | A::hipDeviceAttributeIntegrated
        | A::hipDeviceAttributeIsMultiGpuBoard
        | A::hipDeviceAttributeKernelExecTimeout
        | A::hipDeviceAttributeManagedMemory
        | A::hipDeviceAttributeMultiGpuBoardGroupID
        | A::hipDeviceAttributePageableMemoryAccess
        | A::hipDeviceAttributePageableMemoryAccessUsesHostPageTables
        | A::hipDeviceAttributePciDeviceId
        | A::hipDeviceAttributePciDomainID
        | A::hipDeviceAttributePersistingL2CacheMaxSize
        | A::hipDeviceAttributeReservedSharedMemPerBlock
        | A::hipDeviceAttributeTccDriver
        | A::hipDeviceAttributeVirtualMemoryManagementSupported
        | A::hipDeviceAttributeHostRegisterSupported
        | A::hipDeviceAttributeMemoryPoolSupportedHandleTypes
        | A::hipDeviceAttributeAsicRevision
        | A::hipDeviceAttributeCanUseStreamWaitValue
        | A::hipDeviceAttributeImageSupport => 0,
        _ => return None,
    };
    Some(value)
}
