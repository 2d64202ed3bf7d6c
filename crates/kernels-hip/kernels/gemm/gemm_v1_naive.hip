// gemm_v1_naive: out[t, o] (+)= sum over k of x[t, k] * w[o, k] (+ bias[o]); x and w 16 bits, out f32.
//
// Source: engine_core::ops::Linear.
//
// Idea: the plain port. It takes every shape, those too whose rows do not start on 16 bytes.
// Mapping: one work-item per output element; a work-group is 64 columns by 4 rows.
// Reduction class: k in order, one fused multiply-add each; then the bias, then what was there. A function of the row
// of x, the row of w and K.
// Cost: a column of 64 outputs reads 64 rows of w and one of x: 2 bytes of w per 2 flops.
// Measured: not on hardware. Executed in the emulator, within reference_cpu's bound.
// Lost to: gemm_v2_mfma_lds and gemm_v3_mfma_skinny, which use the matrix unit and load 16 bytes at a time.

#include <hip/hip_runtime.h>

#include "formats.h"

constexpr unsigned COLS = 64;
constexpr unsigned ROWS = 4;

template <typename Format>
__device__ inline void gemm(float *__restrict__ out, const typename Format::Bits *__restrict__ x,
                            const typename Format::Bits *__restrict__ w, const float *__restrict__ bias,
                            unsigned num_rows, unsigned out_features, unsigned in_features, unsigned add_to) {
    const unsigned long col = (unsigned long)blockIdx.x * COLS + threadIdx.x % COLS;
    const unsigned long row = (unsigned long)blockIdx.y * ROWS + threadIdx.x / COLS;
    if (col >= out_features || row >= num_rows) {
        return;
    }
    x += row * in_features;
    w += col * in_features;
    float sum = 0.0f;
    for (unsigned k = 0; k < in_features; ++k) {
        sum = fmaf(Format::load(x[k]), Format::load(w[k]), sum);
    }
    if (bias) {
        sum += bias[col];
    }
    float *at = out + row * out_features + col;
    *at = add_to ? *at + sum : sum;
}

#define GEMM(NAME, Format)                                                                                             \
    extern "C" __global__ void __launch_bounds__(COLS *ROWS) gemm_v1_naive__##NAME(                                    \
        float *__restrict__ out, const Format::Bits *__restrict__ x, const Format::Bits *__restrict__ w,               \
        const float *__restrict__ bias, unsigned num_rows, unsigned out_features, unsigned in_features,                \
        unsigned add_to) {                                                                                             \
        gemm<Format>(out, x, w, bias, num_rows, out_features, in_features, add_to);                                    \
    }

GEMM(bf16, Bf16)
GEMM(f16, F16)
