// kv_copy_v1_vectors: kv_blocks of a pool to other kv_blocks of it, whole, bit for bit. A pool of keys, of values, or of
// token scales: of each, a kv_block is whole vectors of 16 bytes, for its slots are padded to a multiple of 16.
//
// Idea: there is nothing to know of a block but its length. Which goes where comes with the arguments of the launch, 128
// pairs at a time.
// Mapping: one work-group of 256 work-items per pair and 4096 bytes; a work-item copies one vector.
// Reduction class: none.
// Cost: each byte read and written once.
// Code object: 16-byte loads, 8 waves per SIMD.
// Measured: not on hardware. Executed in the emulator, equal byte by byte.
// Lost to: nothing yet.

#include <hip/hip_runtime.h>

#include "row_list.h"

template <typename T, int N> using Vec = T __attribute__((ext_vector_type(N)));
using Vector = Vec<unsigned, 4>;

constexpr unsigned WORKGROUP_SIZE = 256;

extern "C" __global__ void __launch_bounds__(WORKGROUP_SIZE)
kv_copy_v1_vectors(Vector *pool, unsigned long block_vectors, RowList pairs) {
    const unsigned long i = (unsigned long)blockIdx.y * WORKGROUP_SIZE + threadIdx.x;
    if (i < block_vectors) {
        const unsigned long from = pairs.at[2 * blockIdx.x], to = pairs.at[2 * blockIdx.x + 1];
        pool[to * block_vectors + i] = pool[from * block_vectors + i];
    }
}
