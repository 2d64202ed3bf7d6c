//! Work in order.

use std::ptr;

use hip_sys::bindings::{hipError_t, hipStream_t, hipStreamNonBlocking};

use crate::device::Device;
use crate::event::Event;
use crate::result::{Result, call};

/// A queue of a device: what is given to it runs in order.
pub struct Stream {
    device: Device,
    handle: hipStream_t,
}

// SAFETY: HIP's functions may be called from any thread and at the same time, and a stream's handle is not tied to the
// thread that made it; it is destroyed once, by the only owner.
unsafe impl Send for Stream {}
// SAFETY: as above.
unsafe impl Sync for Stream {}

impl Stream {
    pub(crate) fn new(device: &Device) -> Result<Self> {
        device.make_current()?;
        let mut handle = ptr::null_mut();
        // SAFETY: the pointer is to a handle that outlives the call.
        unsafe {
            call!(device.runtime(), hipStreamCreateWithFlags(&mut handle, hipStreamNonBlocking))
        }?;
        Ok(Stream { device: device.clone(), handle })
    }

    /// Its device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Waits until it has done all that it was given.
    ///
    /// # Errors
    ///
    /// HIP's, those of the work included.
    pub fn synchronize(&self) -> Result<()> {
        // SAFETY: the handle is live: only Drop destroys it.
        Ok(unsafe { call!(self.device.runtime(), hipStreamSynchronize(self.handle)) }?)
    }

    /// Whether it has done all that it was given.
    ///
    /// # Errors
    ///
    /// HIP's, those of the work included.
    pub fn is_idle(&self) -> Result<bool> {
        // SAFETY: the handle is live: only Drop destroys it.
        match unsafe { call!(self.device.runtime(), hipStreamQuery(self.handle)) } {
            Ok(()) => Ok(true),
            Err(error) if error.code == hipError_t::hipErrorNotReady.0 => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// What is given to it from now on waits for `event`.
    ///
    /// # Errors
    ///
    /// HIP's.
    pub fn wait_for(&self, event: &Event) -> Result<()> {
        // SAFETY: both handles are live: only Drop destroys them.
        Ok(unsafe {
            call!(self.device.runtime(), hipStreamWaitEvent(self.handle, event.handle(), 0))
        }?)
    }

    pub(crate) fn handle(&self) -> hipStream_t {
        self.handle
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: the handle is live, and nothing uses it after this. Its work goes on; an error has nobody to be told to.
        let _ = unsafe { call!(self.device.runtime(), hipStreamDestroy(self.handle)) };
    }
}
