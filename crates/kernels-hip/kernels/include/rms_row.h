// Root mean square normalization of a row for kernels that do more with it.
//
// Reduction class "fours, stride 256, wave butterfly, waves in order": work-item t of 256 sums the squares of columns
// 4t..4t+3 in order, then of 4t + 1024.., and so on; then a butterfly over the wave; then the waves in order. A function
// of the row and its length alone, and one that 16-byte loads can follow.
#pragma once

#include "row_quantize.h"

// Columns of a work-item that are neighbours.
constexpr unsigned RMS_V = 4;

__device__ inline float plus(float a, float b) { return a + b; }

// What each element is multiplied with, from the work-item's sum of squares.
__device__ inline float inverse_rms(float sum, float *shared, float eps, unsigned hidden_size) {
    const float mean = workgroup_reduce<ROW_WORKGROUP / WAVE_SIZE>(sum, shared, plus) / (float)hidden_size;
    return 1.0f / sqrtf(mean + eps);
}
