//! LDS: the memory that the waves of a work-group share.

use bytemuck::Pod;

/// Bytes of LDS of a compute unit: the most that a work-group can have.
pub const LDS_BYTES: usize = 64 << 10;

/// A work-group's LDS.
///
/// The waves of a work-group take turns on one thread, so that an atomic is a read and a write.
pub struct Lds {
    bytes: Vec<u8>,
}

impl Lds {
    /// `num_bytes` (at most 64 KiB: more cannot be launched) of dwords that all read `poison`.
    pub fn new(num_bytes: usize, poison: u32) -> Self {
        let mut lds = Self { bytes: Vec::new() };
        lds.reset(num_bytes, poison);
        lds
    }

    /// The same for the next work-group.
    pub fn reset(&mut self, num_bytes: usize, poison: u32) {
        let num_bytes = num_bytes.min(LDS_BYTES);
        let dwords = std::iter::repeat_n(poison.to_le_bytes(), num_bytes.div_ceil(4));
        self.bytes.clear();
        self.bytes.extend(dwords.flatten());
        self.bytes.truncate(num_bytes);
    }

    /// What is allocated.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads at `address`; `None` if not all of it is allocated.
    #[inline(always)]
    pub(super) fn load<T: Pod>(&self, address: u64) -> Option<T> {
        let bytes = self.bytes.get(address as usize..)?.get(..size_of::<T>())?;
        Some(bytemuck::pod_read_unaligned(bytes))
    }

    /// Writes at `address`; `None` if not all of it is allocated.
    #[inline(always)]
    pub(super) fn store<T: Pod>(&mut self, address: u64, value: T) -> Option<()> {
        let bytes = self.bytes.get_mut(address as usize..)?.get_mut(..size_of::<T>())?;
        bytes.copy_from_slice(bytemuck::bytes_of(&value));
        Some(())
    }
}
