// fp8_quantize_v1_naive: rows of f32 or bf16 to e4m3fnuz or e5m2fnuz.
//
//   static scale:   out = fp8(x / scale),  one scale for all
//   row scale:      scale[row] = max|x[row]| / MAX, out = fp8(x / scale[row])
//
// The rule for NaN, infinities, overflow and rows of zeros is written down at reference_cpu::ops::fp8_quantize and in
// include/fp8_fnuz.h. In short: NaN stays NaN and does not count for the row's maximum; infinity counts as the
// largest f32; a row without a finite non-zero value has scale 1; a scale is never below 2^-126.
//
// Idea: the plain port. One division per element, correctly rounded, so that the bytes are those of the oracle.
// Mapping: one work-group of 256 work-items (4 waves) per row; work-items stride over the row.
// Cost: 4 (f32) or 2 (bf16) bytes read per element, twice with a row scale, and 1 written.
// Measured: not on hardware. Executed in the emulator, byte-equal to the oracle.
// Lost to: nothing yet. It reads rows twice and one element at a time; a variant that keeps the row in registers and
// loads 16 bytes at a time would not.

#include <hip/hip_runtime.h>

#include "bf16.h"
#include "fp8_fnuz.h"
#include "wave.h"

constexpr int WORKGROUP_SIZE = 256;
constexpr int NUM_WAVES = WORKGROUP_SIZE / WAVE_SIZE;

template <typename Format, typename In>
__device__ inline void quantize_row(unsigned char *out, const In *x, float scale, unsigned num_cols) {
    for (unsigned i = threadIdx.x; i < num_cols; i += WORKGROUP_SIZE) {
        out[i] = to_fp8<Format>(load(x[i]) / scale);
    }
}

template <typename In> __device__ inline float row_maximum(const In *x, unsigned num_cols) {
    __shared__ float shared[NUM_WAVES];
    const auto larger = [](float a, float b) { return fmaxf(a, b); };
    float maximum = 0.0f;
    for (unsigned i = threadIdx.x; i < num_cols; i += WORKGROUP_SIZE) {
        // fmaxf leaves NaN out.
        maximum = fmaxf(maximum, fabsf(load(x[i])));
    }
    return workgroup_reduce<NUM_WAVES>(maximum, shared, larger);
}

#define STATIC_SCALE(IN_NAME, In, FORMAT_NAME, Format)                                                                 \
    extern "C" __global__ void __launch_bounds__(WORKGROUP_SIZE)                                                       \
    fp8_quantize_v1_naive__##IN_NAME##_##FORMAT_NAME##_static(unsigned char *__restrict__ out,                         \
                                                              const In *__restrict__ x, float scale,                   \
                                                              unsigned num_cols) {                                     \
        const unsigned long row = (unsigned long)blockIdx.x * num_cols;                                                \
        quantize_row<Format>(out + row, x + row, scale, num_cols);                                                     \
    }

#define ROW_SCALE(IN_NAME, In, FORMAT_NAME, Format)                                                                    \
    extern "C" __global__ void __launch_bounds__(WORKGROUP_SIZE)                                                       \
    fp8_quantize_v1_naive__##IN_NAME##_##FORMAT_NAME##_row(unsigned char *__restrict__ out,                            \
                                                           float *__restrict__ scales, const In *__restrict__ x,       \
                                                           unsigned num_cols) {                                        \
        const unsigned long row = (unsigned long)blockIdx.x * num_cols;                                                \
        const float scale = fp8_scale<Format>(row_maximum(x + row, num_cols));                                         \
        if (threadIdx.x == 0) {                                                                                        \
            scales[blockIdx.x] = scale;                                                                                \
        }                                                                                                              \
        quantize_row<Format>(out + row, x + row, scale, num_cols);                                                     \
    }

STATIC_SCALE(f32, float, e4m3fnuz, E4M3Fnuz)
STATIC_SCALE(f32, float, e5m2fnuz, E5M2Fnuz)
STATIC_SCALE(bf16, bf16_bits, e4m3fnuz, E4M3Fnuz)
STATIC_SCALE(bf16, bf16_bits, e5m2fnuz, E5M2Fnuz)
ROW_SCALE(f32, float, e4m3fnuz, E4M3Fnuz)
ROW_SCALE(f32, float, e5m2fnuz, E5M2Fnuz)
ROW_SCALE(bf16, bf16_bits, e4m3fnuz, E4M3Fnuz)
ROW_SCALE(bf16, bf16_bits, e5m2fnuz, E5M2Fnuz)
