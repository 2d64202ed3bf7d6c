//! kv_blocks of 64 slots for kernels that cannot read others: `kernels/include/attention_repack.h`.

use std::mem::{offset_of, size_of};

use bytemuck::{NoUninit, Pod};

use super::args::AttentionArgs;
use super::shape::AttentionShape;
use crate::buffer::Buffer;
use crate::device::Device;
use crate::launch::Geometry;
use crate::ops::{WAVE_SIZE, count};
use crate::result::{Error, Result};

/// Slots of the new kv_blocks.
const BLOCK_SIZE: usize = 64;

/// `AttentionRepack` of the header.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
pub(super) struct AttentionRepack {
    pub k_pool: u64,
    pub v_pool: u64,
    pub k_token_scales: u64,
    pub v_token_scales: u64,
    pub block_tables: u64,
    pub max_num_blocks: u32,
    pub reserved: u32,
}

const _: () = assert!(offset_of!(AttentionRepack, v_pool) == 8);
const _: () = assert!(offset_of!(AttentionRepack, k_token_scales) == 16);
const _: () = assert!(offset_of!(AttentionRepack, v_token_scales) == 24);
const _: () = assert!(offset_of!(AttentionRepack, block_tables) == 32);
const _: () = assert!(offset_of!(AttentionRepack, max_num_blocks) == 40);
const _: () = assert!(size_of::<AttentionRepack>() == 48);

/// The new pools and tables; they grow, and are used again.
#[derive(Default)]
pub(super) struct Pages {
    pools: [Option<Buffer<u8>>; 2],
    token_scales: [Option<Buffer<f32>>; 2],
    block_tables: Option<Buffer<u32>>,
}

impl Pages {
    /// Room for all that a batch of `num_seqs` may attend.
    pub fn repack(
        &mut self,
        device: &Device,
        shape: &AttentionShape,
        num_seqs: usize,
    ) -> Result<AttentionRepack> {
        let max_num_blocks = shape.max_seq_len.div_ceil(BLOCK_SIZE);
        let num_blocks = num_seqs.saturating_mul(max_num_blocks);
        count("repacked kv_blocks", num_blocks)?;
        let num_heads = num_blocks.saturating_mul(shape.num_kv_heads * BLOCK_SIZE);
        let pool_len = num_heads.saturating_mul(shape.head_dim * shape.kv_dtype.size_bytes());
        let [k_pool, v_pool] = &mut self.pools;
        let [k_scales, v_scales] = &mut self.token_scales;
        let scales_len = if shape.has_token_scales { num_heads } else { 0 };
        Ok(AttentionRepack {
            k_pool: grown(device, k_pool, pool_len)?,
            v_pool: grown(device, v_pool, pool_len)?,
            k_token_scales: grown(device, k_scales, scales_len)?,
            v_token_scales: grown(device, v_scales, scales_len)?,
            block_tables: grown(device, &mut self.block_tables, num_blocks)?,
            max_num_blocks: count("max_num_blocks", max_num_blocks)?,
            reserved: 0,
        })
    }
}

impl AttentionRepack {
    /// One work-group per new kv_block and KV head.
    pub fn geometry(&self, args: &AttentionArgs) -> Result<Geometry> {
        Ok(Geometry {
            workgroups: [self.max_num_blocks, args.num_kv_heads, args.num_seqs],
            ..Geometry::linear(1, count("work-items", WAVE_SIZE)?)
        })
    }

    /// Arguments of a kernel that reads the new kv_blocks.
    pub fn read_by(&self, args: &AttentionArgs) -> AttentionArgs {
        AttentionArgs {
            k_pool: self.k_pool,
            v_pool: self.v_pool,
            k_token_scales: self.k_token_scales,
            v_token_scales: self.v_token_scales,
            block_tables: self.block_tables,
            block_size: BLOCK_SIZE as u32,
            max_num_blocks: self.max_num_blocks,
            ..*args
        }
    }
}

/// The address of a buffer of at least `len` elements, null for none.
pub(super) fn grown<T: Pod>(
    device: &Device,
    buffer: &mut Option<Buffer<T>>,
    len: usize,
) -> Result<u64> {
    if len == 0 {
        return Ok(0);
    }
    if buffer.as_ref().is_none_or(|buffer| buffer.len() < len) {
        // The old one goes first: there may be no room for both.
        *buffer = None;
        *buffer = Some(device.buffer(len)?);
    }
    let what = "workspace of attention";
    let buffer = buffer.as_ref().ok_or(Error::Length { what, expected: len, found: 0 })?;
    Ok(buffer.address())
}
