//! `kv_copy`.

use bytemuck::Pod;

use super::{ROW_LIST_LEN, WORKGROUP_SIZE, count, plain, row_list};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::launch::{Argument, Geometry};
use crate::module::Kernel;
use crate::result::{Error, Result};
use crate::stream::Stream;
use crate::variant::{Any, Variant};

const NAME: &str = "kv_copy_v1_vectors";
/// What a work-item copies.
const VECTOR_BYTES: usize = 16;
/// Pairs of a launch.
const MAX_PAIRS: usize = ROW_LIST_LEN / 2;

/// What there is.
pub(super) const VARIANTS: &[Variant<Any>] = &[plain("kv_copy", NAME, "none: no sums")];

/// Copies whole kv_blocks inside a pool: of keys, of values, or of token scales.
pub struct KvCopy {
    kernel: Kernel,
}

impl KvCopy {
    /// Loads `kv_copy_v1_vectors`.
    ///
    /// # Errors
    ///
    /// If the build has none for this device; HIP's.
    pub fn new(device: &Device) -> Result<Self> {
        Ok(KvCopy { kernel: device.variant(NAME)?.kernel(NAME)? })
    }

    /// As [`KvCopy::new`], of a code object from elsewhere.
    ///
    /// # Errors
    ///
    /// If it has no such kernel; HIP's.
    pub fn from_code_object(device: &Device, code_object: &[u8]) -> Result<Self> {
        Ok(KvCopy { kernel: device.module(code_object)?.kernel(NAME)? })
    }

    /// Copies, for each `(from, to)` in order, kv_block `from` over `to`. A kv_block is `block_len` elements.
    ///
    /// # Errors
    ///
    /// If a kv_block is not in the pool, or is not whole vectors of 16 bytes; HIP's.
    pub fn run<T: Pod>(
        &self,
        stream: &Stream,
        pool: &mut Buffer<T>,
        block_len: usize,
        pairs: &[(u32, u32)],
    ) -> Result<()> {
        let block_bytes = block_len.saturating_mul(size_of::<T>());
        if block_bytes == 0 || !block_bytes.is_multiple_of(VECTOR_BYTES) {
            let (what, allowed) = ("the bytes of a kv_block", "a multiple of 16, above 0");
            return Err(Error::Value { what, allowed, found: block_bytes.to_string() });
        }
        if let Some(largest) = pairs.iter().map(|&(from, to)| from.max(to)).max() {
            let least = (largest as usize + 1).saturating_mul(block_len);
            pool.check_at_least("the pool", least)?;
        }
        let block_vectors = block_bytes / VECTOR_BYTES;
        let num_workgroups =
            count("vectors of a kv_block", block_vectors.div_ceil(WORKGROUP_SIZE as usize))?;
        let block_vectors = block_vectors as u64;
        for pairs in independent(pairs) {
            let flat: Vec<u32> = pairs.iter().flat_map(|&(from, to)| [from, to]).collect();
            let list = row_list(&flat);
            let args = [
                Argument::output(&mut *pool),
                Argument::value(&block_vectors),
                Argument::value(&list),
            ];
            let geometry = Geometry {
                workgroups: [pairs.len() as u32, num_workgroups, 1],
                ..Geometry::linear(1, WORKGROUP_SIZE)
            };
            // SAFETY: the kernel touches vectors below `block_vectors` of listed kv_blocks, which the pool has, checked
            // above; what it writes no other work-group of the launch touches.
            unsafe { self.kernel.launch(stream, geometry, &args) }?;
        }
        Ok(())
    }
}

/// Lists as long as a launch takes. In none is what is written also read or written by another pair, for the copies of one
/// launch are in no order; a kv_block onto itself stays out.
fn independent(pairs: &[(u32, u32)]) -> Vec<Vec<(u32, u32)>> {
    let mut launches: Vec<Vec<(u32, u32)>> = Vec::new();
    for &(from, to) in pairs.iter().filter(|(from, to)| from != to) {
        let clashes = |&(other_from, other_to): &(u32, u32)| {
            other_to == from || other_to == to || other_from == to
        };
        match launches.last_mut() {
            Some(last) if last.len() < MAX_PAIRS && !last.iter().any(clashes) => {
                last.push((from, to));
            }
            _ => launches.push(vec![(from, to)]),
        }
    }
    launches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_launch_has_a_copy_that_needs_another() {
        let parts = |pairs: &[(u32, u32)]| -> Vec<usize> {
            independent(pairs).iter().map(Vec::len).collect()
        };
        assert_eq!(parts(&[(1, 2), (1, 3), (4, 5)]), [3]);
        assert_eq!(parts(&[(1, 2), (2, 3)]), [1, 1], "reads what was written");
        assert_eq!(parts(&[(1, 2), (3, 1)]), [1, 1], "writes what was read");
        assert_eq!(parts(&[(1, 2), (3, 2), (4, 5)]), [1, 2], "writes twice");
        assert_eq!(parts(&[(7, 7)]), [0; 0]);
        let many: Vec<(u32, u32)> = (0..300).map(|i| (i, 1000 + i)).collect();
        assert_eq!(parts(&many), [128, 128, 44]);
    }
}
