// What the matrix-unit GEMMs share: one reduction class, and the way of operands into the matrix instruction.
//
// Reduction class "mfma 16x16x16, quarters of k":
//   - k is cut into four segments, each a quarter rounded up to 64: a function of K alone. The last ones may be empty.
//   - A segment is summed by v_mfma_f32_16x16x16 from zero, 32 k at a time in order. Two instructions take 32: the
//     first has k = 8g + 0..3 of each group g = 0..3, the second k = 8g + 4..7, so that a lane's 16 bytes of a row feed
//     both. Past K both operands are zero.
//   - Segments are added in order: ((s0 + s1) + s2) + s3; then the bias, then what was there.
// Which rows share a tile, and who computes a segment, does not enter.
#pragma once

#include <hip/hip_runtime.h>

#include "formats.h"

template <typename T, int N> using Vec = T __attribute__((ext_vector_type(N)));
using f32x4 = Vec<float, 4>;
using bits16x4 = Vec<short, 4>;
// What one lane loads at a time: 16 bytes, 8 elements.
using bits16x8 = Vec<short, 8>;

constexpr unsigned NUM_SEGMENTS = 4;
constexpr unsigned SEGMENT_GRANULE = 64;
// k of two matrix instructions.
constexpr unsigned K_STEP = 32;
// Elements that a lane loads at a time.
constexpr unsigned LANE_K = 8;
// Rows and columns of a matrix instruction's result.
constexpr unsigned TILE = 16;

__device__ inline unsigned segment_len(unsigned in_features) {
    constexpr unsigned ALL = NUM_SEGMENTS * SEGMENT_GRANULE;
    return (in_features + ALL - 1) / ALL * SEGMENT_GRANULE;
}

__device__ inline f32x4 matrix_multiply_add(Bf16, bits16x4 a, bits16x4 b, f32x4 c) {
    return __builtin_amdgcn_mfma_f32_16x16x16bf16_1k(a, b, c, 0, 0, 0);
}

__device__ inline f32x4 matrix_multiply_add(F16, bits16x4 a, bits16x4 b, f32x4 c) {
    using f16x4 = Vec<_Float16, 4>;
    return __builtin_amdgcn_mfma_f32_16x16x16f16(__builtin_bit_cast(f16x4, a), __builtin_bit_cast(f16x4, b), c, 0, 0, 0);
}

// 32 k of 16 rows of w (rows of the result) and 16 of x (its columns). A lane holds k = 8 * (lane / 16) + 0..7 of row
// lane % 16 of either; of the result it holds rows 4 * (lane / 16) + 0..3 of column lane % 16.
template <typename Format> __device__ inline f32x4 step(bits16x8 w, bits16x8 x, f32x4 sum) {
    sum = matrix_multiply_add(Format{}, w.lo, x.lo, sum);
    return matrix_multiply_add(Format{}, w.hi, x.hi, sum);
}

// Eight elements of a row from k on; zeros past its end. Rows start on 16 bytes, so no load is cut.
__device__ inline bits16x8 load_k(const void *row, unsigned k, unsigned in_features) {
    return k < in_features ? *(const bits16x8 *)((const short *)row + k) : bits16x8{};
}
