//! What the compiler writes into a HIP program: its kernels' registration and the `<<<…>>>` launch.

use std::cell::RefCell;
use std::ffi::{c_char, c_int, c_uint, c_void};

use hip_sys::bindings::{hipError_t, hipFunction_attribute, hipMemcpyKind, hipStream_t};

use super::copy::{D2H, H2D, copy};
use super::module::{attribute, launch};
use super::{INVALID_VALUE, put, string};
use crate::error::{Failure, Result};
use crate::launch::{Parameters, Shape};
use crate::runtime::{self, Runtime};

/// `dim3`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Dim3 {
    x: u32,
    y: u32,
    z: u32,
}

impl Dim3 {
    const fn array(self) -> [u32; 3] {
        [self.x, self.y, self.z]
    }
}

/// `hipFuncAttributes`.
#[repr(C)]
pub struct FuncAttributes {
    binary_version: c_int,
    cache_mode_ca: c_int,
    const_size_bytes: usize,
    local_size_bytes: usize,
    max_dynamic_shared_size_bytes: c_int,
    max_threads_per_block: c_int,
    num_regs: c_int,
    preferred_shmem_carveout: c_int,
    ptx_version: c_int,
    shared_size_bytes: usize,
}

/// What `__hipRegisterFatBinary` is given.
#[repr(C)]
pub struct FatBinary {
    magic: u32,
    version: u32,
    bundle: *const c_void,
    unused: *const c_void,
}

/// `FatBinary::magic`: "HIPF".
const MAGIC: u32 = 0x4849_5046;

/// A launch between `<<<` and the call of the function that stands for the kernel.
#[derive(Clone, Copy)]
struct CallConfiguration {
    grid: Dim3,
    block: Dim3,
    dynamic_lds_bytes: usize,
    stream: hipStream_t,
}

thread_local! {
    static CALLS: RefCell<Vec<CallConfiguration>> = const { RefCell::new(Vec::new()) };
}

/// Start-up code: there is nobody to tell an error but the user.
fn register(body: impl FnOnce(&mut Runtime)) {
    match runtime::lock() {
        Ok(mut runtime) => body(&mut runtime),
        Err(failure) => {
            eprintln!("hip-emulator: {}", failure.text.unwrap_or_default());
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn __hipRegisterFatBinary(data: *const FatBinary) -> *mut *mut c_void {
    let mut handle = 0;
    // SAFETY: the compiler passes its own wrapper.
    let Some(data) = (unsafe { data.as_ref() }) else {
        return std::ptr::null_mut();
    };
    if data.magic != MAGIC || data.version != 1 {
        eprintln!("hip-emulator: the program's bundle is of an unknown version");
        return std::ptr::null_mut();
    }
    register(|runtime| {
        handle = runtime.new_handle();
        runtime.modules.add_program(handle, data.bundle as usize);
    });
    handle as *mut *mut c_void
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn __hipRegisterFunction(
    program: *mut *mut c_void,
    host_function: *const c_void,
    _device_function: *mut c_char,
    device_name: *const c_char,
    _thread_limit: c_uint,
    _thread: *mut c_void,
    _block: *mut c_void,
    _block_dim: *mut c_void,
    _grid_dim: *mut c_void,
    _wave_size: *mut c_int,
) {
    // SAFETY: the compiler passes a string of the program.
    let Ok(name) = (unsafe { string(device_name) }) else {
        return;
    };
    register(|runtime| {
        runtime.modules.add_program_kernel(program as usize, host_function as usize, name);
    });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn __hipRegisterVar(
    program: *mut *mut c_void,
    host_variable: *mut c_void,
    _host_name: *mut c_char,
    device_name: *const c_char,
    _is_extern: c_int,
    _num_bytes: usize,
    _is_constant: c_int,
    _is_global: c_int,
) {
    // SAFETY: the compiler passes a string of the program.
    let Ok(name) = (unsafe { string(device_name) }) else {
        return;
    };
    register(|runtime| {
        runtime.modules.add_program_variable(program as usize, host_variable as usize, name);
    });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn __hipUnregisterFatBinary(program: *mut *mut c_void) {
    register(|runtime| {
        // At the end of a program nobody looks at what is left.
        let _ = runtime.modules.remove_program(&runtime.device, program as usize);
    });
}

/// The device's address and size of the variable that `symbol` stands for.
fn variable(runtime: &mut Runtime, symbol: *const c_void) -> Result<(u64, u64)> {
    runtime.check_fault()?;
    let handle = runtime.new_handle();
    runtime.modules.program_variable(&runtime.device, symbol as usize, handle)
}

/// The part of a variable that a copy is about.
fn variable_part(
    runtime: &mut Runtime,
    symbol: *const c_void,
    num_bytes: usize,
    offset: usize,
) -> Result<*mut c_void> {
    let (address, size) = variable(runtime, symbol)?;
    match offset.checked_add(num_bytes) {
        Some(end) if end as u64 <= size => Ok((address + offset as u64) as *mut c_void),
        _ => Err(Failure::new(
            INVALID_VALUE,
            format!("{num_bytes} bytes at {offset} are not in a variable of {size} bytes"),
        )),
    }
}

api! {
    fn __hipPushCallConfiguration(
        grid: Dim3,
        block: Dim3,
        dynamic_lds_bytes: usize,
        stream: hipStream_t,
    ) |_runtime| {
        let call = CallConfiguration { grid, block, dynamic_lds_bytes, stream };
        CALLS.with_borrow_mut(|calls| calls.push(call));
        Ok(())
    }

    fn __hipPopCallConfiguration(
        grid: *mut Dim3,
        block: *mut Dim3,
        dynamic_lds_bytes: *mut usize,
        stream: *mut hipStream_t,
    ) |_runtime| {
        let call = CALLS.with_borrow_mut(Vec::pop);
        let call = call.ok_or(hipError_t::hipErrorMissingConfiguration)?;
        // SAFETY: the compiler passes places for the four.
        unsafe {
            put(grid, call.grid)?;
            put(block, call.block)?;
            put(dynamic_lds_bytes, call.dynamic_lds_bytes)?;
            put(stream, call.stream)
        }
    }

    fn hipLaunchKernel(
        host_function: *const c_void,
        grid: Dim3,
        block: Dim3,
        pointers: *mut *mut c_void,
        dynamic_lds_bytes: usize,
        stream: hipStream_t,
    ) |runtime| {
        let handle = runtime.new_handle();
        let host = host_function as usize;
        let function = runtime.modules.program_kernel(&runtime.device, host, handle)?;
        let shape = Shape { grid: grid.array(), block: block.array(), dynamic_lds_bytes };
        // SAFETY: HIP's rules for the caller.
        unsafe { launch(runtime, function, shape, stream, Parameters::Pointers(pointers)) }
    }

    fn hipFuncGetAttributes(place: *mut FuncAttributes, host_function: *const c_void) |runtime| {
        let handle = runtime.new_handle();
        let host = host_function as usize;
        let function = runtime.modules.program_kernel(&runtime.device, host, handle)?;
        let get = |which| attribute(function.kernel(), which);
        type A = hipFunction_attribute;
        let attributes = FuncAttributes {
            binary_version: get(A::HIP_FUNC_ATTRIBUTE_BINARY_VERSION)?,
            cache_mode_ca: get(A::HIP_FUNC_ATTRIBUTE_CACHE_MODE_CA)?,
            const_size_bytes: get(A::HIP_FUNC_ATTRIBUTE_CONST_SIZE_BYTES)? as usize,
            local_size_bytes: get(A::HIP_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES)? as usize,
            max_dynamic_shared_size_bytes: get(
                A::HIP_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
            )?,
            max_threads_per_block: get(A::HIP_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK)?,
            num_regs: get(A::HIP_FUNC_ATTRIBUTE_NUM_REGS)?,
            preferred_shmem_carveout: get(
                A::HIP_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT,
            )?,
            ptx_version: get(A::HIP_FUNC_ATTRIBUTE_PTX_VERSION)?,
            shared_size_bytes: get(A::HIP_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES)? as usize,
        };
        // SAFETY: HIP's rules for the caller.
        unsafe { put(place, attributes) }
    }

    fn hipGetSymbolAddress(place: *mut *mut c_void, symbol: *const c_void) |runtime| {
        let (address, _) = variable(runtime, symbol)?;
        // SAFETY: HIP's rules for the caller.
        unsafe { put(place, address as *mut c_void) }
    }

    fn hipGetSymbolSize(place: *mut usize, symbol: *const c_void) |runtime| {
        let (_, num_bytes) = variable(runtime, symbol)?;
        // SAFETY: HIP's rules for the caller.
        unsafe { put(place, num_bytes as usize) }
    }

    fn hipMemcpyToSymbol(
        symbol: *const c_void,
        from: *const c_void,
        num_bytes: usize,
        offset: usize,
        kind: hipMemcpyKind,
    ) |runtime| {
        if kind == D2H {
            return Err(hipError_t::hipErrorInvalidMemcpyDirection.into());
        }
        let to = variable_part(runtime, symbol, num_bytes, offset)?;
        copy(runtime, to, from, num_bytes, kind, None)
    }

    fn hipMemcpyFromSymbol(
        to: *mut c_void,
        symbol: *const c_void,
        num_bytes: usize,
        offset: usize,
        kind: hipMemcpyKind,
    ) |runtime| {
        if kind == H2D {
            return Err(hipError_t::hipErrorInvalidMemcpyDirection.into());
        }
        let from = variable_part(runtime, symbol, num_bytes, offset)?;
        copy(runtime, to, from, num_bytes, kind, None)
    }
}
