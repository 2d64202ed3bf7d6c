//! From the arguments of a launch to a [`Launch`].

use std::ffi::c_void;

use code_object::{Argument, Dispatch, KernargError, Kernel};
use hip_sys::bindings::hipError_t;

use crate::device::{Launch, dispatch};
use crate::error::{Failure, Result};
use crate::module::Function;
use crate::properties::{LDS_BYTES, MAX_WORK_GROUP};

/// The marks in a launch's `extra` list (`HIP_LAUNCH_PARAM_*`).
const BUFFER_POINTER: usize = 1;
const BUFFER_SIZE: usize = 2;
const END: usize = 3;

/// Largest argument buffer.
const MAX_BUFFER_BYTES: usize = 1 << 16;

/// The size of a launch.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Work-groups.
    pub grid: [u32; 3],
    /// Work-items of a work-group.
    pub block: [u32; 3],
    /// LDS that the launch adds.
    pub dynamic_lds_bytes: usize,
}

/// How a launch passes arguments.
#[derive(Clone, Copy, Debug)]
pub enum Parameters {
    /// A pointer to each value.
    Pointers(*mut *mut c_void),
    /// A list of marks and values that says where a buffer with all of them is.
    Extra(*mut *mut c_void),
}

impl Parameters {
    /// The form that `hipModuleLaunchKernel` was called with.
    pub fn new(pointers: *mut *mut c_void, extra: *mut *mut c_void) -> Result<Self> {
        match (pointers.is_null(), extra.is_null()) {
            (_, true) => Ok(Self::Pointers(pointers)),
            (true, false) => Ok(Self::Extra(extra)),
            (false, false) => Err(Failure::new(
                hipError_t::hipErrorInvalidValue,
                "both kernelParams and extra are given: pass arguments in one way",
            )),
        }
    }
}

/// Checks a launch and builds its kernarg segment.
///
/// # Safety
/// `parameters` are what HIP asks for: as many pointers to values as the kernel has parameters, or a valid list.
pub unsafe fn prepare(function: Function, shape: Shape, parameters: Parameters) -> Result<Launch> {
    let kernel = function.kernel();
    let dynamic_lds_bytes = check(kernel, shape)?;
    let dispatch = dispatch(shape.grid, shape.block, dynamic_lds_bytes);
    let segment = match parameters {
        // SAFETY: the caller's promise.
        Parameters::Pointers(pointers) => unsafe { from_pointers(kernel, pointers, &dispatch) },
        // SAFETY: the caller's promise.
        Parameters::Extra(extra) => unsafe { from_extra(kernel, extra, &dispatch) },
    }?;
    let Shape { grid, block, .. } = shape;
    Ok(Launch { function, grid, block, dynamic_lds_bytes, segment })
}

/// Checks sizes; the LDS that the launch adds comes back in its type.
fn check(kernel: &Kernel, shape: Shape) -> Result<u32> {
    let invalid = |text: String| {
        let text = format!("{}: {text}", kernel.name);
        Failure::new(hipError_t::hipErrorInvalidConfiguration, text)
    };
    let Shape { grid, block, dynamic_lds_bytes } = shape;
    if grid.contains(&0) || block.contains(&0) {
        return Err(invalid(format!("a grid of {grid:?} work-groups of {block:?} is empty")));
    }
    let work_items: u64 = block.iter().map(|n| u64::from(*n)).product();
    let metadata = kernel.metadata.as_ref();
    let max = metadata.map_or(MAX_WORK_GROUP, |m| m.max_flat_workgroup_size.min(MAX_WORK_GROUP));
    if block.iter().any(|n| *n > MAX_WORK_GROUP) || work_items > max.into() {
        let text = format!("{work_items} work-items in a work-group; it is compiled for {max}");
        return Err(invalid(text));
    }
    if let Some(required) = metadata.and_then(|m| m.reqd_workgroup_size)
        && required != block
    {
        return Err(invalid(format!("work-groups of {block:?}; it is compiled for {required:?}")));
    }
    if (0..3).any(|axis| grid[axis].checked_mul(block[axis]).is_none()) {
        return Err(invalid(format!("{grid:?} × {block:?} work-items are more than 2³² − 1")));
    }
    let fixed = kernel.descriptor.group_segment_fixed_size as usize;
    if fixed.saturating_add(dynamic_lds_bytes) > LDS_BYTES {
        let text = format!(
            "{}: {fixed} + {dynamic_lds_bytes} bytes of LDS; a work-group can have {LDS_BYTES}",
            kernel.name
        );
        return Err(Failure::new(hipError_t::hipErrorLaunchOutOfResources, text));
    }
    Ok(dynamic_lds_bytes as u32)
}

fn refused(error: KernargError) -> Failure {
    Failure::new(hipError_t::hipErrorInvalidValue, error)
}

/// # Safety
/// `pointers` points to a pointer for each parameter, and each of those to a value of the parameter's size; where the
/// kernel has no parameters, it may be null.
unsafe fn from_pointers(
    kernel: &Kernel,
    pointers: *mut *mut c_void,
    dispatch: &Dispatch,
) -> Result<code_object::KernargSegment> {
    let Some(metadata) = &kernel.metadata else {
        return kernel.kernarg(&[], dispatch).map_err(refused);
    };
    let mut arguments = Vec::new();
    for (index, arg) in metadata.explicit_args().enumerate() {
        let missing = || {
            let text = format!("{}: argument {index} is missing", kernel.name);
            Failure::new(hipError_t::hipErrorInvalidValue, text)
        };
        if pointers.is_null() {
            return Err(missing());
        }
        // SAFETY: the caller's promise: there are as many pointers as parameters.
        let value = unsafe { pointers.add(index).read_unaligned() };
        if value.is_null() {
            return Err(missing());
        }
        // SAFETY: the caller's promise: each points to a value of the parameter's size.
        let bytes = unsafe { std::slice::from_raw_parts(value.cast::<u8>(), arg.size as usize) };
        arguments.push(Argument::Bytes(bytes));
    }
    kernel.kernarg(&arguments, dispatch).map_err(refused)
}

/// # Safety
/// `extra` points to a list of marks and values that ends with `HIP_LAUNCH_PARAM_END`.
unsafe fn from_extra(
    kernel: &Kernel,
    extra: *mut *mut c_void,
    dispatch: &Dispatch,
) -> Result<code_object::KernargSegment> {
    let invalid = |text: &str| {
        let text = format!("{}: extra {text}", kernel.name);
        Failure::new(hipError_t::hipErrorInvalidValue, text)
    };
    let (mut buffer, mut num_bytes) = (None, None);
    // Two marks with a value each, in any order, and the end.
    for i in 0..3 {
        // SAFETY: the end was not met yet.
        match unsafe { extra.add(2 * i).read_unaligned() } as usize {
            END => break,
            // SAFETY: each of these marks is followed by a value.
            BUFFER_POINTER => buffer = Some(unsafe { extra.add(2 * i + 1).read_unaligned() }),
            // SAFETY: as above; the value points to a size.
            BUFFER_SIZE => unsafe {
                let size = extra.add(2 * i + 1).read_unaligned().cast::<usize>();
                if size.is_null() {
                    return Err(invalid("has no size"));
                }
                num_bytes = Some(size.read_unaligned());
            },
            _ => return Err(invalid("has a mark that is not HIP_LAUNCH_PARAM_*")),
        }
    }
    let (Some(buffer), Some(num_bytes)) = (buffer, num_bytes) else {
        return Err(invalid("lacks a buffer or its size"));
    };
    if num_bytes > MAX_BUFFER_BYTES || (buffer.is_null() && num_bytes > 0) {
        return Err(invalid("has a buffer that cannot be right"));
    }
    let bytes = match num_bytes {
        0 => &[],
        // SAFETY: the caller's promise: the buffer has the size that goes with it.
        _ => unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), num_bytes) },
    };
    kernel.kernarg_from_buffer(bytes, dispatch).map_err(refused)
}
