//! Devices: there is one.

use std::ffi::{c_char, c_int};

use hip_sys::bindings::{hipDeviceAttribute_t, hipDeviceProp_tR0600, hipError_t};

use super::{INVALID_VALUE, put};
use crate::error::Result;
use crate::properties::{self, NAME};

fn check(device: c_int) -> Result {
    if device == 0 { Ok(()) } else { Err(hipError_t::hipErrorInvalidDevice.into()) }
}

api! {
    fn hipGetDeviceCount(count: *mut c_int) |_runtime| {
        // SAFETY: HIP's rules for the caller.
        unsafe { put(count, 1) }
    }

    fn hipGetDevice(device: *mut c_int) |_runtime| {
        // SAFETY: HIP's rules for the caller.
        unsafe { put(device, 0) }
    }

    fn hipSetDevice(device: c_int) |_runtime| {
        check(device)
    }

    fn hipGetDevicePropertiesR0600(place: *mut hipDeviceProp_tR0600, device: c_int) |runtime| {
        check(device)?;
        let properties = properties::properties(runtime.device.usage().capacity);
        // SAFETY: HIP's rules for the caller.
        unsafe { put(place, properties) }
    }

    fn hipDeviceGetAttribute(
        value: *mut c_int,
        attribute: hipDeviceAttribute_t,
        device: c_int,
    ) |runtime| {
        check(device)?;
        let capacity = runtime.device.usage().capacity;
        let found = properties::attribute(attribute, capacity).ok_or(INVALID_VALUE)?;
        // SAFETY: HIP's rules for the caller.
        unsafe { put(value, found) }
    }

    fn hipDeviceGetName(name: *mut c_char, len: c_int, device: c_int) |_runtime| {
        check(device)?;
        let len = usize::try_from(len).map_err(|_| INVALID_VALUE)?;
        if name.is_null() || len <= NAME.len() {
            return Err(INVALID_VALUE.into());
        }
        // SAFETY: HIP's rules for the caller give `len` bytes, which are enough for the name and its end.
        unsafe {
            std::ptr::copy_nonoverlapping(NAME.as_ptr().cast(), name, NAME.len());
            name.add(NAME.len()).write(0);
        }
        Ok(())
    }

    fn hipDeviceTotalMem(bytes: *mut usize, device: c_int) |runtime| {
        check(device)?;
        // SAFETY: HIP's rules for the caller.
        unsafe { put(bytes, runtime.device.usage().capacity as usize) }
    }

    fn hipDeviceGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int) |_runtime| {
        // Either may be null.
        for (place, value) in [(least, 1), (greatest, -1)] {
            if !place.is_null() {
                // SAFETY: HIP's rules for the caller.
                unsafe { put(place, value) }?;
            }
        }
        Ok(())
    }

    fn hipDeviceSynchronize() |runtime| {
        runtime.synchronize_all()
    }

    fn hipDeviceReset() |runtime| {
        runtime.reset()
    }

    fn hipDeviceCanAccessPeer(can: *mut c_int, device: c_int, peer: c_int) |_runtime| {
        check(device)?;
        check(peer)?;
        // SAFETY: HIP's rules for the caller.
        unsafe { put(can, 0) }
    }
}
