//! The loaded library.

use std::path::Path;
use std::sync::Arc;

use hip_sys::Library;
use hip_sys::bindings::{Hip, hipError_t};

use crate::device::Device;
use crate::result::{Error, Result, call};

/// libamdhip64. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    library: Arc<Library>,
}

impl Runtime {
    /// Loads the library that `KVASIR_HIP_LIBRARY` names, else ROCm's.
    ///
    /// # Errors
    ///
    /// If there is none that can be used.
    pub fn load() -> Result<Self> {
        Ok(Runtime { library: Arc::new(Library::load()?) })
    }

    /// Loads the library `name`.
    ///
    /// # Errors
    ///
    /// If it cannot be used.
    pub fn open(name: &Path) -> Result<Self> {
        Ok(Runtime { library: Arc::new(Library::open(name)?) })
    }

    /// HIP's version: major, minor.
    #[must_use]
    pub fn version(&self) -> (i32, i32) {
        self.library.version()
    }

    /// How many devices there are.
    ///
    /// # Errors
    ///
    /// [`Error::NoDevice`] rather than zero.
    pub fn num_devices(&self) -> Result<u32> {
        let mut count = 0;
        // SAFETY: the pointer is to an int that outlives the call.
        let counted = unsafe { call!(self, hipGetDeviceCount(&mut count)) };
        match counted {
            Ok(()) => Ok(u32::try_from(count).unwrap_or(0)),
            Err(error) if error.code == hipError_t::hipErrorNoDevice.0 => {
                Err(Error::NoDevice(error))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The device of number `ordinal`.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn device(&self, ordinal: u32) -> Result<Device> {
        let num_devices = self.num_devices()?;
        if ordinal >= num_devices {
            return Err(Error::NoSuchDevice { ordinal, num_devices });
        }
        Device::new(self.clone(), ordinal)
    }

    pub(crate) fn library(&self) -> &Library {
        &self.library
    }

    pub(crate) fn hip(&self) -> &Hip {
        self.library.hip()
    }
}
