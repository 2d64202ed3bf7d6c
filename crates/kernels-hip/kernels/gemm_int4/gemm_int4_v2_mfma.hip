// gemm_int4_v2_mfma: out[m, n] = sum_k x[m, k] * weight[k, n] + bias[n], weights of four bits as gemm_int4_v1_naive has
// them.
//
// Source: reference_cpu::ops::int4_dequantize.
//
// Code object: 16-byte loads, MFMA, 1 wave per SIMD.
//
// Idea: four-bit weights go straight from memory to the registers of the wave that multiplies with them, become 16-bit
// integers there, q less its zero point, and meet their scale only where a group ends: four instructions for a group
// of 16 x 16 sums. So they are unpacked once per 64 rows of x, and nothing but sums is rounded.
// Mapping: a work-group of 4 waves makes 256 columns by 64 rows of x, each wave 64 by 64 as 4 x 4 tiles of
// v_mfma_f32_16x16x16, 32 k at a time, the next of which are on their way. The waves read the same rows of x, which the
// first of them brings to the compute unit's L1.
// Reduction class: mfma 16x16x16 of q - zero, groups, quarters of k: include/gemm_int4_mfma.h.
// Cost: per 64 x 64 results and 32 k, 1 KiB of weights and 4 KiB of x loaded, 32 matrix instructions a wave.
// Measured: not on hardware. Executed in the emulator, within reference_cpu's bound, bit-equal to
// gemm_int4_v3_mfma_skinny.
// Lost to: gemm_int4_v3_mfma_skinny where there are few rows: most of a tile is then nobody's.

#include <hip/hip_runtime.h>

#include "gemm_int4_mfma.h"

constexpr unsigned NUM_WAVES = 4, NUM_TILES = 4;

template <typename Format, typename In, typename Out>
__device__ inline void gemm(typename Out::Bits *__restrict__ out, const short *__restrict__ x, const Packed &packed,
                            const float *__restrict__ bias, unsigned in_features, unsigned num_rows) {
    const unsigned wave_idx = __builtin_amdgcn_readfirstlane(threadIdx.x / WAVE_SIZE);
    const unsigned first_col = (blockIdx.x * NUM_WAVES + wave_idx) * WAVE_COLUMNS;
    const unsigned long first_row = (unsigned long)blockIdx.y * (NUM_TILES * TILE);
    if (first_col >= packed.out_features) {
        return;
    }
    using Wave = Int4Wave<Format, In, NUM_TILES>;
    const Wave wave(packed, x, first_row, num_rows, first_col, in_features);
    const unsigned len = segment_len(in_features);
    typename Wave::Sums total = {};
    for (unsigned segment = 0; segment < NUM_SEGMENTS; ++segment) {
        const auto sums = wave.segment(segment * len, min(in_features, (segment + 1) * len));
        for (unsigned j = 0; j < NUM_A; ++j) {
            for (unsigned tile = 0; tile < NUM_TILES; ++tile) {
                total.at[j][tile] = segment == 0 ? sums.at[j][tile] : total.at[j][tile] + sums.at[j][tile];
            }
        }
    }
    for (unsigned tile = 0; tile < NUM_TILES; ++tile) {
        const unsigned long row = first_row + tile * TILE + threadIdx.x % TILE;
        for (unsigned i = 0; i < LANE_COLUMNS; ++i) {
            const unsigned col = wave.result_col + i;
            if (row < num_rows && col < packed.out_features) {
                const float value = total.at[i % NUM_A][tile][i / NUM_A];
                out[row * packed.out_features + col] = Out::store(bias ? value + bias[col] : value);
            }
        }
    }
}

GEMM_INT4_MFMA_KERNELS(gemm_int4_v2_mfma)
