// kv_blocks of one pool as dense bytes, and back: [kv_head][slot][head_dim] without padding, in no device's own order.
// Which kv_block goes where comes with the arguments of the launch, 256 at a time.
#pragma once

#include <hip/hip_runtime.h>

#include "kv_layout.h"
#include "row_list.h"

constexpr unsigned KV_BLOCKS_WORKGROUP_SIZE = 256;

// Calls `move(place in the pool, place in the dense block)` for each element of the work-group's head.
template <typename T, bool IS_K, typename Move>
__device__ inline void for_each_element(const KvShape &shape, unsigned long block, Move move) {
    using Places = KvPlaces<T>;
    const unsigned kv_head = blockIdx.y;
    const unsigned num_elements = shape.block_size * shape.head_dim;
    const unsigned long first = shape.head_block(block, kv_head);
    for (unsigned i = threadIdx.x; i < num_elements; i += KV_BLOCKS_WORKGROUP_SIZE) {
        const unsigned slot = i / shape.head_dim, d = i % shape.head_dim;
        const unsigned place = IS_K ? Places::k(shape.padded(), slot, d) : Places::v(shape.head_dim, slot, d);
        move(first + place, (unsigned long)kv_head * num_elements + i);
    }
}
