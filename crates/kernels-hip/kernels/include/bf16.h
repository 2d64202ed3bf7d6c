// bf16 as bits: gfx942 has no instruction that converts to it.
#pragma once

#include <hip/hip_runtime.h>

using bf16_bits = unsigned short;

__device__ inline float load(float x) { return x; }

__device__ inline float load(bf16_bits x) { return __builtin_bit_cast(float, (unsigned)x << 16); }

// To nearest, ties to even. NaN stays NaN: its lower half alone could hold the payload, and adding could overflow it.
__device__ inline bf16_bits to_bf16(float x) {
    const unsigned bits = __builtin_bit_cast(unsigned, x);
    const unsigned rounded = bits + 0x7fff + (bits >> 16 & 1);
    return (bf16_bits)((x != x ? bits | 0x400000 : rounded) >> 16);
}
