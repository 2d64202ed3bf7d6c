// The order of elements in the paged KV cache. src/kv_layout.rs says the same in Rust, and says why.
//
//   x      = elements in 16 bytes: 8 of 16 bits, 16 of FP8
//   padded = token slots of a kv_block, up to the next multiple of 16
//
//   K             [block][kv_head][head_dim / x][padded][x]
//   V             [block][kv_head][padded / x][head_dim][x]
//   token scales  [block][kv_head][padded]
//
// head_dim is a multiple of 16. A pool is one layer's K or V. What is not an offset inside one head of one kv_block is
// 64 bits wide: pools are larger than 4 GiB.
#pragma once

#include <hip/hip_runtime.h>

constexpr unsigned KV_SLOT_GRANULE = 16;

struct KvShape {
    unsigned block_size;
    unsigned num_kv_heads;
    unsigned head_dim;

    // Slots of a kv_block with their padding.
    __device__ unsigned padded() const { return (block_size + KV_SLOT_GRANULE - 1) / KV_SLOT_GRANULE * KV_SLOT_GRANULE; }

    // First element of a head of a kv_block, in either pool.
    __device__ unsigned long head_block(unsigned long block, unsigned kv_head) const {
        return (block * num_kv_heads + kv_head) * ((unsigned long)head_dim * padded());
    }

    // The scale of a token slot and head.
    __device__ unsigned long token_scale(unsigned long block, unsigned kv_head, unsigned slot) const {
        return (block * num_kv_heads + kv_head) * padded() + slot;
    }
};

// Places of elements of type T (one or two bytes) inside a head of a kv_block.
template <typename T> struct KvPlaces {
    static constexpr unsigned X = 16 / sizeof(T);

    // K element d of the token in `slot`.
    __device__ static unsigned k(unsigned padded, unsigned slot, unsigned d) {
        return (d / X * padded + slot) * X + d % X;
    }

    // V element d of the token in `slot`.
    __device__ static unsigned v(unsigned head_dim, unsigned slot, unsigned d) {
        return (slot / X * head_dim + d) * X + slot % X;
    }
};
