// Pages of 64 slots, one after the other, for kernels that load 16 tokens of one kv_block at once.
#pragma once

#include <hip/hip_runtime.h>

constexpr unsigned REPACK_BLOCK_SIZE = 64;

// kv_block b of sequence s is s * max_num_blocks + b; the order inside is that of kv_layout.h.
struct AttentionRepack {
    void *k_pool;
    void *v_pool;
    float *k_token_scales; // null where the source has none
    float *v_token_scales;
    unsigned *block_tables;
    unsigned max_num_blocks;
    unsigned reserved;
};

static_assert(__builtin_offsetof(AttentionRepack, v_pool) == 8);
static_assert(__builtin_offsetof(AttentionRepack, k_token_scales) == 16);
static_assert(__builtin_offsetof(AttentionRepack, v_token_scales) == 24);
static_assert(__builtin_offsetof(AttentionRepack, block_tables) == 32);
static_assert(__builtin_offsetof(AttentionRepack, max_num_blocks) == 40);
static_assert(__builtin_offsetof(AttentionRepack, reserved) == 44);
static_assert(sizeof(AttentionRepack) == 48);
