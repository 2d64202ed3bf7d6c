//! The functions that only the emulator has.

use std::ffi::c_char;

use crate::error::keep_text;
use crate::runtime::{self, Runtime};
use crate::watch::Sanitize;

/// A text of the runtime's; empty where there is no runtime.
fn text(of: impl FnOnce(&mut Runtime) -> String) -> *const c_char {
    keep_text(runtime::lock().map_or_else(|_| String::new(), |mut runtime| of(&mut runtime)))
}

fn set(what: impl FnOnce(&mut Runtime)) {
    // Whoever needs the runtime is told that there is none.
    if let Ok(mut runtime) = runtime::lock() {
        what(&mut runtime);
    }
}

/// What went wrong last, in words: for a faulted kernel its name, the pc, the lane, the address and the instruction.
/// Empty where nothing has.
#[unsafe(no_mangle)]
pub extern "C" fn kvasirEmuLastFault() -> *const c_char {
    text(|runtime| runtime.last_text().to_owned())
}

/// Whether work waits for a synchronisation (1) or runs when it is submitted (0). Work that waits already goes on to
/// wait.
#[unsafe(no_mangle)]
pub extern "C" fn kvasirEmuSetLazy(is_lazy: i32) {
    set(|runtime| runtime.set_lazy(is_lazy != 0));
}

/// Whether launches that run from now on are counted, for [`kvasirEmuTakeReports`].
#[unsafe(no_mangle)]
pub extern "C" fn kvasirEmuSetCounters(counts: i32) {
    set(|runtime| {
        runtime.watch.counts = counts != 0;
        runtime.watch.file = None;
    });
}

/// What launches were counted to do since the last call: a JSON array, in the order in which they ran. Those that
/// faulted are not in it.
#[unsafe(no_mangle)]
pub extern "C" fn kvasirEmuTakeReports() -> *const c_char {
    text(|runtime| runtime.watch.take_reports())
}

/// Whether launches that run from now on are sanitized: not (0), for [`kvasirEmuTakeFindings`] and stderr (1), or so
/// that a finding is a fault (2). Reads of device memory that nobody wrote are found on a device that is sanitized from
/// its start: call `hipDeviceReset` after this function, or set the variable.
#[unsafe(no_mangle)]
pub extern "C" fn kvasirEmuSetSanitize(mode: i32) {
    set(|runtime| {
        runtime.watch.sanitize = match mode {
            0 => Sanitize::Off,
            2 => Sanitize::Fail,
            _ => Sanitize::Tell,
        };
    });
}

/// What was found since the last call: a JSON array.
#[unsafe(no_mangle)]
pub extern "C" fn kvasirEmuTakeFindings() -> *const c_char {
    text(|runtime| runtime.watch.take_findings())
}
