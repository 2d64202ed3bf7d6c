// attention_repack_v1_naive: what a batch attends, from kv_blocks of any size to kv_blocks of 64 slots.
//
// Idea: kernels with matrix instructions load 16 tokens of one kv_block at once, which kv_blocks that are no multiple of
// 16 slots do not have. Rather than a second way through every kernel, odd pages become even ones first. Where a token
// lies changes no bit.
// Mapping: one wave per new kv_block and KV head; lanes stride over a token's head.
// Cost: K and V read and written once more: such block sizes work, and cost three times the bytes.
// Measured: not on hardware. Executed in the emulator, byte for byte what it was given.
// Lost to: a block size that is a power of two from 16, which does not need it.

#include <hip/hip_runtime.h>

#include "attention_args.h"
#include "attention_repack.h"
#include "wave.h"

// Copies a token's head, or writes zeros where there is none: what is loaded beside attended slots is a number then.
template <typename Bits, typename To, typename From>
__device__ inline void copy_token(Bits *to, const Bits *from, bool is_there, unsigned head_dim, To place_to,
                                  From place_from) {
    for (unsigned d = threadIdx.x; d < head_dim; d += WAVE_SIZE) {
        to[place_to(d)] = is_there ? from[place_from(d)] : Bits(0);
    }
}

template <typename Bits> __device__ inline void repack(const AttentionArgs &args, const AttentionRepack &to) {
    using Places = KvPlaces<Bits>;
    const unsigned new_block_idx = blockIdx.x, kv_head = blockIdx.y, seq_idx = blockIdx.z;
    const unsigned seq_len = args.seq_lens[seq_idx];
    const unsigned begin = new_block_idx * REPACK_BLOCK_SIZE;
    if (begin >= seq_len) {
        return;
    }
    const unsigned num_rows = args.cu_seqlens_q[seq_idx + 1] - args.cu_seqlens_q[seq_idx];
    const int first_end = (int)(seq_len - num_rows) + 1;
    const unsigned first = args.window ? (unsigned)max(first_end - (int)args.window, 0) : 0;
    const KvShape old_shape = args.kv_shape();
    const KvShape new_shape = {REPACK_BLOCK_SIZE, args.num_kv_heads, args.head_dim};
    const unsigned long new_block = (unsigned long)seq_idx * to.max_num_blocks + new_block_idx;
    if (kv_head == 0 && threadIdx.x == 0) {
        to.block_tables[new_block] = (unsigned)new_block;
    }
    const unsigned long new_head = new_shape.head_block(new_block, kv_head);
    for (unsigned new_slot = 0; new_slot < REPACK_BLOCK_SIZE; ++new_slot) {
        const unsigned position = begin + new_slot;
        const bool is_there = num_rows > 0 && position >= first && position < seq_len;
        const unsigned table_idx = is_there ? position / args.block_size : 0;
        const unsigned long block =
            is_there ? args.block_tables[(unsigned long)seq_idx * args.max_num_blocks + table_idx] : 0;
        const unsigned slot = position % args.block_size;
        const unsigned long old_head = old_shape.head_block(block, kv_head);
        copy_token((Bits *)to.k_pool + new_head, (const Bits *)args.k_pool + old_head, is_there, args.head_dim,
                   [&](unsigned d) { return Places::k(REPACK_BLOCK_SIZE, new_slot, d); },
                   [&](unsigned d) { return Places::k(old_shape.padded(), slot, d); });
        copy_token((Bits *)to.v_pool + new_head, (const Bits *)args.v_pool + old_head, is_there, args.head_dim,
                   [&](unsigned d) { return Places::v(args.head_dim, new_slot, d); },
                   [&](unsigned d) { return Places::v(args.head_dim, slot, d); });
        if (to.k_token_scales && threadIdx.x == 0) {
            const unsigned long new_scale = new_shape.token_scale(new_block, kv_head, new_slot);
            const unsigned long old_scale = old_shape.token_scale(block, kv_head, slot);
            to.k_token_scales[new_scale] = is_there ? args.k_token_scales[old_scale] : 0.0f;
            to.v_token_scales[new_scale] = is_there ? args.v_token_scales[old_scale] : 0.0f;
        }
    }
}

extern "C" __global__ void __launch_bounds__(WAVE_SIZE)
attention_repack_v1_naive__u16(AttentionArgs args, AttentionRepack to) {
    repack<unsigned short>(args, to);
}

extern "C" __global__ void __launch_bounds__(WAVE_SIZE)
attention_repack_v1_naive__u8(AttentionArgs args, AttentionRepack to) {
    repack<unsigned char>(args, to);
}
