//! A point in a stream.

use std::ptr;
use std::time::Duration;

use hip_sys::bindings::{hipError_t, hipEvent_t, hipEventDefault};

use crate::device::Device;
use crate::result::{Result, call};
use crate::stream::Stream;

/// A mark that a stream reaches; the time between two can be asked for.
pub struct Event {
    device: Device,
    handle: hipEvent_t,
}

// SAFETY: HIP's functions may be called from any thread and at the same time, and an event's handle is not tied to the
// thread that made it; it is destroyed once, by the only owner.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}

impl Event {
    pub(crate) fn new(device: &Device) -> Result<Self> {
        device.make_current()?;
        let mut handle = ptr::null_mut();
        // SAFETY: the pointer is to a handle that outlives the call.
        unsafe { call!(device.runtime(), hipEventCreateWithFlags(&mut handle, hipEventDefault)) }?;
        Ok(Event { device: device.clone(), handle })
    }

    /// Marks the place that `stream` has been given work up to.
    ///
    /// # Errors
    ///
    /// HIP's.
    pub fn record(&mut self, stream: &Stream) -> Result<()> {
        // SAFETY: both handles are live: only Drop destroys them.
        Ok(unsafe { call!(self.device.runtime(), hipEventRecord(self.handle, stream.handle())) }?)
    }

    /// Waits until its place is reached.
    ///
    /// # Errors
    ///
    /// HIP's.
    pub fn synchronize(&self) -> Result<()> {
        // SAFETY: the handle is live: only Drop destroys it.
        Ok(unsafe { call!(self.device.runtime(), hipEventSynchronize(self.handle)) }?)
    }

    /// Whether its place is reached.
    ///
    /// # Errors
    ///
    /// HIP's.
    pub fn is_reached(&self) -> Result<bool> {
        // SAFETY: the handle is live: only Drop destroys it.
        match unsafe { call!(self.device.runtime(), hipEventQuery(self.handle)) } {
            Ok(()) => Ok(true),
            Err(error) if error.code == hipError_t::hipErrorNotReady.0 => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The time from `earlier` to this one; both must have been reached.
    ///
    /// # Errors
    ///
    /// HIP's.
    pub fn since(&self, earlier: &Event) -> Result<Duration> {
        let mut milliseconds = 0.0_f32;
        // SAFETY: both handles are live, and the pointer is to a float that outlives the call.
        unsafe {
            call!(
                self.device.runtime(),
                hipEventElapsedTime(&mut milliseconds, earlier.handle, self.handle)
            )
        }?;
        Ok(Duration::try_from_secs_f32(milliseconds / 1e3).unwrap_or_default())
    }

    pub(crate) fn handle(&self) -> hipEvent_t {
        self.handle
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the handle is live, and nothing uses it after this. An error has nobody to be told to.
        let _ = unsafe { call!(self.device.runtime(), hipEventDestroy(self.handle)) };
    }
}
