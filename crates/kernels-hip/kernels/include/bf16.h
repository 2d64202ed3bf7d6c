// bf16 as bits: gfx942 has no instruction that converts it.
#pragma once

using bf16_bits = unsigned short;

__device__ inline float load(float x) { return x; }

__device__ inline float load(bf16_bits x) { return __builtin_bit_cast(float, (unsigned)x << 16); }
