// A row of numbers, each a function of its column, to FP8: the plain way, one element at a time, computed again where
// it is needed again. Fused kernels differ in the function alone.
//
//   static scale:  out = fp8(value / scale)
//   row scale:     scale = fp8_scale(max|value|) of the row
//   group scales:  the same for each SCALE_GROUP columns; the last group of a row may be shorter
//
// Divisions are correctly rounded, and a maximum has no order: whoever computes the same values writes the same bytes.
#pragma once

#include <hip/hip_runtime.h>

#include "fp8_fnuz.h"
#include "wave.h"

constexpr unsigned SCALE_GROUP = 128;
// Of the kernels that quantize rows, one work-group a row.
constexpr unsigned ROW_WORKGROUP = 256;

__device__ inline float larger_of(float a, float b) { return fmaxf(a, b); }

template <typename Format, typename Value>
__device__ inline void quantize_static(unsigned char *out, float scale, unsigned num_cols, Value value) {
    for (unsigned i = threadIdx.x; i < num_cols; i += ROW_WORKGROUP) {
        out[i] = to_fp8<Format>(value(i) / scale);
    }
}

template <typename Format, typename Value>
__device__ inline void quantize_row(unsigned char *out, float *row_scale, unsigned num_cols, Value value) {
    __shared__ float shared[ROW_WORKGROUP / WAVE_SIZE];
    float maximum = 0.0f;
    for (unsigned i = threadIdx.x; i < num_cols; i += ROW_WORKGROUP) {
        // fmaxf leaves NaN out.
        maximum = fmaxf(maximum, fabsf(value(i)));
    }
    const float scale = fp8_scale<Format>(workgroup_reduce<ROW_WORKGROUP / WAVE_SIZE>(maximum, shared, larger_of));
    if (threadIdx.x == 0) {
        *row_scale = scale;
    }
    quantize_static<Format>(out, scale, num_cols, value);
}

// A wave takes a group at a time.
template <typename Format, typename Value>
__device__ inline void quantize_groups(unsigned char *out, float *group_scales, unsigned num_cols, Value value) {
    const unsigned lane = threadIdx.x % WAVE_SIZE;
    const unsigned num_groups = (num_cols + SCALE_GROUP - 1) / SCALE_GROUP;
    for (unsigned group = threadIdx.x / WAVE_SIZE; group < num_groups; group += ROW_WORKGROUP / WAVE_SIZE) {
        const unsigned end = num_cols - group * SCALE_GROUP < SCALE_GROUP ? num_cols : (group + 1) * SCALE_GROUP;
        float maximum = 0.0f;
        for (unsigned i = group * SCALE_GROUP + lane; i < end; i += WAVE_SIZE) {
            maximum = fmaxf(maximum, fabsf(value(i)));
        }
        const float scale = fp8_scale<Format>(wave_reduce(maximum, larger_of));
        if (lane == 0) {
            group_scales[group] = scale;
        }
        for (unsigned i = group * SCALE_GROUP + lane; i < end; i += WAVE_SIZE) {
            out[i] = to_fp8<Format>(value(i) / scale);
        }
    }
}

// The scales of a fused kernel's row, whichever they are.
struct RowScales {
    float *made;
    float given;

    template <typename Format, typename Value>
    __device__ void with_given(unsigned char *out, unsigned num_cols, Value value) const {
        quantize_static<Format>(out, given, num_cols, value);
    }

    template <typename Format, typename Value>
    __device__ void by_row(unsigned char *out, unsigned num_cols, Value value) const {
        quantize_row<Format>(out, made + blockIdx.x, num_cols, value);
    }

    template <typename Format, typename Value>
    __device__ void by_group(unsigned char *out, unsigned num_cols, Value value) const {
        const unsigned num_groups = (num_cols + SCALE_GROUP - 1) / SCALE_GROUP;
        quantize_groups<Format>(out, made + (unsigned long)blockIdx.x * num_groups, num_cols, value);
    }
};
