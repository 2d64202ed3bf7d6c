//! The kernels as a backend of the engine: [`engine_core::device::Device`] and [`engine_core::ops::Ops`].
//!
//! One stream, and no wait inside a step: an op checks its arguments on the host, gives its kernel to the stream, and
//! returns. The host waits when it uploads a batch, whose copy must have been read before the next one takes its place, and when
//! it reads results.

mod batch;
mod device;
mod error;
mod kernels;
mod kv_cache;
mod kv_run;
mod memory;
mod ops;

use std::sync::Arc;

use engine_core::dtype::DType;

use crate::buffer::Buffer;
use crate::device::Device;
use crate::result::{Error, Result};
use crate::stream::Stream;
use crate::variant::Choices;

use kernels::Kernels;

pub use batch::DeviceBatch;
pub use kv_cache::KvCache;
pub use memory::{Matrix, Memory};

/// A GPU as the engine sees it.
pub struct KernelsHip {
    device: Device,
    stream: Stream,
    compute_dtype: DType,
    choices: Arc<Choices>,
    kernels: Kernels,
    /// Queries in 16 bits, for the longest step so far.
    queries: Buffer<u16>,
}

impl KernelsHip {
    /// A backend on `device` whose weights and matrix inputs have the format `compute_dtype`.
    ///
    /// # Errors
    ///
    /// [`Error::ComputeDType`] unless that has 16 bits; if the build has no kernels for this device; HIP's.
    pub fn new(device: &Device, compute_dtype: DType, choices: Choices) -> Result<Self> {
        if compute_dtype.size_bytes() != 2 {
            return Err(Error::ComputeDType { found: compute_dtype });
        }
        let choices = Arc::new(choices);
        Ok(KernelsHip {
            device: device.clone(),
            stream: device.stream()?,
            compute_dtype,
            kernels: Kernels::new(device, compute_dtype, &choices)?,
            choices,
            queries: device.buffer(0)?,
        })
    }

    /// The stream that all of its work goes to: for events around it.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.stream
    }
}
