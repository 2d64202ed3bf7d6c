// gemm_v3_mfma_skinny: out[t, o] (+)= sum over k of x[t, k] * w[o, k] (+ bias[o]) for up to 32 rows of x; x and w 16
// bits, out f32.
//
// Source: engine_core::ops::Linear. K is a multiple of 8: rows start on 16 bytes.
//
// Code object: 16-byte loads, MFMA, 8 waves per SIMD.
//
// Idea: few rows, so w is read once and is all there is to read. It goes from memory straight into the matrix unit, and
// the segments of k are computed side by side.
// Mapping: a work-group of 4 waves makes 16 columns (rows of w) by 32 rows (of x); a wave has one segment of k, and one
// or two tiles of v_mfma_f32_16x16x16. The segments meet in LDS.
// Reduction class: mfma 16x16x16, quarters of k: include/gemm_mfma.h.
// Cost: w read once, 2 bytes per 2 * num_rows flops; x read once per 16 columns, from the caches.
// Measured: not on hardware. Executed in the emulator, within reference_cpu's bound, bit-equal to gemm_v2_mfma_lds.
// Lost to: gemm_v2_mfma_lds where there are many rows: w is read again for each 32.

#include <hip/hip_runtime.h>

#include "gemm_mfma.h"
#include "wave.h"

constexpr unsigned WORKGROUP_SIZE = NUM_SEGMENTS * WAVE_SIZE;
constexpr unsigned NUM_TILES = 2;
constexpr unsigned TILE_LEN = TILE * TILE;
static_assert(WORKGROUP_SIZE == TILE_LEN, "each work-item stores one element of a tile");

// One segment of k of the first `num_tiles` tiles, 64 k at a time so that several loads are on their way.
template <typename Format, unsigned NUM>
__device__ inline void sum_segment(f32x4 *sums, const short *w_row, const short *const *x_rows, unsigned begin,
                                   unsigned end, unsigned lane_k, unsigned in_features) {
    constexpr unsigned STEPS = SEGMENT_GRANULE / K_STEP;
    for (unsigned k = begin; k < end; k += SEGMENT_GRANULE) {
        bits16x8 weights[STEPS], rows[STEPS][NUM];
        for (unsigned i = 0; i < STEPS; ++i) {
            weights[i] = load_k(w_row, k + i * K_STEP + lane_k, in_features);
            for (unsigned tile = 0; tile < NUM; ++tile) {
                rows[i][tile] = load_k(x_rows[tile], k + i * K_STEP + lane_k, in_features);
            }
        }
        for (unsigned i = 0; i < STEPS; ++i) {
            for (unsigned tile = 0; tile < NUM; ++tile) {
                sums[tile] = step<Format>(weights[i], rows[i][tile], sums[tile]);
            }
        }
    }
}

template <typename Format>
__device__ inline void gemm(float *__restrict__ out, const short *__restrict__ x, const short *__restrict__ w,
                            const float *__restrict__ bias, unsigned num_rows, unsigned out_features,
                            unsigned in_features, unsigned add_to) {
    __shared__ __attribute__((aligned(16))) float segments[NUM_SEGMENTS][NUM_TILES][TILE_LEN];
    const unsigned segment = __builtin_amdgcn_readfirstlane(threadIdx.x / WAVE_SIZE);
    const unsigned lane = threadIdx.x % WAVE_SIZE;
    const unsigned long first_col = (unsigned long)blockIdx.x * TILE;
    const unsigned long first_row = (unsigned long)blockIdx.y * (NUM_TILES * TILE);

    // Rows past the end are computed from the last one, and not stored.
    const short *w_row = w + min(first_col + lane % TILE, (unsigned long)out_features - 1) * in_features;
    const short *x_rows[NUM_TILES];
    for (unsigned tile = 0; tile < NUM_TILES; ++tile) {
        x_rows[tile] = x + min(first_row + tile * TILE + lane % TILE, (unsigned long)num_rows - 1) * in_features;
    }
    f32x4 sums[NUM_TILES] = {};
    const unsigned begin = segment * segment_len(in_features);
    const unsigned end = min(in_features, begin + segment_len(in_features));
    const unsigned lane_k = lane / TILE * LANE_K;
    if (num_rows - first_row > TILE) {
        sum_segment<Format, NUM_TILES>(sums, w_row, x_rows, begin, end, lane_k, in_features);
    } else {
        sum_segment<Format, 1>(sums, w_row, x_rows, begin, end, lane_k, in_features);
    }
    for (unsigned tile = 0; tile < NUM_TILES; ++tile) {
        *(f32x4 *)(segments[segment][tile] + lane % TILE * TILE + lane / TILE * 4) = sums[tile];
    }
    __syncthreads();

    const unsigned long col = first_col + threadIdx.x % TILE;
    for (unsigned tile = 0; tile < NUM_TILES; ++tile) {
        const unsigned long row = first_row + tile * TILE + threadIdx.x / TILE;
        if (row >= num_rows || col >= out_features) {
            return;
        }
        float value = segments[0][tile][threadIdx.x];
        for (unsigned i = 1; i < NUM_SEGMENTS; ++i) {
            value += segments[i][tile][threadIdx.x];
        }
        if (bias) {
            value += bias[col];
        }
        float *at = out + row * out_features + col;
        *at = add_to ? *at + value : value;
    }
}

#define GEMM(NAME, Format)                                                                                             \
    extern "C" __global__ void __launch_bounds__(WORKGROUP_SIZE) gemm_v3_mfma_skinny__##NAME(                          \
        float *__restrict__ out, const short *__restrict__ x, const short *__restrict__ w,                             \
        const float *__restrict__ bias, unsigned num_rows, unsigned out_features, unsigned in_features,                \
        unsigned add_to) {                                                                                             \
        gemm<Format>(out, x, w, bias, num_rows, out_features, in_features, add_to);                                    \
    }

GEMM(bf16, Bf16)
GEMM(f16, F16)
