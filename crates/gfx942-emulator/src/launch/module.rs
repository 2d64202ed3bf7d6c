//! Code objects in device memory.

use std::collections::HashMap;

use code_object::{CodeObject, Kernel};
use thiserror::Error;

use super::order::depends_on_order;
use crate::exec::memory::{Arena, ArenaError, MemoryKind};
use crate::exec::{Program, Slot};
use crate::isa;

/// Why a code object could not be loaded.
#[derive(Clone, PartialEq, Eq, Error, Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// There is no room in device memory.
    #[error("the code object does not fit into device memory: {0}")]
    Memory(#[from] ArenaError),
}

/// A code object in device memory. [`Emulator::unload`](super::Emulator::unload) frees it.
pub struct Module {
    object: CodeObject,
    allocation: u64,
    load_address: u64,
    code: Vec<Program>,
    /// Kernels whose results may depend on the order of their work-groups.
    order_dependent: HashMap<String, bool>,
}

impl Module {
    pub(super) fn load(arena: &Arena, object: CodeObject) -> Result<Self, LoadError> {
        let alignment = object.alignment.max(1);
        let num_bytes = object.image_bytes().max(1).saturating_add(alignment);
        let allocation = arena.allocate(num_bytes, MemoryKind::Device)?;
        let load_address = allocation.next_multiple_of(alignment);
        let image = object.image(load_address);
        arena.write(load_address, &image)?;
        let executable = object.segments.iter().filter(|segment| segment.is_executable);
        let code: Vec<_> = executable
            .map(|segment| {
                let start = segment.address as usize;
                let bytes = &image[start..start + segment.bytes.len()];
                Program::decode(load_address + segment.address, bytes, |word| {
                    isa::decode(word).ok()
                })
            })
            .collect();
        let mut module =
            Self { object, allocation, load_address, code, order_dependent: HashMap::new() };
        module.order_dependent = module
            .object
            .kernels
            .iter()
            .map(|kernel| (kernel.name.clone(), depends_on_order(&module, kernel)))
            .collect();
        Ok(module)
    }

    /// What was loaded.
    pub fn object(&self) -> &CodeObject {
        &self.object
    }

    /// Where it lies in device memory: what addresses in the code object are relative to.
    pub fn load_address(&self) -> u64 {
        self.load_address
    }

    pub(super) fn allocation(&self) -> u64 {
        self.allocation
    }

    /// The device address of the first instruction of `kernel`.
    pub(super) fn entry(&self, kernel: &Kernel) -> u64 {
        self.load_address + kernel.entry()
    }

    /// The instruction at a device address.
    #[inline(always)]
    pub(super) fn at(&self, pc: u64) -> Option<&Slot> {
        // There is one program in all but hand-made code objects.
        self.code.iter().find_map(|program| program.at(pc))
    }

    /// All instructions, also those that start in the middle of another.
    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.code.iter().flat_map(Program::slots)
    }

    pub(super) fn is_order_dependent(&self, kernel: &str) -> bool {
        self.order_dependent.get(kernel).copied().unwrap_or(true)
    }
}
