//! A kernel of a code object.

use crate::{CodeObject, Error, KernelDescriptor, KernelMetadata, SymbolKind};

/// Where code begins, in bytes: the hardware's program counter register holds an address without its low byte.
const CODE_ALIGNMENT: u64 = 256;

/// Code that loads preloaded arguments by itself, for firmware that does not preload, comes before the real entry.
const PRELOAD_PROLOGUE_BYTES: u64 = 256;

/// A kernel of a code object. Addresses are relative to the load address.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The name that it is launched by.
    pub name: String,
    /// Where its descriptor lies.
    pub descriptor_address: u64,
    /// What the hardware is told.
    pub descriptor: KernelDescriptor,
    /// What the launcher is told; hand-written code may come without.
    pub metadata: Option<KernelMetadata>,
    entry: u64,
}

impl Kernel {
    pub(crate) fn read(
        object: &CodeObject,
        name: &str,
        descriptor_address: u64,
        metadata: Option<KernelMetadata>,
    ) -> Result<Self, Error> {
        let error = |reason: String| Error::Descriptor { kernel: name.to_owned(), reason };
        let bytes = object
            .bytes(descriptor_address, KernelDescriptor::NUM_BYTES as u64)
            .ok_or_else(|| error("it lies outside of what is loaded".to_owned()))?;
        let descriptor = KernelDescriptor::parse(bytes).map_err(error)?;
        let entry = descriptor_address
            .checked_add_signed(descriptor.kernel_code_entry_byte_offset)
            .filter(|entry| entry % CODE_ALIGNMENT == 0)
            .ok_or_else(|| error("its code does not begin at a multiple of 256 bytes".into()))?;
        let kernel =
            Self { name: name.to_owned(), descriptor_address, descriptor, metadata, entry };
        // At least one instruction.
        if !object.is_code(kernel.entry(), 4) {
            return Err(error(format!("its code at {:#x} is not executable", kernel.entry())));
        }
        Ok(kernel)
    }

    /// The first instruction that is executed: after the prologue where the hardware preloads arguments itself.
    pub fn entry(&self) -> u64 {
        if self.descriptor.kernarg_preload_length == 0 {
            self.entry
        } else {
            self.entry.saturating_add(PRELOAD_PROLOGUE_BYTES)
        }
    }

    /// Bytes of the kernarg segment. Hand-written descriptors may say 0, so the metadata has the first word.
    pub fn kernarg_segment_bytes(&self) -> u32 {
        match &self.metadata {
            Some(metadata) => metadata.kernarg_segment_size,
            None => self.descriptor.kernarg_size,
        }
    }
}

impl CodeObject {
    /// Where the code of `kernel` lies: its address, with what may precede the entry, and its bytes. Hand-written
    /// functions may have no size: theirs ends with the segment.
    pub fn extent(&self, kernel: &Kernel) -> (u64, u64) {
        let start = kernel.entry;
        let symbols = self.symbols.values();
        let sized = symbols.filter(|s| s.kind == SymbolKind::Function && s.address == start);
        let num_bytes = sized.map(|symbol| symbol.num_bytes).max().filter(|n| *n != 0);
        let ends = self.segments.iter().map(|s| s.address + s.bytes.len() as u64);
        let to_end = || ends.filter(|end| *end > start).min().map_or(0, |end| end - start);
        (start, num_bytes.unwrap_or_else(to_end))
    }
}
