//! The functions of libamdhip64, by chapters of its header. HIP's documentation says what they do.
//!
//! All of them may get pointers from anywhere: those that are read or written are checked for null, and beyond that the
//! caller's promise is HIP's: that they point to what the header says.
#![allow(missing_docs, clippy::missing_safety_doc)]

/// Functions of the ABI: the body gets the runtime, and its result becomes the code.
macro_rules! api {
    ($(fn $name:ident($($arg:ident: $type:ty),* $(,)?) |$runtime:ident| $body:block)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> ::hip_sys::bindings::hipError_t {
            $crate::error::entry(stringify!($name), |$runtime| $body)
        }
    )*};
}

pub mod copy;
pub mod device;
pub mod event;
pub mod library;
pub mod memory;
pub mod module;
pub mod program;
pub mod stream;

use std::ffi::{CStr, c_char};

use hip_sys::bindings::hipError_t;

use crate::error::Result;

const INVALID_VALUE: hipError_t = hipError_t::hipErrorInvalidValue;

/// Writes a result where the caller wants it.
///
/// # Safety
/// `place` is null or valid for a write of `T`.
unsafe fn put<T>(place: *mut T, value: T) -> Result {
    if place.is_null() {
        return Err(INVALID_VALUE.into());
    }
    // SAFETY: the caller's promise, and not null.
    unsafe { place.write_unaligned(value) };
    Ok(())
}

/// A C string.
///
/// # Safety
/// `place` is null or points to a string that ends with a zero and outlives `'a`.
unsafe fn string<'a>(place: *const c_char) -> Result<&'a str> {
    if place.is_null() {
        return Err(INVALID_VALUE.into());
    }
    // SAFETY: the caller's promise, and not null.
    let text = unsafe { CStr::from_ptr(place) };
    text.to_str().map_err(|_| INVALID_VALUE.into())
}
