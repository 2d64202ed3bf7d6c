//! The library itself: versions and errors.

use std::ffi::{c_char, c_int, c_uint};

use hip_sys::bindings::{HIP_VERSION_MAJOR, HIP_VERSION_MINOR, hipError_t};

use super::{INVALID_VALUE, put};
use crate::error;

/// HIP's version as one number.
const VERSION: c_int = (HIP_VERSION_MAJOR * 10_000_000 + HIP_VERSION_MINOR * 100_000) as c_int;

api! {
    fn hipInit(flags: c_uint) |_runtime| {
        if flags == 0 { Ok(()) } else { Err(INVALID_VALUE.into()) }
    }

    fn hipRuntimeGetVersion(version: *mut c_int) |_runtime| {
        // SAFETY: HIP's rules for the caller.
        unsafe { put(version, VERSION) }
    }

    fn hipDriverGetVersion(version: *mut c_int) |_runtime| {
        // SAFETY: HIP's rules for the caller.
        unsafe { put(version, VERSION) }
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn hipGetErrorName(code: hipError_t) -> *const c_char {
    error::find(code).map_or(c"hipErrorUnknown", |(_, name, _)| name).as_ptr()
}

#[unsafe(no_mangle)]
pub extern "C" fn hipGetErrorString(code: hipError_t) -> *const c_char {
    error::find(code).map_or(c"unknown error", |(_, _, text)| text).as_ptr()
}

#[unsafe(no_mangle)]
pub extern "C" fn hipGetLastError() -> hipError_t {
    error::take_last()
}

#[unsafe(no_mangle)]
pub extern "C" fn hipPeekAtLastError() -> hipError_t {
    error::peek_last()
}
