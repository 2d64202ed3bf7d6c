//! `AttentionArgs` of `kernels/include/attention_args.h`.

use std::mem::{offset_of, size_of};

use bytemuck::NoUninit;

/// Addresses and numbers as the kernels take them; the header says what each is.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
pub(super) struct AttentionArgs {
    pub q: u64,
    pub out: u64,
    pub lse: u64,
    pub k_pool: u64,
    pub v_pool: u64,
    pub k_scales: u64,
    pub v_scales: u64,
    pub k_token_scales: u64,
    pub v_token_scales: u64,
    pub block_tables: u64,
    pub cu_seqlens_q: u64,
    pub seq_lens: u64,
    pub alibi_slopes: u64,
    pub sinks: u64,
    pub q_stride: u64,
    pub num_tokens: u32,
    pub num_seqs: u32,
    pub num_qo_heads: u32,
    pub num_kv_heads: u32,
    pub head_dim: u32,
    pub block_size: u32,
    pub max_num_blocks: u32,
    pub window: u32,
    pub scale: f32,
    pub soft_cap: f32,
}

macro_rules! places {
    ($($field:ident $place:literal),* $(,)?) => {
        $(const _: () = assert!(offset_of!(AttentionArgs, $field) == $place);)*
    };
}

places! {
    q 0, out 8, lse 16, k_pool 24, v_pool 32, k_scales 40, v_scales 48, k_token_scales 56, v_token_scales 64,
    block_tables 72, cu_seqlens_q 80, seq_lens 88, alibi_slopes 96, sinks 104, q_stride 112, num_tokens 120,
    num_seqs 124, num_qo_heads 128, num_kv_heads 132, head_dim 136, block_size 140, max_num_blocks 144, window 148,
    scale 152, soft_cap 156,
}
const _: () = assert!(size_of::<AttentionArgs>() == 160);
