//! Modules, kernels, launches, occupancy.

use std::ffi::{c_char, c_int, c_uint, c_void};

use code_object::{Kernel, Resources, WorkGroupShape};
use hip_sys::bindings::{
    hipDeviceptr_t, hipError_t, hipFuncAttribute, hipFunction_attribute, hipFunction_t,
    hipModule_t, hipStream_t,
};

use super::stream::stream_id;
use super::{INVALID_VALUE, put, string};
use crate::error::{Failure, Result};
use crate::launch::{Parameters, Shape, prepare};
use crate::module::{Function, image_at};
use crate::properties::{LDS_BYTES, MAX_WORK_GROUP, NUM_COMPUTE_UNITS};
use crate::runtime::Runtime;
use crate::work::Work;

/// Lanes of a wave.
const WAVE_SIZE: u32 = gfx942_emulator::WAVE_SIZE as u32;

fn load(runtime: &mut Runtime, place: *mut hipModule_t, bytes: &[u8]) -> Result {
    runtime.check_fault()?;
    let handle = runtime.new_handle();
    runtime.modules.load(&runtime.device, handle, bytes)?;
    // SAFETY: HIP's rules for the caller.
    unsafe { put(place, handle as hipModule_t) }
}

/// Queues a launch.
///
/// # Safety
/// `parameters` are what HIP asks for.
pub(super) unsafe fn launch(
    runtime: &mut Runtime,
    function: Function,
    shape: Shape,
    stream: hipStream_t,
    parameters: Parameters,
) -> Result {
    runtime.check_fault()?;
    let stream = stream_id(runtime, stream)?;
    // SAFETY: the caller's promise.
    let launch = unsafe { prepare(function, shape, parameters) }?;
    runtime.submit(stream, &[], Work::Launch(Box::new(launch))).map(drop)
}

/// The most work-items that a work-group of `kernel` can have.
fn max_work_group(kernel: &Kernel) -> u32 {
    let metadata = kernel.metadata.as_ref();
    metadata.map_or(MAX_WORK_GROUP, |m| m.max_flat_workgroup_size.min(MAX_WORK_GROUP))
}

/// Work-groups of `work_items` that a compute unit holds at once.
fn work_groups_per_cu(kernel: &Kernel, work_items: u32, dynamic_lds_bytes: usize) -> u32 {
    let waves = work_items.div_ceil(WAVE_SIZE).max(1);
    let dynamic_lds_bytes = u32::try_from(dynamic_lds_bytes).unwrap_or(u32::MAX);
    let shape = WorkGroupShape { waves_per_work_group: waves, dynamic_lds_bytes };
    Resources::of(kernel, &shape).waves_per_cu / waves
}

/// An attribute of a kernel.
pub(super) fn attribute(kernel: &Kernel, attribute: hipFunction_attribute) -> Result<c_int> {
    let descriptor = &kernel.descriptor;
    let value = match attribute {
        hipFunction_attribute::HIP_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK => max_work_group(kernel),
        hipFunction_attribute::HIP_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES => {
            descriptor.group_segment_fixed_size
        }
        hipFunction_attribute::HIP_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES => {
            descriptor.private_segment_fixed_size
        }
        hipFunction_attribute::HIP_FUNC_ATTRIBUTE_NUM_REGS => {
            kernel.metadata.as_ref().map_or(descriptor.num_vgprs, |metadata| metadata.vgpr_count)
        }
        hipFunction_attribute::HIP_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES => {
            (LDS_BYTES as u32).saturating_sub(descriptor.group_segment_fixed_size)
        }
        hipFunction_attribute::HIP_FUNC_ATTRIBUTE_BINARY_VERSION
        | hipFunction_attribute::HIP_FUNC_ATTRIBUTE_PTX_VERSION => 94,
        hipFunction_attribute::HIP_FUNC_ATTRIBUTE_CONST_SIZE_BYTES
        | hipFunction_attribute::HIP_FUNC_ATTRIBUTE_CACHE_MODE_CA
        | hipFunction_attribute::HIP_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT => 0,
        _ => return Err(INVALID_VALUE.into()),
    };
    c_int::try_from(value).map_err(|_| INVALID_VALUE.into())
}

api! {
    fn hipModuleLoad(place: *mut hipModule_t, path: *const c_char) |runtime| {
        // SAFETY: HIP's rules for the caller.
        let path = unsafe { string(path) }?;
        let bytes = std::fs::read(path).map_err(|error| {
            Failure::new(hipError_t::hipErrorFileNotFound, format!("{path}: {error}"))
        })?;
        load(runtime, place, &bytes)
    }

    fn hipModuleLoadData(place: *mut hipModule_t, image: *const c_void) |runtime| {
        if image.is_null() {
            return Err(INVALID_VALUE.into());
        }
        // SAFETY: HIP's rules for the caller, and not null.
        let bytes = unsafe { image_at(image) }?;
        load(runtime, place, bytes)
    }

    // The options are hints to a compiler; code objects are compiled.
    fn hipModuleLoadDataEx(
        place: *mut hipModule_t,
        image: *const c_void,
        _num_options: c_uint,
        _options: *mut c_int,
        _values: *mut *mut c_void,
    ) |runtime| {
        if image.is_null() {
            return Err(INVALID_VALUE.into());
        }
        // SAFETY: HIP's rules for the caller, and not null.
        let bytes = unsafe { image_at(image) }?;
        load(runtime, place, bytes)
    }

    fn hipModuleUnload(module: hipModule_t) |runtime| {
        runtime.synchronize_all()?;
        runtime.modules.unload(&runtime.device, module as usize)
    }

    fn hipModuleGetFunction(
        place: *mut hipFunction_t,
        module: hipModule_t,
        name: *const c_char,
    ) |runtime| {
        // SAFETY: HIP's rules for the caller.
        let name = unsafe { string(name) }?;
        let handle = runtime.new_handle();
        runtime.modules.add_function(module as usize, name, handle)?;
        // SAFETY: HIP's rules for the caller.
        unsafe { put(place, handle as hipFunction_t) }
    }

    fn hipModuleGetGlobal(
        place: *mut hipDeviceptr_t,
        num_bytes: *mut usize,
        module: hipModule_t,
        name: *const c_char,
    ) |runtime| {
        // SAFETY: HIP's rules for the caller.
        let name = unsafe { string(name) }?;
        let (address, size) = runtime.modules.variable(module as usize, name)?;
        if !num_bytes.is_null() {
            // SAFETY: HIP's rules for the caller.
            unsafe { put(num_bytes, size as usize) }?;
        }
        // SAFETY: HIP's rules for the caller.
        unsafe { put(place, address as hipDeviceptr_t) }
    }

    fn hipModuleLaunchKernel(
        function: hipFunction_t,
        grid_x: c_uint,
        grid_y: c_uint,
        grid_z: c_uint,
        block_x: c_uint,
        block_y: c_uint,
        block_z: c_uint,
        dynamic_lds_bytes: c_uint,
        stream: hipStream_t,
        pointers: *mut *mut c_void,
        extra: *mut *mut c_void,
    ) |runtime| {
        let function = runtime.modules.function(function as usize)?;
        let shape = Shape {
            grid: [grid_x, grid_y, grid_z],
            block: [block_x, block_y, block_z],
            dynamic_lds_bytes: dynamic_lds_bytes as usize,
        };
        let parameters = Parameters::new(pointers, extra)?;
        // SAFETY: HIP's rules for the caller.
        unsafe { launch(runtime, function, shape, stream, parameters) }
    }

    fn hipFuncGetAttribute(
        value: *mut c_int,
        which: hipFunction_attribute,
        function: hipFunction_t,
    ) |runtime| {
        let function = runtime.modules.function(function as usize)?;
        let found = attribute(function.kernel(), which)?;
        // SAFETY: HIP's rules for the caller.
        unsafe { put(value, found) }
    }

    // All of LDS can be asked for at every launch, so that there is nothing to set, only to check.
    fn hipFuncSetAttribute(
        function: *const c_void,
        which: hipFuncAttribute,
        value: c_int,
    ) |runtime| {
        let handle = runtime.new_handle();
        let function = match runtime.modules.function(function as usize) {
            Ok(function) => function,
            Err(_) => {
                runtime.modules.program_kernel(&runtime.device, function as usize, handle)?
            }
        };
        let largest = match which {
            hipFuncAttribute::hipFuncAttributeMaxDynamicSharedMemorySize => attribute(
                function.kernel(),
                hipFunction_attribute::HIP_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
            )?,
            hipFuncAttribute::hipFuncAttributePreferredSharedMemoryCarveout => 100,
            _ => return Err(INVALID_VALUE.into()),
        };
        if (-1..=largest).contains(&value) { Ok(()) } else { Err(INVALID_VALUE.into()) }
    }

    fn hipModuleOccupancyMaxActiveBlocksPerMultiprocessor(
        num_blocks: *mut c_int,
        function: hipFunction_t,
        block_size: c_int,
        dynamic_lds_bytes: usize,
    ) |runtime| {
        let function = runtime.modules.function(function as usize)?;
        let block_size = u32::try_from(block_size).map_err(|_| INVALID_VALUE)?;
        if block_size == 0 || block_size > max_work_group(function.kernel()) {
            return Err(INVALID_VALUE.into());
        }
        let found = work_groups_per_cu(function.kernel(), block_size, dynamic_lds_bytes);
        // SAFETY: HIP's rules for the caller.
        unsafe { put(num_blocks, found as c_int) }
    }

    fn hipModuleOccupancyMaxPotentialBlockSize(
        grid_size: *mut c_int,
        block_size: *mut c_int,
        function: hipFunction_t,
        dynamic_lds_bytes: usize,
        limit: c_int,
    ) |runtime| {
        let function = runtime.modules.function(function as usize)?;
        let kernel = function.kernel();
        let max = max_work_group(kernel);
        let limit = u32::try_from(limit).ok().filter(|limit| *limit != 0).unwrap_or(max).min(max);
        // Of the sizes that keep most work-items busy, the largest.
        let sizes = (1..=limit.div_ceil(WAVE_SIZE)).map(|waves| (waves * WAVE_SIZE).min(limit));
        let with_counts = sizes.map(|size| {
            let work_groups = work_groups_per_cu(kernel, size, dynamic_lds_bytes);
            (work_groups * size, size, work_groups)
        });
        let (_, size, work_groups) = with_counts.max().ok_or(INVALID_VALUE)?;
        // SAFETY: HIP's rules for the caller.
        unsafe {
            put(grid_size, (work_groups * NUM_COMPUTE_UNITS) as c_int)?;
            put(block_size, size as c_int)
        }
    }
}
