// Storage formats as types: `Bits` is what lies in memory, `store` rounds an f32 to it, `load` widens it.
//
// All round to nearest, ties to even, once. What FP8 does with NaN, infinities and large values stands in fp8_fnuz.h.
#pragma once

#include <hip/hip_runtime.h>

#include "bf16.h"
#include "fp8_fnuz.h"

struct F32 {
    using Bits = float;
    __device__ static Bits store(float x) { return x; }
    __device__ static float load(Bits x) { return x; }
};

struct Bf16 {
    using Bits = bf16_bits;
    __device__ static Bits store(float x) { return to_bf16(x); }
    __device__ static float load(Bits x) { return ::load(x); }
};

struct F16 {
    using Bits = _Float16;
    __device__ static Bits store(float x) { return (_Float16)x; }
    __device__ static float load(Bits x) { return (float)x; }
};

template <typename Format> struct Fp8 {
    using Bits = unsigned char;
    static constexpr float MAX = Format::MAX;
    __device__ static Bits store(float x) { return to_fp8<Format>(x); }
    __device__ static float load(Bits x) { return Format::widen(x); }
};

using Fp8E4m3 = Fp8<E4M3Fnuz>;
using Fp8E5m2 = Fp8<E5M2Fnuz>;
