//! The oracle as a backend: slow, plain, and checked at every argument.

mod device;
mod ops;
mod storage;

use std::num::NonZeroUsize;
use std::thread;

use engine_core::dtype::DType;

pub use storage::{Buffer, KvCache, Matrix};

/// Runs the functions of [`crate::ops`] (`--backend reference`).
///
/// Values are held in f32, rounded to the format that they stand for. Fresh memory (up
/// to 1 GiB a piece) is NaN, so that whoever reads what nobody wrote finds out. Rows are independent of their number, their company
/// and the number of threads.
#[derive(Clone, Debug)]
pub struct ReferenceCpu {
    compute_dtype: DType,
    num_threads: NonZeroUsize,
}

impl ReferenceCpu {
    /// A backend with weights and matrix inputs in `compute_dtype`, on all processors.
    pub fn new(compute_dtype: DType) -> Self {
        let num_threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        ReferenceCpu::with_threads(compute_dtype, num_threads)
    }

    /// The same on `num_threads` threads.
    pub fn with_threads(compute_dtype: DType, num_threads: NonZeroUsize) -> Self {
        ReferenceCpu { compute_dtype, num_threads }
    }
}
