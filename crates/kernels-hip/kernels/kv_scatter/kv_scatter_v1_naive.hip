// kv_scatter_v1_naive: what kv_gather made of kv_blocks, to kv_blocks of a pool.
//
// Source: engine_core::device::Device::write_kv_blocks; the dense order is that of include/kv_blocks.h.
//
// Idea: the plain port, element by element: it knows no more than where an element lies. Bits are moved, not numbers.
// Mapping: one work-group of 256 work-items per kv_block and KV head; work-items stride over its elements.
// Reduction class: none.
// Cost: each byte read and written once.
// Measured: not on hardware. Executed in the emulator, equal byte by byte.
// Lost to: nothing yet. It writes one or two bytes at a time, scattered; most of a sector is another lane's.

#include <hip/hip_runtime.h>

#include "kv_blocks.h"

#define KV_SCATTER(NAME, T, IS_K)                                                                                      \
    extern "C" __global__ void __launch_bounds__(KV_BLOCKS_WORKGROUP_SIZE) kv_scatter_v1_naive__##NAME(                \
        T *__restrict__ pool, const T *__restrict__ dense, unsigned long dense_stride, unsigned block_size,            \
        unsigned num_kv_heads, unsigned head_dim, RowList blocks) {                                                    \
        const KvShape shape = {block_size, num_kv_heads, head_dim};                                                    \
        dense += blockIdx.x * dense_stride;                                                                            \
        for_each_element<T, IS_K>(shape, blocks.at[blockIdx.x], [&](unsigned long in_pool, unsigned long in_dense) {   \
            pool[in_pool] = dense[in_dense];                                                                           \
        });                                                                                                            \
    }

KV_SCATTER(k_b8, unsigned char, true)
KV_SCATTER(v_b8, unsigned char, false)
KV_SCATTER(k_b16, unsigned short, true)
KV_SCATTER(v_b16, unsigned short, false)
