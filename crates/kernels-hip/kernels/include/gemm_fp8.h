// What the FP8 GEMMs share: their arguments, and which kernels there are.
#pragma once

#include <hip/hip_runtime.h>

#include "formats.h"

// Rows and columns of a block of weights that share a scale, and columns of a row of x that do.
constexpr unsigned SCALE_BLOCK = 128;

struct GemmFp8 {
    const unsigned char *__restrict__ x;
    const unsigned char *__restrict__ weight;
    const float *__restrict__ x_scales;
    const float *__restrict__ weight_scales;
    const float *__restrict__ bias;
    unsigned num_rows;
    unsigned out_features;
    unsigned in_features;

    __device__ unsigned num_blocks() const { return (in_features + SCALE_BLOCK - 1) / SCALE_BLOCK; }
    __device__ float with_bias(float sum, unsigned n) const { return bias ? sum + bias[n] : sum; }
};

#define GEMM_FP8_PARAMETERS                                                                                            \
    const unsigned char *__restrict__ x, const unsigned char *__restrict__ weight, const float *__restrict__ x_scales, \
        const float *__restrict__ weight_scales, const float *__restrict__ bias, unsigned num_rows,                    \
        unsigned out_features, unsigned in_features

#define GEMM_FP8_ARGUMENTS GemmFp8{x, weight, x_scales, weight_scales, bias, num_rows, out_features, in_features}

#define GEMM_FP8_KERNELS(KERNEL)                                                                                       \
    KERNEL(f32, F32, row, false)                                                                                       \
    KERNEL(f32, F32, block, true)                                                                                      \
    KERNEL(bf16, Bf16, row, false)                                                                                     \
    KERNEL(bf16, Bf16, block, true)                                                                                    \
    KERNEL(f16, F16, row, false)                                                                                       \
    KERNEL(f16, F16, block, true)
