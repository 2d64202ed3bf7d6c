// Weights of four bits as they lie in memory: gemm_int4_v1_naive.hip says what they mean.
#pragma once

#include <hip/hip_runtime.h>

// Four-bit numbers of a word.
constexpr unsigned PACK = 8;

struct Packed {
    const unsigned *__restrict__ qweight;
    const unsigned *__restrict__ qzeros;
    const _Float16 *__restrict__ scales;
    const unsigned *__restrict__ g_idx;
    unsigned zero_offset;
    unsigned group_size;
    unsigned num_groups;
    unsigned out_features;

    // A group that there is, whatever g_idx says: the host refuses others when it loads them.
    __device__ unsigned group(unsigned k) const {
        const unsigned group = g_idx ? g_idx[k] : k / group_size;
        return group < num_groups ? group : num_groups - 1;
    }
};

__device__ inline unsigned nibble(unsigned word, unsigned place) { return word >> (4 * place) & 15; }

struct Gptq {
    __device__ static unsigned q(const Packed &packed, unsigned long k, unsigned n) {
        return nibble(packed.qweight[k / PACK * packed.out_features + n], k % PACK);
    }
    __device__ static unsigned place(unsigned n) { return n % PACK; }
};

struct Awq {
    __device__ static unsigned q(const Packed &packed, unsigned long k, unsigned n) {
        return nibble(packed.qweight[(k * packed.out_features + n) / PACK], place(n));
    }
    // Even features are the lower half of a word.
    __device__ static unsigned place(unsigned n) { return n % PACK / 2 + n % 2 * (PACK / 2); }
};
