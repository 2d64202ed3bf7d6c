// rms_norm_fp8_quantize_v2_registers: as rms_norm_fp8_quantize_v1_naive says what that is.
//
// Idea: a row is read once, 16 bytes at a time, and waits in registers for its mean, and then for its scale.
// Mapping: one work-group of 256 work-items (4 waves) per row; a work-item has every 256th vector of 4 columns, at most
// 16 of them: rows of up to 16384 columns, a multiple of 4.
// Reduction class: include/rms_row.h, that of v1: equal bits.
// Cost: per element 4 bytes of x read (and with a delta 4 more and 4 written), 4 of weight once per row, 1 written.
// Code object: 16-byte loads, 4 waves per SIMD.
// Measured: not on hardware. Executed in the emulator, byte-equal to v1.
// Lost to: nothing yet.

#include <hip/hip_runtime.h>

#include "rms_row.h"
#include "row_registers.h"

// Reads the row, adds delta and stores the sums, and gives this work-item's sum of squares.
__device__ inline float read_row(float kept[][RMS_V], float *x, const float *delta, unsigned hidden_size) {
    using Vector = Vec<float, RMS_V>;
    float sum = 0.0f;
#pragma unroll
    for (unsigned n = 0; n < NUM_KEPT<RMS_V>; ++n) {
        const unsigned i = (threadIdx.x + n * ROW_WORKGROUP) * RMS_V;
        if (i < hidden_size) {
            Vector vector = *reinterpret_cast<const Vector *>(x + i);
            if (delta) {
                vector += *reinterpret_cast<const Vector *>(delta + i);
                *reinterpret_cast<Vector *>(x + i) = vector;
            }
#pragma unroll
            for (unsigned e = 0; e < RMS_V; ++e) {
                kept[n][e] = vector[e];
                sum = fmaf(vector[e], vector[e], sum);
            }
        }
    }
    return sum;
}

#define RMS_NORM_QUANTIZE(FORMAT_NAME, Format, SCALING, quantize)                                                      \
    extern "C" __global__ void __launch_bounds__(ROW_WORKGROUP)                                                        \
    rms_norm_fp8_quantize_v2_registers__##FORMAT_NAME##_##SCALING(                                                     \
        unsigned char *__restrict__ out, float *__restrict__ scales, float given, float *__restrict__ x,               \
        const float *__restrict__ delta, const float *__restrict__ weight, float eps, unsigned hidden_size) {          \
        __shared__ float shared[ROW_WORKGROUP / WAVE_SIZE];                                                            \
        const unsigned long row = (unsigned long)blockIdx.x * hidden_size;                                             \
        float kept[NUM_KEPT<RMS_V>][RMS_V];                                                                            \
        const float sum = read_row(kept, x + row, delta ? delta + row : nullptr, hidden_size);                         \
        const float inverse = inverse_rms(sum, shared, eps, hidden_size);                                              \
        const auto values_of = [&](unsigned n, unsigned long i, float *values) {                                       \
            load_vector(values, weight + (i - row));                                                                   \
            _Pragma("unroll") for (unsigned e = 0; e < RMS_V; ++e) { values[e] = kept[n][e] * inverse * values[e]; }   \
        };                                                                                                             \
        const KeptRowScales<RMS_V> of_row = {scales, given};                                                           \
        of_row.quantize<Format>(out, row, hidden_size, values_of);                                                     \
    }

RMS_NORM_QUANTIZE(e4m3fnuz, E4M3Fnuz, static, with_given)
RMS_NORM_QUANTIZE(e4m3fnuz, E4M3Fnuz, row, by_row)
RMS_NORM_QUANTIZE(e4m3fnuz, E4M3Fnuz, group, by_group)
RMS_NORM_QUANTIZE(e5m2fnuz, E5M2Fnuz, static, with_given)
RMS_NORM_QUANTIZE(e5m2fnuz, E5M2Fnuz, row, by_row)
RMS_NORM_QUANTIZE(e5m2fnuz, E5M2Fnuz, group, by_group)
