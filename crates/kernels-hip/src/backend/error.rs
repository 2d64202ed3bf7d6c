//! This crate's errors in the engine's words.

use engine_core::device::OpError;

use crate::result::Error;

/// What HIP calls it.
const OUT_OF_MEMORY: &str = "hipErrorOutOfMemory";

/// `op` failed with `error`.
pub(super) fn op_error(op: &'static str, error: Error) -> OpError {
    match error {
        Error::Length { what, expected, found } => OpError::Shape { op, what, found, expected },
        Error::Value { .. } | Error::NotServed { .. } | Error::Pin { .. } => {
            OpError::Unsupported { op, what: format!("this: {error}") }
        }
        error => OpError::Failed { op, what: error.to_string() },
    }
}

/// An allocation of `num_bytes` for `what` failed with `error`.
pub(super) fn alloc_error(what: &'static str, num_bytes: usize, error: Error) -> OpError {
    match error {
        Error::Hip(error) if error.name == OUT_OF_MEMORY => {
            OpError::OutOfMemory { what, requested_bytes: num_bytes as u64 }
        }
        // More than there are addresses.
        Error::Value { .. } => OpError::OutOfMemory { what, requested_bytes: u64::MAX },
        error => op_error("alloc", error),
    }
}
