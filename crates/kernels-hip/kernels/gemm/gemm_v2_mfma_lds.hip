// gemm_v2_mfma_lds: out[t, o] (+)= sum over k of x[t, k] * w[o, k] (+ bias[o]); x and w 16 bits, out f32.
//
// Source: engine_core::ops::Linear. K is a multiple of 8: rows start on 16 bytes.
//
// Code object: 16-byte loads, MFMA, 3 waves per SIMD.
//
// Idea: tiles of x and w go through LDS once and feed 64 x 64 results from there; the next tiles are on their way from
// memory while the matrix unit works on these.
// Mapping: a work-group of 4 waves makes 64 columns (rows of w) by 64 rows (of x), each wave 32 by 32 as 2 x 2 tiles of
// v_mfma_f32_16x16x16, 64 k at a time. Rows of LDS are 72 elements apart: 16 rows 16 bytes wide then fall on all banks.
// Reduction class: mfma 16x16x16, quarters of k: include/gemm_mfma.h.
// Cost: per 64 x 64 results and 64 k, 16 KiB loaded, 64 KiB read from LDS, 128 matrix instructions.
// Measured: not on hardware. Executed in the emulator, within reference_cpu's bound, bit-equal to gemm_v3_mfma_skinny.
// Lost to: gemm_v3_mfma_skinny where there are few rows: most of a tile is then nobody's.

#include <hip/hip_runtime.h>

#include "gemm_mfma.h"
#include "wave.h"

constexpr unsigned WORKGROUP_SIZE = 256;
// Rows of w, and of x, of a work-group; half of it is a wave's.
constexpr unsigned SIDE = 64;
constexpr unsigned STEP = 64;
constexpr unsigned LDS_STRIDE = STEP + LANE_K;
// 16-byte pieces of a row's step, and those of a tile that one work-item moves.
constexpr unsigned PIECES = STEP / LANE_K;
constexpr unsigned MOVES = SIDE * PIECES / WORKGROUP_SIZE;
static_assert(SEGMENT_GRANULE % STEP == 0, "a step lies inside a segment");

// A matrix's next 64 rows by 64 k, on their way from memory to LDS.
struct Mover {
    bits16x8 pieces[MOVES];

    __device__ void load(const short *matrix, unsigned long first_row, unsigned num_rows, unsigned k,
                         unsigned in_features) {
        for (unsigned i = 0; i < MOVES; ++i) {
            const unsigned piece = threadIdx.x + i * WORKGROUP_SIZE;
            // Rows past the end are computed from the last one, and not stored.
            const unsigned long row = min(first_row + piece / PIECES, (unsigned long)num_rows - 1);
            pieces[i] = load_k(matrix + row * in_features, k + piece % PIECES * LANE_K, in_features);
        }
    }

    __device__ void store(short *lds) const {
        for (unsigned i = 0; i < MOVES; ++i) {
            const unsigned piece = threadIdx.x + i * WORKGROUP_SIZE;
            *(bits16x8 *)(lds + piece / PIECES * LDS_STRIDE + piece % PIECES * LANE_K) = pieces[i];
        }
    }
};

// The 2 x 2 tiles of a wave.
struct Tiles {
    f32x4 at[2][2];
};

template <typename Format>
__device__ inline void multiply(Tiles &sums, const short *w, const short *x, unsigned lane) {
    const unsigned place = lane % TILE * LDS_STRIDE + lane / TILE * LANE_K;
    for (unsigned k = 0; k < STEP; k += K_STEP) {
        bits16x8 rows[2][2];
        for (unsigned half = 0; half < 2; ++half) {
            rows[0][half] = *(const bits16x8 *)(w + half * TILE * LDS_STRIDE + place + k);
            rows[1][half] = *(const bits16x8 *)(x + half * TILE * LDS_STRIDE + place + k);
        }
        for (unsigned i = 0; i < 2; ++i) {
            for (unsigned j = 0; j < 2; ++j) {
                sums.at[i][j] = step<Format>(rows[0][i], rows[1][j], sums.at[i][j]);
            }
        }
    }
}

template <typename Format>
__device__ inline void gemm(float *__restrict__ out, const short *__restrict__ x, const short *__restrict__ w,
                            const float *__restrict__ bias, unsigned num_rows, unsigned out_features,
                            unsigned in_features, unsigned add_to) {
    __shared__ __attribute__((aligned(16))) short w_lds[SIDE * LDS_STRIDE];
    __shared__ __attribute__((aligned(16))) short x_lds[SIDE * LDS_STRIDE];
    const unsigned wave = __builtin_amdgcn_readfirstlane(threadIdx.x / WAVE_SIZE);
    const unsigned lane = threadIdx.x % WAVE_SIZE;
    const unsigned w_half = wave / 2 * (SIDE / 2), x_half = wave % 2 * (SIDE / 2);
    const unsigned long first_col = (unsigned long)blockIdx.x * SIDE, first_row = (unsigned long)blockIdx.y * SIDE;
    const unsigned len = segment_len(in_features);

    Mover w_mover, x_mover;
    w_mover.load(w, first_col, out_features, 0, in_features);
    x_mover.load(x, first_row, num_rows, 0, in_features);
    Tiles total = {};
    for (unsigned segment = 0; segment < NUM_SEGMENTS; ++segment) {
        Tiles sums = {};
        const unsigned end = min(in_features, (segment + 1) * len);
        for (unsigned k = segment * len; k < end; k += STEP) {
            // Nobody still reads the tiles before.
            __syncthreads();
            w_mover.store(w_lds);
            x_mover.store(x_lds);
            __syncthreads();
            w_mover.load(w, first_col, out_features, k + STEP, in_features);
            x_mover.load(x, first_row, num_rows, k + STEP, in_features);
            multiply<Format>(sums, w_lds + w_half * LDS_STRIDE, x_lds + x_half * LDS_STRIDE, lane);
        }
        for (unsigned i = 0; i < 2; ++i) {
            for (unsigned j = 0; j < 2; ++j) {
                total.at[i][j] = segment == 0 ? sums.at[i][j] : total.at[i][j] + sums.at[i][j];
            }
        }
    }

    for (unsigned i = 0; i < 2; ++i) {
        const unsigned long col = first_col + w_half + i * TILE + lane / TILE * 4;
        for (unsigned j = 0; j < 2; ++j) {
            const unsigned long row = first_row + x_half + j * TILE + lane % TILE;
            for (unsigned r = 0; r < 4; ++r) {
                if (row < num_rows && col + r < out_features) {
                    float *at = out + row * out_features + col + r;
                    const float value = bias ? total.at[i][j][r] + bias[col + r] : total.at[i][j][r];
                    *at = add_to ? *at + value : value;
                }
            }
        }
    }
}

#define GEMM(NAME, Format)                                                                                             \
    extern "C" __global__ void __launch_bounds__(WORKGROUP_SIZE) gemm_v2_mfma_lds__##NAME(                             \
        float *__restrict__ out, const short *__restrict__ x, const short *__restrict__ w,                             \
        const float *__restrict__ bias, unsigned num_rows, unsigned out_features, unsigned in_features,                \
        unsigned add_to) {                                                                                             \
        gemm<Format>(out, x, w, bias, num_rows, out_features, in_features, add_to);                                    \
    }

GEMM(bf16, Bf16)
GEMM(f16, F16)
