//! The device: one emulated MI300X.

use std::fmt::Display;

use code_object::{CodeObject, Dispatch, KernargSegment, WorkGroupShape};
use gfx942_emulator::count::Counters;
use gfx942_emulator::exec::Trap;
use gfx942_emulator::exec::memory::{Arena, ArenaConfig, ArenaError, MemoryKind, Usage};
use gfx942_emulator::launch::{self, Cause, Emulator, LaunchError, LoadError, Settings};
use gfx942_emulator::sanitize::Sanitizer;
use hip_sys::bindings::hipError_t;

use crate::error::{Failure, Result};
use crate::module::Function;
use crate::watch::{Sanitize, Watch};

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
    /// All launches are then sanitized: nobody else tells which bytes kernels write.
    tracks_writes: bool,
}

impl Device {
    /// An MI300X with nothing in it, on which launches run by `settings`.
    pub fn new(settings: Settings, tracks_writes: bool) -> Result<Self> {
        let poison = settings.poison;
        let config = ArenaConfig { poison, tracks_writes, ..ArenaConfig::default() };
        let emulator = Emulator::new(config).map_err(out_of_memory)?;
        Ok(Self { emulator, settings, tracks_writes })
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
    pub fn launch(&self, launch: &Launch, watch: &mut Watch) -> Result {
        let Launch { function, grid, block, dynamic_lds_bytes, segment } = launch;
        let (module, kernel) = (&*function.module, function.kernel());
        let size = launch::Launch {
            grid: *grid,
            block: *block,
            dynamic_lds_bytes: *dynamic_lds_bytes,
            kernarg: &segment.bytes,
        };
        let failed = |error: LaunchError| failed(&error, segment);
        let (emulator, settings, name) = (&self.emulator, &self.settings, &kernel.name);
        let is_sanitized = self.tracks_writes || watch.sanitize != Sanitize::Off;
        if !watch.counts && !is_sanitized {
            return emulator.launch(module, name, &size, settings, &mut ()).map_err(failed);
        }
        let sanitizer = || Sanitizer::new(emulator, module, kernel, &size, settings);
        let mut observer = (watch.counts.then(Counters::default), is_sanitized.then(sanitizer));
        let result = emulator.launch(module, name, &size, settings, &mut observer);
        let (counters, sanitizer) = observer;
        if let Some(counters) = counters.filter(|_| result.is_ok()) {
            let (waves_per_work_group, dynamic_lds_bytes) = (size.num_waves(), *dynamic_lds_bytes);
            let shape = WorkGroupShape { waves_per_work_group, dynamic_lds_bytes };
            watch.add_report(counters.report(kernel, &shape));
        }
        let findings = sanitizer.iter().flat_map(|sanitizer| sanitizer.findings().cloned());
        let found = watch.add_findings(findings);
        // Where both went wrong, the fault is what the hardware would tell.
        result.map_err(failed).and(found)
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
