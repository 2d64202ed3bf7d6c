//! What only the emulator can say of a launch.

use std::ffi::{CStr, c_char};

use hip_sys::Emulator as Functions;

use crate::runtime::Runtime;

/// The emulator behind a [`Runtime`], and its counters and sanitizers, which are those of the whole process.
#[derive(Clone)]
pub struct Emulator {
    functions: Functions,
    /// Keeps the library in use.
    _runtime: Runtime,
}

impl Runtime {
    /// The emulator, if this is one and no hardware.
    #[must_use]
    pub fn emulator(&self) -> Option<Emulator> {
        let functions = self.library().emulator()?;
        Some(Emulator { functions, _runtime: self.clone() })
    }
}

impl Emulator {
    /// Whether launches that run from now on are counted.
    pub fn count(&self, counts: bool) {
        // SAFETY: the function takes any integer.
        unsafe { (self.functions.set_counters)(i32::from(counts)) }
    }

    /// What launches were counted to do since the last call, in the order in which they ran: a JSON array of
    /// `gfx942_emulator::count::Report`.
    #[must_use]
    pub fn take_reports(&self) -> String {
        // SAFETY: the function has no precondition.
        text(unsafe { (self.functions.take_reports)() })
    }

    /// Whether launches that run from now on are sanitized: what is found is told on stderr and by
    /// [`Emulator::take_findings`].
    pub fn sanitize(&self, sanitizes: bool) {
        // SAFETY: the function takes any integer.
        unsafe { (self.functions.set_sanitize)(i32::from(sanitizes)) }
    }

    /// What sanitizers found since the last call: a JSON array.
    #[must_use]
    pub fn take_findings(&self) -> String {
        // SAFETY: the function has no precondition.
        text(unsafe { (self.functions.take_findings)() })
    }
}

fn text(from: *const c_char) -> String {
    if from.is_null() {
        return String::new();
    }
    // SAFETY: the emulator gives a string that ends with NUL and that nobody changes until this thread calls it again.
    unsafe { CStr::from_ptr(from) }.to_string_lossy().into_owned()
}
