//! The device: its memory, and launches on it.

use code_object::{CodeObject, Dispatch, KernargError, Kernel};
use thiserror::Error;

use super::deal::run_all;
use super::fault::Fault;
use super::initial::{Addresses, SERVICE_BYTES, service_block};
use super::module::{LoadError, Module};
use super::work_group::Shared;
use crate::WAVE_SIZE;
use crate::exec::memory::{
    Arena, ArenaConfig, ArenaError, LDS_BYTES, MemoryKind, PRIVATE_BASE, SHARED_BASE,
};
use crate::exec::{Observer, Options};

/// Most scratch of a lane, bytes: the hardware's field counts a wave's in 8191 pieces of 1 KiB.
const MAX_SCRATCH_BYTES: u32 = 8191 * 1024 / WAVE_SIZE as u32;

/// Most work-items of a work-group.
const MAX_WORK_ITEMS: u32 = 1024;

/// An emulated MI300X.
pub struct Emulator {
    arena: Arena,
}

/// A launch of a kernel.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// Work-groups.
    pub grid: [u32; 3],
    /// Work-items of each.
    pub block: [u32; 3],
    /// LDS on top of the kernel's own, bytes.
    pub dynamic_lds_bytes: u32,
    /// The kernarg segment: see [`Kernel::kernarg`](code_object::Kernel::kernarg) and [`Launch::dispatch`].
    pub kernarg: &'a [u8],
}

/// In which order waves and work-groups run.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Order {
    /// Work-groups by index; a work-group's waves one after the other, each until it waits for the others.
    #[default]
    InOrder,
    /// Work-groups shuffled, a work-group's waves interleaved; a fixed function of the seed.
    Seeded(u64),
}

/// How launches run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// How instructions behave where there is a choice.
    pub options: Options,
    /// In which order waves and work-groups run.
    pub order: Order,
    /// Threads to spread work-groups over. A kernel in which the order of work-groups can show runs on one.
    pub num_threads: usize,
    /// Most instructions of a wave.
    pub step_limit: u64,
    /// The dword that registers, LDS and scratch hold before they are written.
    pub poison: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            options: Options::default(),
            order: Order::default(),
            num_threads: std::thread::available_parallelism().map_or(1, usize::from),
            step_limit: 1 << 32,
            poison: ArenaConfig::default().poison,
        }
    }
}

/// Why a launch did not start, or did not end well.
#[derive(Clone, PartialEq, Eq, Error, Debug)]
#[non_exhaustive]
pub enum LaunchError {
    /// There is no such kernel.
    #[error("there is no kernel {name}; there are: {kernels}")]
    NoKernel {
        /// What was asked for.
        name: String,
        /// What there is.
        kernels: String,
    },
    /// A grid or block that the device does not take.
    #[error("{kernel}: {reason}")]
    Shape {
        /// The kernel.
        kernel: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The arguments do not fit the kernel.
    #[error(transparent)]
    Kernarg(#[from] KernargError),
    /// There is no room for the arguments.
    #[error("no device memory for the launch: {0}")]
    Memory(#[from] ArenaError),
    /// The kernel was stopped.
    #[error(transparent)]
    Fault(Box<Fault>),
}

impl Launch<'_> {
    /// Work-items of the grid.
    pub fn grid_work_items(&self) -> [u32; 3] {
        std::array::from_fn(|axis| self.grid[axis].saturating_mul(self.block[axis]))
    }

    /// Waves of a work-group.
    pub fn num_waves(&self) -> u32 {
        let work_items = self.block.into_iter().fold(1, u32::saturating_mul);
        work_items.div_ceil(WAVE_SIZE as u32)
    }

    /// What hidden arguments are made of.
    pub fn dispatch(&self) -> Dispatch {
        Dispatch {
            grid: self.grid_work_items(),
            workgroup: self.block,
            dynamic_lds_bytes: self.dynamic_lds_bytes,
            shared_base: SHARED_BASE,
            private_base: PRIVATE_BASE,
            queue_ptr: 0,
        }
    }

    /// What of the launch the device would refuse.
    fn problem(&self, kernel: &Kernel) -> Option<String> {
        let work_items = self.block.iter().map(|&n| u64::from(n)).product::<u64>();
        let metadata = kernel.metadata.as_ref();
        let most =
            metadata.map_or(MAX_WORK_ITEMS, |m| m.max_flat_workgroup_size.min(MAX_WORK_ITEMS));
        let lds = u64::from(kernel.descriptor.group_segment_fixed_size)
            + u64::from(self.dynamic_lds_bytes);
        let too_many = |axis: usize| self.grid[axis].checked_mul(self.block[axis]).is_none();
        if self.grid.contains(&0) || self.block.contains(&0) {
            Some(format!("grid {:?} of blocks {:?} is empty", self.grid, self.block))
        } else if work_items > u64::from(most) {
            Some(format!("a block of {work_items} work-items: the kernel takes at most {most}"))
        } else if let Some(axis) = (0..3).find(|&axis| too_many(axis)) {
            Some(format!("more than 4294967295 work-items along axis {axis}"))
        } else if self.grid.iter().try_fold(1u64, |n, &m| n.checked_mul(m.into())).is_none() {
            Some("more work-groups than 64 bits count".into())
        } else if kernel.descriptor.private_segment_fixed_size > MAX_SCRATCH_BYTES {
            let scratch = kernel.descriptor.private_segment_fixed_size;
            Some(format!("{scratch} bytes of scratch: a lane has at most {MAX_SCRATCH_BYTES}"))
        } else if lds > LDS_BYTES as u64 {
            Some(format!("{lds} bytes of LDS: a work-group has at most {LDS_BYTES}"))
        } else {
            None
        }
    }
}

impl Emulator {
    /// A device with memory as `config` says.
    ///
    /// # Errors
    /// If the system does not give the address space.
    pub fn new(config: ArenaConfig) -> Result<Self, ArenaError> {
        Ok(Self { arena: Arena::new(config)? })
    }

    /// Device memory.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Puts a code object into device memory.
    ///
    /// # Errors
    /// If there is no room.
    pub fn load(&self, object: CodeObject) -> Result<Module, LoadError> {
        Module::load(&self.arena, object)
    }

    /// Frees the memory of a code object.
    ///
    /// # Errors
    /// If it was loaded on another device.
    pub fn unload(&self, module: Module) -> Result<(), ArenaError> {
        self.arena.free(module.allocation())
    }

    /// Runs the kernel `name` of `module` to its end.
    ///
    /// # Errors
    /// If the launch is not one that the device takes, or if a wave cannot go on.
    pub fn launch<O: Observer>(
        &self,
        module: &Module,
        name: &str,
        launch: &Launch<'_>,
        settings: &Settings,
        observer: &mut O,
    ) -> Result<(), LaunchError> {
        let kernel = module.object().kernel(name).ok_or_else(|| {
            let names = module.object().kernels.iter().map(|kernel| kernel.name.as_str());
            let kernels = names.collect::<Vec<_>>().join(", ");
            LaunchError::NoKernel { name: name.into(), kernels }
        })?;
        if let Some(reason) = launch.problem(kernel) {
            return Err(LaunchError::Shape { kernel: name.into(), reason });
        }
        let service = Block::new(&self.arena, SERVICE_BYTES)?;
        // The segment lies on 16 bytes, so compilers read it in scalar loads of up to 16, also where its last ones are not
        // an argument's.
        let kernarg_bytes = launch.kernarg.len().max(1).next_multiple_of(16);
        let kernarg = Block::new(&self.arena, kernarg_bytes)?;
        let kernel_object = module.load_address() + kernel.descriptor_address;
        let addresses =
            Addresses { kernarg: kernarg.address, service: service.address, kernel_object };
        let block = service_block(launch, &kernel.descriptor, &addresses);
        self.arena.write(service.address, &block)?;
        self.arena.write(kernarg.address, launch.kernarg)?;
        let shared = Shared { arena: &self.arena, module, kernel, launch, settings, addresses };
        run_all(&shared, observer).map_err(LaunchError::Fault)
    }
}

/// Device memory for as long as a launch takes.
struct Block<'a> {
    arena: &'a Arena,
    address: u64,
}

impl<'a> Block<'a> {
    fn new(arena: &'a Arena, num_bytes: usize) -> Result<Self, ArenaError> {
        let address = arena.allocate(num_bytes as u64, MemoryKind::Device)?;
        Ok(Self { arena, address })
    }
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        // Nobody else knows the address.
        let _ = self.arena.free(self.address);
    }
}
