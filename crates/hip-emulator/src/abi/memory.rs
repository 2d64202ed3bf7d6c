//! Allocations.

use std::ffi::{c_int, c_uint, c_void};

use gfx942_emulator::exec::memory::MemoryKind;
use hip_sys::bindings::{hipError_t, hipMemoryType, hipPointerAttribute_t, hipStream_t};

use super::stream::stream_id;
use super::{INVALID_VALUE, put};
use crate::error::{Failure, Result};
use crate::runtime::Runtime;
use crate::work::Work;

fn allocate(
    runtime: &mut Runtime,
    place: *mut *mut c_void,
    num_bytes: usize,
    kind: MemoryKind,
) -> Result {
    runtime.check_fault()?;
    if place.is_null() {
        return Err(INVALID_VALUE.into());
    }
    // No bytes have no address.
    let address = match num_bytes {
        0 => 0,
        _ => runtime.device.allocate(num_bytes as u64, kind)?,
    };
    // SAFETY: HIP's rules for the caller.
    unsafe { put(place, address as *mut c_void) }
}

/// Frees an allocation of `kind` once everything that may use it has run.
fn free(runtime: &mut Runtime, pointer: *mut c_void, kind: MemoryKind) -> Result {
    if pointer.is_null() {
        return Ok(());
    }
    runtime.synchronize_all()?;
    let address = pointer as u64;
    match runtime.device.arena().allocation(address) {
        Some(allocation) if allocation.address == address && allocation.kind == kind => {
            runtime.device.free(address)
        }
        Some(allocation) if allocation.kind != kind => Err(Failure::new(
            INVALID_VALUE,
            format!("{address:#x} was allocated by the other of hipMalloc and hipHostMalloc"),
        )),
        _ => Err(Failure::new(INVALID_VALUE, runtime.device.arena().describe(address))),
    }
}

api! {
    fn hipMalloc(place: *mut *mut c_void, num_bytes: usize) |runtime| {
        allocate(runtime, place, num_bytes, MemoryKind::Device)
    }

    fn hipFree(pointer: *mut c_void) |runtime| {
        free(runtime, pointer, MemoryKind::Device)
    }

    fn hipMallocAsync(place: *mut *mut c_void, num_bytes: usize, stream: hipStream_t) |runtime| {
        stream_id(runtime, stream)?;
        allocate(runtime, place, num_bytes, MemoryKind::Device)
    }

    fn hipFreeAsync(pointer: *mut c_void, stream: hipStream_t) |runtime| {
        let stream = stream_id(runtime, stream)?;
        if pointer.is_null() {
            return Ok(());
        }
        runtime.submit(stream, &[], Work::Free(pointer as u64)).map(drop)
    }

    fn hipHostMalloc(place: *mut *mut c_void, num_bytes: usize, _flags: c_uint) |runtime| {
        allocate(runtime, place, num_bytes, MemoryKind::Host)
    }

    fn hipHostFree(pointer: *mut c_void) |runtime| {
        free(runtime, pointer, MemoryKind::Host)
    }

    fn hipHostRegister(_pointer: *mut c_void, _num_bytes: usize, _flags: c_uint) |_runtime| {
        let text = "memory of the program cannot be registered here: allocate it with hipHostMalloc";
        Err(Failure::new(hipError_t::hipErrorNotSupported, text))
    }

    fn hipHostUnregister(_pointer: *mut c_void) |_runtime| {
        Err(hipError_t::hipErrorHostMemoryNotRegistered.into())
    }

    fn hipHostGetDevicePointer(
        place: *mut *mut c_void,
        pointer: *mut c_void,
        _flags: c_uint,
    ) |runtime| {
        let allocation = runtime.device.arena().allocation(pointer as u64);
        if allocation.is_none_or(|allocation| allocation.kind != MemoryKind::Host) {
            return Err(INVALID_VALUE.into());
        }
        // SAFETY: HIP's rules for the caller.
        unsafe { put(place, pointer) }
    }

    fn hipMemGetInfo(free: *mut usize, total: *mut usize) |runtime| {
        runtime.check_fault()?;
        let usage = runtime.device.usage();
        // SAFETY: HIP's rules for the caller.
        unsafe {
            put(free, (usage.capacity - usage.in_use) as usize)?;
            put(total, usage.capacity as usize)
        }
    }

    fn hipPointerGetAttributes(
        place: *mut hipPointerAttribute_t,
        pointer: *const c_void,
    ) |runtime| {
        let allocation = runtime.device.arena().allocation(pointer as u64).ok_or(INVALID_VALUE)?;
        let is_host = allocation.kind == MemoryKind::Host;
        let pointer = pointer.cast_mut();
        let attributes = hipPointerAttribute_t {
            type_: if is_host {
                hipMemoryType::hipMemoryTypeHost
            } else {
                hipMemoryType::hipMemoryTypeDevice
            },
            device: 0,
            devicePointer: pointer,
            hostPointer: if is_host { pointer } else { std::ptr::null_mut() },
            isManaged: 0,
            allocationFlags: 0,
        };
        // SAFETY: HIP's rules for the caller.
        unsafe { put(place, attributes) }
    }

    fn hipDeviceSetLimit(_limit: c_uint, _value: usize) |_runtime| {
        Err(hipError_t::hipErrorUnsupportedLimit.into())
    }

    fn hipMallocManaged(_place: *mut *mut c_void, _num_bytes: usize, _flags: c_uint) |_runtime| {
        let text = "there is no managed memory here: use hipMalloc or hipHostMalloc";
        Err(Failure::new(hipError_t::hipErrorNotSupported, text))
    }

    fn hipDeviceEnablePeerAccess(_peer: c_int, _flags: c_uint) |_runtime| {
        Err(hipError_t::hipErrorInvalidDevice.into())
    }
}
