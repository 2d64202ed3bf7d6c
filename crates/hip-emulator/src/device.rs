//! The device: one emulated MI300X.

use std::env;
use std::fmt::Display;

use code_object::{CodeObject, Dispatch, KernargSegment};
use gfx942_emulator::exec::Trap;
use gfx942_emulator::exec::memory::{Arena, ArenaConfig, ArenaError, MemoryKind, Usage};
use gfx942_emulator::launch::{self, Cause, Emulator, LaunchError, LoadError, Order, Settings};
use hip_sys::bindings::hipError_t;

use crate::error::{Failure, Result};
use crate::module::Function;

/// The variable that sets the order of waves and work-groups: a seed.
const WAVE_ORDER_VAR: &str = "KVASIR_EMU_WAVE_ORDER";

/// A launch with everything that it needs.
pub struct Launch {
    /// The kernel.
    pub function: Function,
    /// Work-groups.
    pub grid: [u32; 3],
    /// Work-items of a work-group.
    pub block: [u32; 3],
    /// LDS that the launch adds.
    pub dynamic_lds_bytes: u32,
    /// The arguments.
    pub segment: KernargSegment,
}

/// What hidden arguments say of a launch with these sizes.
pub fn dispatch(grid: [u32; 3], block: [u32; 3], dynamic_lds_bytes: u32) -> Dispatch {
    launch::Launch { grid, block, dynamic_lds_bytes, kernarg: &[] }.dispatch()
}

/// One emulated MI300X.
pub struct Device {
    emulator: Emulator,
    settings: Settings,
}

impl Device {
    /// An MI300X with nothing in it.
    pub fn new() -> Result<Self> {
        let emulator = Emulator::new(ArenaConfig::default()).map_err(out_of_memory)?;
        let mut settings = Settings::default();
        if let Some(seed) = env::var_os(WAVE_ORDER_VAR) {
            let seed = seed.to_str().and_then(|seed| seed.parse().ok()).ok_or_else(|| {
                let text = format!("{WAVE_ORDER_VAR} is not a number");
                Failure::new(hipError_t::hipErrorNotInitialized, text)
            })?;
            settings.order = Order::Seeded(seed);
        }
        Ok(Self { emulator, settings })
    }

    /// Its memory.
    pub fn arena(&self) -> &Arena {
        self.emulator.arena()
    }

    /// How much of its memory is in use.
    pub fn usage(&self) -> Usage {
        self.arena().usage()
    }

    /// An allocation.
    pub fn allocate(&self, num_bytes: u64, kind: MemoryKind) -> Result<u64> {
        self.arena().allocate(num_bytes, kind).map_err(out_of_memory)
    }

    /// The end of an allocation.
    pub fn free(&self, address: u64) -> Result {
        let freed = self.arena().free(address);
        freed.map_err(|error| Failure::new(hipError_t::hipErrorInvalidValue, error))
    }

    /// Puts a code object into memory.
    pub fn load(&self, object: CodeObject) -> Result<launch::Module> {
        self.emulator.load(object).map_err(|error| match error {
            LoadError::Memory(error) => out_of_memory(error),
            error => Failure::new(hipError_t::hipErrorInvalidImage, error),
        })
    }

    /// Takes a code object out of memory.
    pub fn unload(&self, module: launch::Module) -> Result {
        let unloaded = self.emulator.unload(module);
        unloaded.map_err(|error: ArenaError| Failure::new(hipError_t::hipErrorInvalidValue, error))
    }

    /// Runs a kernel to its end.
    pub fn launch(&self, launch: &Launch) -> Result {
        let Launch { function, grid, block, dynamic_lds_bytes, segment } = launch;
        let name = &function.kernel().name;
        let size = launch::Launch {
            grid: *grid,
            block: *block,
            dynamic_lds_bytes: *dynamic_lds_bytes,
            kernarg: &segment.bytes,
        };
        let module = &function.module;
        let result = self.emulator.launch(module, name, &size, &self.settings, &mut ());
        result.map_err(|error| failed(&error, segment))
    }
}

fn out_of_memory(error: impl Display) -> Failure {
    Failure::new(hipError_t::hipErrorOutOfMemory, error)
}

/// The code that hardware's runtime would give, and the words that it would not.
fn failed(error: &LaunchError, segment: &KernargSegment) -> Failure {
    let LaunchError::Fault(fault) = error else {
        return Failure::new(hipError_t::hipErrorLaunchFailure, error);
    };
    let Cause::Trap(Trap::Memory { address, .. }) = &fault.cause else {
        return Failure::new(hipError_t::hipErrorLaunchFailure, error);
    };
    let mut text = error.to_string();
    // Near null: perhaps by one of the pointers that nobody serves here.
    if *address < 1 << 16 && !segment.null_pointers.is_empty() {
        let pointers: Vec<String> =
            segment.null_pointers.iter().map(|hidden| format!("{hidden:?}")).collect();
        text += &format!(
            "; printf, malloc and grid synchronisation on the device are not supported, and the \
             kernel asks for {}",
            pointers.join(", ")
        );
    }
    Failure::new(hipError_t::hipErrorIllegalAddress, text)
}
