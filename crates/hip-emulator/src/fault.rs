//! The functions that only the emulator has.

use std::ffi::c_char;

use crate::error::keep_text;
use crate::runtime;

/// What went wrong last, in words: for a faulted kernel its name, the pc, the lane, the address and the instruction.
/// Empty where nothing has. The text stays until this thread asks again.
#[unsafe(no_mangle)]
pub extern "C" fn kvasirEmuLastFault() -> *const c_char {
    keep_text(
        runtime::lock().map_or_else(|_| String::new(), |runtime| runtime.last_text().to_owned()),
    )
}

/// Whether work waits for a synchronisation (1) or runs when it is submitted (0). Work that waits already goes on to
/// wait.
#[unsafe(no_mangle)]
pub extern "C" fn kvasirEmuSetLazy(is_lazy: i32) {
    if let Ok(mut runtime) = runtime::lock() {
        runtime.set_lazy(is_lazy != 0);
    }
}
