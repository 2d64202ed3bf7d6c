// kv_gather_v1_naive: kv_blocks of a pool of keys or values to dense bytes, on their way to the host.
//
// Source: engine_core::device::Device::read_kv_blocks; the dense order is that of include/kv_blocks.h.
//
// Idea: the plain port, element by element: it knows no more than where an element lies. Bits are moved, not numbers.
// Mapping: one work-group of 256 work-items per kv_block and KV head; work-items stride over its elements.
// Reduction class: none.
// Cost: each byte read and written once.
// Measured: not on hardware. Executed in the emulator, equal byte by byte.
// Lost to: nothing yet. It reads one or two bytes at a time, head_dim / x elements apart; most of a sector is another lane's.

#include <hip/hip_runtime.h>

#include "kv_blocks.h"

#define KV_GATHER(NAME, T, IS_K)                                                                                       \
    extern "C" __global__ void __launch_bounds__(KV_BLOCKS_WORKGROUP_SIZE) kv_gather_v1_naive__##NAME(                 \
        T *__restrict__ dense, const T *__restrict__ pool, unsigned long dense_stride, unsigned block_size,            \
        unsigned num_kv_heads, unsigned head_dim, RowList blocks) {                                                    \
        const KvShape shape = {block_size, num_kv_heads, head_dim};                                                    \
        dense += blockIdx.x * dense_stride;                                                                            \
        for_each_element<T, IS_K>(shape, blocks.at[blockIdx.x], [&](unsigned long in_pool, unsigned long in_dense) {   \
            dense[in_dense] = pool[in_pool];                                                                           \
        });                                                                                                            \
    }

KV_GATHER(k_b8, unsigned char, true)
KV_GATHER(v_b8, unsigned char, false)
KV_GATHER(k_b16, unsigned short, true)
KV_GATHER(v_b16, unsigned short, false)
