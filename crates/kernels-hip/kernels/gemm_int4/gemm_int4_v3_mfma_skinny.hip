// gemm_int4_v3_mfma_skinny: out[m, n] = sum_k x[m, k] * weight[k, n] + bias[n] for up to 32 rows of x, weights of four
// bits as gemm_int4_v1_naive has them.
//
// Source: reference_cpu::ops::int4_dequantize.
//
// Code object: 16-byte loads, MFMA, 2 waves per SIMD.
//
// Idea: few rows, so weights are read once and are all there is to read; the segments of k are computed side by side.
// Mapping: a work-group of 4 waves makes 64 columns by 32 rows of x; a wave has one segment of k, and four or eight tiles
// of v_mfma_f32_16x16x16. The segments meet in LDS.
// Reduction class: mfma 16x16x16 of q - zero, groups, quarters of k: include/gemm_int4_mfma.h.
// Cost: weights read once, half a byte and a group's part of scale and zero point per 2 * num_rows flops.
// Measured: not on hardware. Executed in the emulator, within reference_cpu's bound, bit-equal to gemm_int4_v2_mfma.
// Lost to: gemm_int4_v2_mfma where there are many rows: weights are read and unpacked again for each 32.

#include <hip/hip_runtime.h>

#include "gemm_int4_mfma.h"

constexpr unsigned NUM_TILES = 2;

// Of each segment, lanes' results by tile.
using Segments = f32x4[NUM_SEGMENTS][NUM_A][NUM_TILES][WAVE_SIZE];

template <typename Format, typename In, unsigned NUM>
__device__ inline void sum_segment(Segments &segments, unsigned segment, const Packed &packed, const short *x,
                                   unsigned long first_row, unsigned num_rows, unsigned first_col,
                                   unsigned in_features) {
    const Int4Wave<Format, In, NUM> wave(packed, x, first_row, num_rows, first_col, in_features);
    const unsigned len = segment_len(in_features);
    const auto sums = wave.segment(segment * len, min(in_features, (segment + 1) * len));
    for (unsigned j = 0; j < NUM_A; ++j) {
        for (unsigned tile = 0; tile < NUM; ++tile) {
            segments[segment][j][tile][threadIdx.x % WAVE_SIZE] = sums.at[j][tile];
        }
    }
}

template <typename Format, typename In, typename Out>
__device__ inline void gemm(typename Out::Bits *__restrict__ out, const short *__restrict__ x, const Packed &packed,
                            const float *__restrict__ bias, unsigned in_features, unsigned num_rows) {
    __shared__ Segments segments;
    const unsigned wave_idx = __builtin_amdgcn_readfirstlane(threadIdx.x / WAVE_SIZE);
    const unsigned lane = threadIdx.x % WAVE_SIZE;
    const unsigned first_col = blockIdx.x * WAVE_COLUMNS;
    const unsigned long first_row = (unsigned long)blockIdx.y * (NUM_TILES * TILE);
    if (num_rows - first_row > TILE) {
        sum_segment<Format, In, NUM_TILES>(segments, wave_idx, packed, x, first_row, num_rows, first_col, in_features);
    } else {
        sum_segment<Format, In, 1>(segments, wave_idx, packed, x, first_row, num_rows, first_col, in_features);
    }
    __syncthreads();

    // A wave stores half of the columns of one tile's lanes.
    const unsigned tile = wave_idx / 2, half = wave_idx % 2;
    const unsigned long row = first_row + tile * TILE + lane % TILE;
    if (row >= num_rows) {
        return;
    }
    for (unsigned i = 0; i < LANE_COLUMNS / 2; ++i) {
        const unsigned j = i % NUM_A, r = half * 2 + i / NUM_A;
        const unsigned col = first_col + lane / TILE * LANE_COLUMNS + r * NUM_A + j;
        float value = segments[0][j][tile][lane][r];
        for (unsigned segment = 1; segment < NUM_SEGMENTS; ++segment) {
            value += segments[segment][j][tile][lane][r];
        }
        if (col < packed.out_features) {
            out[row * packed.out_features + col] = Out::store(bias ? value + bias[col] : value);
        }
    }
}

GEMM_INT4_MFMA_KERNELS(gemm_int4_v3_mfma_skinny)
