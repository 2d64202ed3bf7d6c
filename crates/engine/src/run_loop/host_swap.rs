//! Host memory for the KV of preempted sequences.

use engine_core::device::{Device, OpError};
use engine_core::scheduler::{BlockCopy, CopyDirection};
use twox_hash::XxHash3_128;

/// Room for kv_blocks on the host.
pub(super) struct HostSwap {
    block_bytes: usize,
    blocks: Vec<HostBlock>,
}

/// Memory is taken when the block is first used, and kept.
#[derive(Clone, Default)]
struct HostBlock {
    bytes: Vec<u8>,
    /// Of the bytes as they left the device.
    digest: u128,
}

/// Why the KV of a sequence did not make it to the host or back. It is computed again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum SwapError {
    #[error(transparent)]
    Op(#[from] OpError),
    #[error("the bytes of host block {host_block} are not those that were written")]
    Corrupt { host_block: u32 },
}

impl HostSwap {
    /// Room for `num_blocks` blocks of `block_bytes`.
    pub(super) fn new(num_blocks: usize, block_bytes: usize) -> Self {
        HostSwap { block_bytes, blocks: vec![HostBlock::default(); num_blocks] }
    }

    /// Executes one copy.
    pub(super) fn copy<D: Device>(
        &mut self,
        device: &mut D,
        kv_cache: &mut D::KvCache,
        copy: &BlockCopy,
    ) -> Result<(), SwapError> {
        let HostBlock { bytes, digest } = &mut self.blocks[copy.host.0 as usize];
        match copy.direction {
            CopyDirection::Out => {
                let requested_bytes = self.block_bytes as u64;
                bytes.try_reserve_exact(self.block_bytes.saturating_sub(bytes.len())).map_err(
                    |_| OpError::OutOfMemory { what: "swapped-out KV", requested_bytes },
                )?;
                bytes.resize(self.block_bytes, 0);
                device.read_kv_blocks(kv_cache, &[copy.device.0], bytes)?;
                *digest = XxHash3_128::oneshot(bytes);
            }
            CopyDirection::In => {
                if XxHash3_128::oneshot(bytes) != *digest {
                    return Err(SwapError::Corrupt { host_block: copy.host.0 });
                }
                device.write_kv_blocks(kv_cache, &[copy.device.0], bytes)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use engine_core::block_pool::{BlockId, HostBlockId};
    use engine_core::device::KvCacheShape;
    use engine_core::dtype::DType;
    use engine_core::kv_scales::KvScales;
    use engine_core::request::SeqId;
    use reference_cpu::ReferenceCpu;

    use super::*;

    fn copy(direction: CopyDirection, device: u32, host: u32) -> BlockCopy {
        let (device, host) = (BlockId(device), HostBlockId(host));
        BlockCopy { seq_id: SeqId(0), direction, device, host }
    }

    #[test]
    fn bytes_come_back_and_damage_is_seen() {
        let mut device = ReferenceCpu::new(DType::F32);
        let shape = KvCacheShape {
            num_layers: 2,
            num_blocks: 3,
            block_size: 4,
            num_kv_heads: 1,
            head_dim: 8,
            dtype: DType::F32.into(),
        };
        let mut kv_cache = device.alloc_kv_cache(shape, &KvScales::ones(2, 1)).unwrap();
        let block_bytes = shape.block_bytes() as usize;
        let written: Vec<u8> = (0..block_bytes).map(|i| (i * 37 % 251) as u8).collect();
        device.write_kv_blocks(&mut kv_cache, &[2], &written).unwrap();
        let mut swap = HostSwap::new(2, block_bytes);
        let mut execute = |swap: &mut HostSwap, copied: BlockCopy| {
            swap.copy(&mut device, &mut kv_cache, &copied)?;
            let mut found = vec![0; block_bytes];
            device.read_kv_blocks(&kv_cache, &[copied.device.0], &mut found)?;
            Ok::<_, SwapError>(found)
        };
        execute(&mut swap, copy(CopyDirection::Out, 2, 1)).unwrap();
        assert_eq!(execute(&mut swap, copy(CopyDirection::In, 0, 1)).unwrap(), written);
        swap.blocks[1].bytes[block_bytes / 2] ^= 1;
        let damaged = execute(&mut swap, copy(CopyDirection::In, 1, 1));
        assert!(matches!(damaged, Err(SwapError::Corrupt { host_block: 1 })), "{damaged:?}");
    }
}
