//! The functions that `hip-emulator` has beside HIP's.

use std::ffi::c_char;
use std::path::Path;

/// `kvasirEmu*` of a loaded library.
#[derive(Clone, Copy, Debug)]
pub struct Emulator {
    /// `kvasirEmuSetCounters`: whether launches from now on are counted.
    pub set_counters: unsafe extern "C" fn(i32),
    /// `kvasirEmuTakeReports`: what was counted since the last call, a JSON array.
    pub take_reports: unsafe extern "C" fn() -> *const c_char,
    /// `kvasirEmuSetSanitize`: 0 off, 1 told, 2 a fault.
    pub set_sanitize: unsafe extern "C" fn(i32),
    /// `kvasirEmuTakeFindings`: what was found since the last call, a JSON array.
    pub take_findings: unsafe extern "C" fn() -> *const c_char,
}

impl Emulator {
    /// The functions of the library `name`, which is loaded already; `None` if it has none, and is a real one.
    pub(crate) fn of(name: &Path) -> Option<Self> {
        // SAFETY: the library is loaded and stays loaded, so that no initialiser runs; this handle is one more reference.
        // The functions have these types in every version of `hip-emulator`, whose names they are.
        unsafe {
            let library = libloading::Library::new(name).ok()?;
            let functions = Emulator {
                set_counters: *library.get(b"kvasirEmuSetCounters\0").ok()?,
                take_reports: *library.get(b"kvasirEmuTakeReports\0").ok()?,
                set_sanitize: *library.get(b"kvasirEmuSetSanitize\0").ok()?,
                take_findings: *library.get(b"kvasirEmuTakeFindings\0").ok()?,
            };
            Some(functions)
        }
    }
}
