//! Scratch: the private memory of each lane.

use std::ops::Range;

use bytemuck::Pod;

use super::access::{Targets, for_lanes};
use crate::exec::{Lanes, Wave};

/// The scratch of a wave's lanes. As on the hardware, dwords of the same address lie side by side.
pub struct Scratch {
    rows: Vec<Lanes>,
    num_bytes: usize,
}

impl Scratch {
    /// `num_bytes` for each lane, of dwords that all read `poison`.
    pub fn new(num_bytes: usize, poison: u32) -> Self {
        let mut scratch = Self { rows: Vec::new(), num_bytes };
        scratch.reset(num_bytes, poison);
        scratch
    }

    /// The same for the next wave.
    pub fn reset(&mut self, num_bytes: usize, poison: u32) {
        self.num_bytes = num_bytes;
        self.rows.clear();
        self.rows.resize(num_bytes.div_ceil(4), [poison; crate::WAVE_SIZE]);
    }

    /// Bytes per lane.
    pub fn num_bytes(&self) -> usize {
        self.num_bytes
    }

    /// Whether a lane has `num_bytes` at `address`.
    fn has(&self, address: u64, num_bytes: usize) -> bool {
        address <= self.num_bytes as u64 && num_bytes as u64 <= self.num_bytes as u64 - address
    }

    /// Where whole dwords at one address for all lanes are, as spills have them.
    fn rows(&self, targets: &Targets, num_bytes: usize) -> Option<Range<usize>> {
        let address = targets.one_address()?;
        let first = address as usize / 4;
        let whole = address.is_multiple_of(4)
            && num_bytes.is_multiple_of(4)
            && self.has(address, num_bytes);
        whole.then_some(first..first + num_bytes / 4)
    }

    /// Loads whole dwords at one address for all lanes; `None`, and nothing done, if it is something else.
    pub(super) fn load_rows(
        &self,
        targets: &Targets,
        num_bytes: usize,
        wave: &mut Wave,
        index: usize,
    ) -> Option<()> {
        for (i, row) in self.rows[self.rows(targets, num_bytes)?].iter().enumerate() {
            wave.set_vector(index + i, targets.lanes, row);
        }
        Some(())
    }

    /// The same to store.
    pub(super) fn store_rows(
        &mut self,
        targets: &Targets,
        num_bytes: usize,
        wave: &Wave,
        index: usize,
    ) -> Option<()> {
        let rows = self.rows(targets, num_bytes)?;
        for (i, row) in self.rows[rows].iter_mut().enumerate() {
            let new = wave.vector(index + i);
            for_lanes(targets.lanes, |lane| row[lane] = new[lane]);
        }
        Some(())
    }

    /// Reads at `address` of `lane`; `None` if it is outside.
    pub(super) fn load<T: Pod>(&self, lane: usize, address: u64) -> Option<T> {
        if !self.has(address, size_of::<T>()) {
            return None;
        }
        if size_of::<T>() == 4 && address.is_multiple_of(4) {
            return Some(bytemuck::cast(self.rows[address as usize / 4][lane]));
        }
        let mut value = T::zeroed();
        for (i, byte) in bytemuck::bytes_of_mut(&mut value).iter_mut().enumerate() {
            let at = address as usize + i;
            *byte = (self.rows[at / 4][lane] >> (at % 4 * 8)) as u8;
        }
        Some(value)
    }

    /// Writes at `address` of `lane`; `None` if it is outside.
    pub(super) fn store<T: Pod>(&mut self, lane: usize, address: u64, value: T) -> Option<()> {
        if !self.has(address, size_of::<T>()) {
            return None;
        }
        for (i, &byte) in bytemuck::bytes_of(&value).iter().enumerate() {
            let at = address as usize + i;
            let (dword, shift) = (&mut self.rows[at / 4][lane], at % 4 * 8);
            *dword = *dword & !(0xff << shift) | u32::from(byte) << shift;
        }
        Some(())
    }
}
