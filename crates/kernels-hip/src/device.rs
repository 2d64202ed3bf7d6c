//! A GPU.

use std::ffi::CStr;
use std::sync::Arc;

use bytemuck::Pod;
use hip_sys::bindings::hipDeviceProp_tR0600;

use crate::buffer::Buffer;
use crate::event::Event;
use crate::module::Module;
use crate::registry;
use crate::result::{Result, call};
use crate::runtime::Runtime;
use crate::stream::Stream;

/// A device, and what was asked of it once.
#[derive(Clone)]
pub struct Device {
    runtime: Runtime,
    ordinal: i32,
    info: Arc<DeviceInfo>,
}

/// What a device is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceInfo {
    /// Its name, for people.
    pub name: String,
    /// Its architecture: `gfx942`.
    pub arch: String,
    /// Compute units.
    pub num_compute_units: u32,
    /// Lanes of a wave.
    pub wave_size: u32,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// LDS of a work-group, bytes.
    pub lds_bytes: u32,
    /// Most work-items of a work-group.
    pub max_workgroup_size: u32,
}

/// A device's memory at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryInfo {
    /// Bytes that no one has.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

impl Device {
    pub(crate) fn new(runtime: Runtime, ordinal: u32) -> Result<Self> {
        let ordinal = i32::try_from(ordinal).unwrap_or(i32::MAX);
        let mut properties = hipDeviceProp_tR0600::default();
        // SAFETY: the pointer is to a struct of the type that this function fills, by its name's suffix.
        unsafe { call!(runtime, hipGetDevicePropertiesR0600(&mut properties, ordinal)) }?;
        let info = Arc::new(DeviceInfo::from(&properties));
        Ok(Device { runtime, ordinal, info })
    }

    /// What it is.
    #[must_use]
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Memory in use and in all.
    ///
    /// # Errors
    ///
    /// HIP's.
    pub fn memory(&self) -> Result<MemoryInfo> {
        self.make_current()?;
        let (mut free, mut total) = (0_usize, 0_usize);
        // SAFETY: the pointers are to integers that outlive the call.
        unsafe {
            call!(self.runtime, hipMemGetInfo((&raw mut free).cast(), (&raw mut total).cast()))
        }?;
        Ok(MemoryInfo { free_bytes: free as u64, total_bytes: total as u64 })
    }

    /// A stream of its own, which does not wait for the default one.
    ///
    /// # Errors
    ///
    /// HIP's.
    pub fn stream(&self) -> Result<Stream> {
        Stream::new(self)
    }

    /// An event that can be timed.
    ///
    /// # Errors
    ///
    /// HIP's.
    pub fn event(&self) -> Result<Event> {
        Event::new(self)
    }

    /// Memory for `len` elements, holding anything.
    ///
    /// # Errors
    ///
    /// HIP's, out of memory for one.
    pub fn buffer<T: Pod>(&self, len: usize) -> Result<Buffer<T>> {
        Buffer::new(self, len)
    }

    /// Memory with `values`, which `stream` copies.
    ///
    /// # Errors
    ///
    /// HIP's.
    pub fn buffer_from<T: Pod>(&self, stream: &Stream, values: &[T]) -> Result<Buffer<T>> {
        let mut buffer = self.buffer(values.len())?;
        buffer.copy_from_host(stream, values)?;
        Ok(buffer)
    }

    /// Loads the code object `file`.
    ///
    /// # Errors
    ///
    /// If it is none, or none for this device.
    pub fn module(&self, file: &[u8]) -> Result<Module> {
        Module::new(self, file)
    }

    /// Loads the variant of this name for this device's architecture.
    ///
    /// # Errors
    ///
    /// If the build has none.
    pub fn variant(&self, name: &str) -> Result<Module> {
        self.module(registry::code_object(name, &self.info.arch)?.bytes)
    }

    /// Waits for everything that was given to it.
    ///
    /// # Errors
    ///
    /// HIP's, those of work that had been given to it before included.
    pub fn synchronize(&self) -> Result<()> {
        self.make_current()?;
        // SAFETY: no arguments.
        Ok(unsafe { call!(self.runtime, hipDeviceSynchronize()) }?)
    }

    /// HIP's current device is one per thread, and a handle may have come from another one.
    pub(crate) fn make_current(&self) -> Result<()> {
        // SAFETY: takes a number, which the runtime checks.
        Ok(unsafe { call!(self.runtime, hipSetDevice(self.ordinal)) }?)
    }

    /// The library that it was found by.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }
}

impl From<&hipDeviceProp_tR0600> for DeviceInfo {
    fn from(properties: &hipDeviceProp_tR0600) -> Self {
        let arch = text(&properties.gcnArchName);
        let size = |value: i32| u32::try_from(value).unwrap_or(0);
        DeviceInfo {
            name: text(&properties.name),
            // "gfx942:sramecc+:xnack-": the features after the name are settings of the machine.
            arch: arch.split(':').next().unwrap_or_default().to_owned(),
            num_compute_units: size(properties.multiProcessorCount),
            wave_size: size(properties.warpSize),
            memory_bytes: properties.totalGlobalMem as u64,
            lds_bytes: u32::try_from(properties.sharedMemPerBlock).unwrap_or(0),
            max_workgroup_size: size(properties.maxThreadsPerBlock),
        }
    }
}

/// A fixed field of characters, up to its first NUL.
fn text(field: &[std::ffi::c_char]) -> String {
    let bytes: &[u8] = bytemuck::cast_slice(field);
    let text = CStr::from_bytes_until_nul(bytes).map(CStr::to_bytes).unwrap_or(bytes);
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_architecture_is_the_name_without_its_features() {
        let mut properties = hipDeviceProp_tR0600::default();
        for (to, from) in properties.gcnArchName.iter_mut().zip(b"gfx942:sramecc+:xnack-\0") {
            *to = *from as std::ffi::c_char;
        }
        properties.name.fill(b'x' as std::ffi::c_char);
        let info = DeviceInfo::from(&properties);
        assert_eq!(info.arch, "gfx942");
        // A name that fills its field has no NUL.
        assert_eq!(info.name.len(), properties.name.len());
    }
}
