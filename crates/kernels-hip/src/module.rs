//! A loaded code object and its kernels.

use std::ffi::CString;
use std::ptr;
use std::sync::Arc;

use code_object::CodeObject;
use hip_sys::bindings::{hipFunction_t, hipModule_t};

use crate::device::Device;
use crate::result::{Error, Result, call};

/// A code object on a device. Cheap to clone.
#[derive(Clone)]
pub struct Module {
    loaded: Arc<Loaded>,
}

struct Loaded {
    device: Device,
    handle: hipModule_t,
    code_object: CodeObject,
}

// SAFETY: HIP's functions may be called from any thread and at the same time, and a module's handle is not tied to the
// thread that made it; it is unloaded once, by the last owner.
unsafe impl Send for Loaded {}
// SAFETY: as above.
unsafe impl Sync for Loaded {}

/// A kernel, with what the compiler wrote about it. Keeps its module loaded.
#[derive(Clone)]
pub struct Kernel {
    pub(crate) description: code_object::Kernel,
    function: hipFunction_t,
    module: Module,
}

// SAFETY: the function's handle belongs to the module, which is kept loaded, and is only read.
unsafe impl Send for Kernel {}
// SAFETY: as above.
unsafe impl Sync for Kernel {}

impl Module {
    pub(crate) fn new(device: &Device, file: &[u8]) -> Result<Self> {
        let code_object = CodeObject::parse(file)?;
        device.make_current()?;
        let mut handle = ptr::null_mut();
        // SAFETY: the image is a whole code object: its parser found every segment inside `file`.
        unsafe { call!(device.runtime(), hipModuleLoadData(&mut handle, file.as_ptr().cast())) }?;
        Ok(Module { loaded: Arc::new(Loaded { device: device.clone(), handle, code_object }) })
    }

    /// The kernel `name`.
    ///
    /// # Errors
    ///
    /// If there is none; the error lists what there is.
    pub fn kernel(&self, name: &str) -> Result<Kernel> {
        let Loaded { device, handle, code_object } = &*self.loaded;
        let description = code_object.kernel(name).cloned().ok_or_else(|| Error::NoKernel {
            kernel: name.to_owned(),
            kernels: self.kernel_names().map(str::to_owned).collect(),
        })?;
        // A name that the code object has holds no NUL.
        let c_name = CString::new(name).unwrap_or_default();
        let mut function = ptr::null_mut();
        // SAFETY: the module is live, the name ends with NUL, and the pointer is to a handle that outlives the call.
        unsafe {
            call!(device.runtime(), hipModuleGetFunction(&mut function, *handle, c_name.as_ptr()))
        }?;
        Ok(Kernel { description, function, module: self.clone() })
    }

    /// The names of its kernels.
    pub fn kernel_names(&self) -> impl Iterator<Item = &str> {
        self.loaded.code_object.kernels.iter().map(|kernel| kernel.name.as_str())
    }
}

impl Kernel {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.description.name
    }

    pub(crate) fn function(&self) -> hipFunction_t {
        self.function
    }

    pub(crate) fn device(&self) -> &Device {
        &self.module.loaded.device
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // SAFETY: the handle is live, and nothing uses it after this: every kernel holds its module. Work that still runs
        // must be let finish, for its code goes away; errors have nobody to be told to.
        unsafe {
            let _ = self.device.synchronize();
            let _ = call!(self.device.runtime(), hipModuleUnload(self.handle));
        }
    }
}
