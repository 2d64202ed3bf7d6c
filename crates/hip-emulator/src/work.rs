//! What streams run.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use hip_sys::bindings::hipError_t;

use crate::device::{Device, Launch};
use crate::error::{Failure, Result};
use crate::watch::Watch;

/// Where bytes are.
pub enum Place {
    /// In an allocation.
    Device(u64),
    /// In the program's own memory, which the caller keeps until the copy has run (HIP's rule for copies).
    Host(usize),
    /// Taken when the copy was submitted.
    Taken(Vec<u8>),
}

/// Something to run.
pub enum Work {
    /// Only an order.
    Nothing,
    /// A copy; what is copied and where to.
    Copy {
        /// Where to.
        to: Place,
        /// Where from.
        from: Place,
        /// How much.
        num_bytes: usize,
    },
    /// A pattern, over and over.
    Fill {
        /// Where to.
        address: u64,
        /// The pattern.
        pattern: Vec<u8>,
        /// How much.
        num_bytes: u64,
    },
    /// A kernel.
    Launch(Box<Launch>),
    /// The time.
    Record(Arc<OnceLock<Instant>>),
    /// The end of an allocation.
    Free(u64),
}

impl Work {
    /// Runs it.
    pub fn run(self, device: &Device, watch: &mut Watch) -> Result {
        match self {
            Self::Nothing => Ok(()),
            Self::Copy { to, from, num_bytes } => copy(device, to, from, num_bytes),
            Self::Fill { address, pattern, num_bytes } => {
                device.arena().fill(address, num_bytes, &pattern).map_err(illegal)
            }
            Self::Launch(launch) => device.launch(&launch, watch),
            Self::Record(time) => {
                // An event that is recorded anew has a new cell.
                let _ = time.set(Instant::now());
                Ok(())
            }
            Self::Free(address) => device.free(address),
        }
    }
}

/// An access from the host that the arena refuses: freed while a copy was under way, for instance.
fn illegal(error: impl std::fmt::Display) -> Failure {
    Failure::new(hipError_t::hipErrorIllegalAddress, error)
}

fn copy(device: &Device, to: Place, from: Place, num_bytes: usize) -> Result {
    let arena = device.arena();
    match (to, from) {
        (Place::Device(to), Place::Device(from)) => {
            arena.copy(to, from, num_bytes as u64).map_err(illegal)
        }
        (Place::Device(to), Place::Taken(bytes)) => arena.write(to, &bytes).map_err(illegal),
        (Place::Device(to), Place::Host(from)) => {
            // SAFETY: the caller of hipMemcpy* promises `num_bytes` readable bytes there until the copy is done.
            let bytes = unsafe { std::slice::from_raw_parts(from as *const u8, num_bytes) };
            arena.write(to, bytes).map_err(illegal)
        }
        (Place::Host(to), Place::Device(from)) => {
            // SAFETY: the caller of hipMemcpy* promises `num_bytes` writable bytes there until the copy is done.
            let bytes = unsafe { std::slice::from_raw_parts_mut(to as *mut u8, num_bytes) };
            arena.read(from, bytes).map_err(illegal)
        }
        (Place::Host(to), Place::Host(from)) => {
            // SAFETY: the caller promises both; they may overlap.
            unsafe { std::ptr::copy(from as *const u8, to as *mut u8, num_bytes) };
            Ok(())
        }
        (Place::Host(to), Place::Taken(bytes)) => {
            // SAFETY: as above; the bytes are as many.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to as *mut u8, bytes.len()) };
            Ok(())
        }
        (Place::Taken(_), _) => {
            Err(Failure::new(hipError_t::hipErrorInvalidValue, "a copy needs a place to go to"))
        }
    }
}
