// rms_norm_fp8_quantize_v2_registers: as rms_norm_fp8_quantize_v1_naive says what that is.
//
// Idea: a row is read once, 16 bytes at a time, and waits in registers for its mean, and then for its scale.
// Mapping: one work-group of 256 work-items (4 waves) per row; a work-item has every 256th vector of 4 columns, at most
// 16 of them: rows of up to 16384 columns, a multiple of 4.
// Reduction class: include/rms_row.h, that of v1: equal bits.
// Cost: per element 4 bytes of x read (and with a delta 4 more and 4 written), 4 of weight once per row, 1 written.
// Code object: 16-byte loads, 3 waves per SIMD.
// A wave has up to 16 KiB of loads outstanding before it waits; with a delta, then 4 KiB at a time (code object).
// Measured: not on hardware. Executed in the emulator, byte-equal to v1.
// Lost to: nothing yet.

#include <hip/hip_runtime.h>

#include "rms_row.h"
#include "row_registers.h"

using Vector = Raw<float>;

__device__ inline unsigned column_of(unsigned n) { return (threadIdx.x + n * ROW_WORKGROUP) * RMS_V; }

// Adds delta to what is kept of the row, and stores the sums.
__device__ inline void add_delta(Vector *kept, float *x, const float *delta, unsigned hidden_size) {
#pragma unroll
    for (unsigned first = 0; first < NUM_KEPT<RMS_V>; first += BATCH) {
        Vector added[BATCH];
#pragma unroll
        for (unsigned n = 0; n < BATCH; ++n) {
            if (column_of(first + n) < hidden_size) {
                added[n] = load_raw(delta + column_of(first + n));
            }
        }
#pragma unroll
        for (unsigned n = 0; n < BATCH; ++n) {
            if (column_of(first + n) < hidden_size) {
                kept[first + n] += added[n];
                *reinterpret_cast<Vector *>(x + column_of(first + n)) = kept[first + n];
            }
        }
    }
}

// Reads the row, adds delta and stores the sums, and gives this work-item's sum of squares.
__device__ inline float read_row(Vector *kept, float *x, const float *delta, unsigned hidden_size) {
#pragma unroll
    for (unsigned n = 0; n < NUM_KEPT<RMS_V>; ++n) {
        if (column_of(n) < hidden_size) {
            kept[n] = load_raw(x + column_of(n));
        }
    }
    if (delta) {
        add_delta(kept, x, delta, hidden_size);
    }
    float sum = 0.0f;
#pragma unroll
    for (unsigned n = 0; n < NUM_KEPT<RMS_V>; ++n) {
        if (column_of(n) < hidden_size) {
#pragma unroll
            for (unsigned e = 0; e < RMS_V; ++e) {
                sum = fmaf(kept[n][e], kept[n][e], sum);
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
        Vector kept[NUM_KEPT<RMS_V>], weights[NUM_KEPT<RMS_V>];                                                        \
        const float sum = read_row(kept, x + row, delta ? delta + row : nullptr, hidden_size);                         \
        const float inverse = inverse_rms(sum, shared, eps, hidden_size);                                              \
        const auto fetch = [&](unsigned n, unsigned long i) { weights[n] = load_raw(weight + (i - row)); };            \
        const auto values_of = [&](unsigned n, float *values) {                                                        \
            _Pragma("unroll") for (unsigned e = 0; e < RMS_V; ++e) {                                                   \
                values[e] = kept[n][e] * inverse * weights[n][e];                                                      \
            }                                                                                                          \
        };                                                                                                             \
        const KeptRowScales<RMS_V> of_row = {scales, given};                                                           \
        of_row.quantize<Format>(out, row, hidden_size, fetch, values_of);                                              \
    }

RMS_NORM_QUANTIZE(e4m3fnuz, E4M3Fnuz, static, with_given)
RMS_NORM_QUANTIZE(e4m3fnuz, E4M3Fnuz, row, by_row)
RMS_NORM_QUANTIZE(e4m3fnuz, E4M3Fnuz, group, by_group)
RMS_NORM_QUANTIZE(e5m2fnuz, E5M2Fnuz, static, with_given)
RMS_NORM_QUANTIZE(e5m2fnuz, E5M2Fnuz, row, by_row)
RMS_NORM_QUANTIZE(e5m2fnuz, E5M2Fnuz, group, by_group)
