//! Loaded code objects and their kernels.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::Arc;

use code_object::{CodeObject, Kernel, Symbol, Target};
use gfx942_emulator::launch::Module;
use hip_sys::bindings::hipError_t;

use crate::device::Device;
use crate::error::{Failure, Result};

/// A kernel of a loaded code object.
#[derive(Clone)]
pub struct Function {
    /// The code object.
    pub module: Arc<Module>,
    index: usize,
}

impl Function {
    /// The kernel.
    pub fn kernel(&self) -> &Kernel {
        &self.module.object().kernels[self.index]
    }
}

/// A program's own bundle, with the names that its host code uses for what is in it.
struct Program {
    bundle: usize,
    module: Option<usize>,
    kernels: BTreeMap<usize, String>,
    variables: BTreeMap<usize, String>,
}

/// Modules, functions and programs by handle.
#[derive(Default)]
pub struct Modules {
    loaded: BTreeMap<usize, Arc<Module>>,
    functions: BTreeMap<usize, Function>,
    programs: BTreeMap<usize, Program>,
}

/// The code object for this device in `bytes`.
pub fn parse(bytes: &[u8]) -> Result<CodeObject> {
    let objects = code_object::extract(bytes, Target::MI300X).map_err(refused)?;
    let [object] = &objects[..] else {
        let text = format!("{} code objects where a module has one", objects.len());
        return Err(Failure::new(hipError_t::hipErrorInvalidImage, text));
    };
    let object = CodeObject::parse(object).map_err(refused)?;
    if !object.target.runs_on(Target::MI300X) {
        let text = format!("code for {} does not run on {}", object.target, Target::MI300X);
        return Err(Failure::new(hipError_t::hipErrorNoBinaryForGpu, text));
    }
    if object.has_printf {
        let text = "printf on the device is not supported here";
        return Err(Failure::new(hipError_t::hipErrorNotSupported, text));
    }
    Ok(object)
}

fn refused(error: code_object::Error) -> Failure {
    let code = match error {
        code_object::Error::Target { .. } | code_object::Error::NoEntry { .. } => {
            hipError_t::hipErrorNoBinaryForGpu
        }
        _ => hipError_t::hipErrorInvalidImage,
    };
    Failure::new(code, error)
}

/// The bytes of a code object or bundle that begins at `place` and says itself how long it is.
///
/// # Safety
/// `place` is not null and points to a whole code object or bundle, as `hipModuleLoadData` asks for.
pub unsafe fn image_at<'a>(place: *const c_void) -> Result<&'a [u8]> {
    let bytes = place.cast::<u8>();
    let read = |at: u64, num_bytes: u64| {
        // SAFETY: headers and tables are read in the order in which they say where the next are; the caller's promise
        // is that they are there.
        let part =
            unsafe { std::slice::from_raw_parts(bytes.add(at as usize), num_bytes as usize) };
        Some(part.to_vec())
    };
    let num_bytes = code_object::container_bytes(read).map_err(refused)?;
    // SAFETY: as above, for the whole.
    Ok(unsafe { std::slice::from_raw_parts(bytes, num_bytes as usize) })
}

impl Modules {
    /// Loads a code object under `handle`.
    pub fn load(&mut self, device: &Device, handle: usize, bytes: &[u8]) -> Result {
        let module = device.load(parse(bytes)?)?;
        self.loaded.insert(handle, Arc::new(module));
        Ok(())
    }

    /// Unloads a module and forgets its functions. Nothing of it may be queued.
    pub fn unload(&mut self, device: &Device, handle: usize) -> Result {
        let module = self.loaded.remove(&handle).ok_or(hipError_t::hipErrorInvalidHandle)?;
        self.functions.retain(|_, function| !Arc::ptr_eq(&function.module, &module));
        // Queued launches would hold it too.
        let module = Arc::into_inner(module).ok_or(hipError_t::hipErrorNotReady)?;
        device.unload(module)
    }

    fn module(&self, handle: usize) -> Result<&Arc<Module>> {
        self.loaded.get(&handle).ok_or_else(|| hipError_t::hipErrorInvalidHandle.into())
    }

    /// The kernel `name` of a module, from now on also under `function_handle`.
    pub fn add_function(&mut self, handle: usize, name: &str, function_handle: usize) -> Result {
        let function = self.find_kernel(handle, name)?;
        self.functions.insert(function_handle, function);
        Ok(())
    }

    fn find_kernel(&self, handle: usize, name: &str) -> Result<Function> {
        let module = self.module(handle)?;
        let kernels = &module.object().kernels;
        let index = kernels.iter().position(|kernel| kernel.name == name).ok_or_else(|| {
            let known: Vec<&str> = kernels.iter().map(|kernel| kernel.name.as_str()).collect();
            let text = format!("no kernel {name} among [{}]", known.join(", "));
            Failure::new(hipError_t::hipErrorNotFound, text)
        })?;
        Ok(Function { module: module.clone(), index })
    }

    /// The function of a handle.
    pub fn function(&self, handle: usize) -> Result<Function> {
        let function = self.functions.get(&handle);
        function.cloned().ok_or_else(|| hipError_t::hipErrorInvalidHandle.into())
    }

    /// Address and size of the variable `name` of a module.
    pub fn variable(&self, handle: usize, name: &str) -> Result<(u64, u64)> {
        let module = self.module(handle)?;
        let Some(Symbol { address, num_bytes, .. }) = module.object().variable(name) else {
            let text = format!("no variable {name}");
            return Err(Failure::new(hipError_t::hipErrorNotFound, text));
        };
        Ok((module.load_address() + address, num_bytes))
    }

    /// A program's bundle. It is loaded when something of it is used.
    pub fn add_program(&mut self, handle: usize, bundle: usize) {
        let (kernels, variables) = (BTreeMap::new(), BTreeMap::new());
        self.programs.insert(handle, Program { bundle, module: None, kernels, variables });
    }

    /// A kernel of a program: `host` is the address of the function that stands for it.
    pub fn add_program_kernel(&mut self, handle: usize, host: usize, name: &str) {
        if let Some(program) = self.programs.get_mut(&handle) {
            program.kernels.insert(host, name.to_owned());
        }
    }

    /// A variable of a program: `host` is the address of the variable that stands for it.
    pub fn add_program_variable(&mut self, handle: usize, host: usize, name: &str) {
        if let Some(program) = self.programs.get_mut(&handle) {
            program.variables.insert(host, name.to_owned());
        }
    }

    /// Forgets what was loaded, into a device that is no more. Programs register once, before they start: theirs is
    /// loaded again when it is used.
    pub fn reset(&mut self) {
        self.loaded.clear();
        self.functions.clear();
        self.programs.values_mut().for_each(|program| program.module = None);
    }

    /// Forgets a program.
    pub fn remove_program(&mut self, device: &Device, handle: usize) -> Result {
        match self.programs.remove(&handle).and_then(|program| program.module) {
            Some(module) => self.unload(device, module),
            None => Ok(()),
        }
    }

    /// The kernel that the host function at `host` stands for. `module_handle` is one that is free.
    pub fn program_kernel(
        &mut self,
        device: &Device,
        host: usize,
        module_handle: usize,
    ) -> Result<Function> {
        let of_program = |program: &Program| program.kernels.get(&host).cloned();
        let (module, name) =
            self.program_item(device, of_program, module_handle)?.ok_or_else(|| {
                let text = format!("{host:#x} is no function that stands for a kernel");
                Failure::new(hipError_t::hipErrorInvalidDeviceFunction, text)
            })?;
        self.find_kernel(module, &name)
    }

    /// Address and size of the variable that the one at `host` stands for.
    pub fn program_variable(
        &mut self,
        device: &Device,
        host: usize,
        module_handle: usize,
    ) -> Result<(u64, u64)> {
        let of_program = |program: &Program| program.variables.get(&host).cloned();
        let found = self.program_item(device, of_program, module_handle)?;
        let (module, name) = found.ok_or(hipError_t::hipErrorInvalidSymbol)?;
        self.variable(module, &name)
    }

    /// Finds something by its host address and loads its program's bundle where that has not happened.
    fn program_item(
        &mut self,
        device: &Device,
        item: impl Fn(&Program) -> Option<String>,
        module_handle: usize,
    ) -> Result<Option<(usize, String)>> {
        let mut programs = self.programs.iter();
        let found = programs.find_map(|(handle, program)| Some((*handle, program, item(program)?)));
        let Some((handle, program, name)) = found else {
            return Ok(None);
        };
        if let Some(module) = program.module {
            return Ok(Some((module, name)));
        }
        // SAFETY: __hipRegisterFatBinary got the address from the program's start-up code, which the compiler wrote.
        let bytes = unsafe { image_at(program.bundle as *const c_void) }?;
        self.load(device, module_handle, bytes)?;
        if let Some(program) = self.programs.get_mut(&handle) {
            program.module = Some(module_handle);
        }
        Ok(Some((module_handle, name)))
    }
}
