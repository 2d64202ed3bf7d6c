// gemm_v4_ping_pong: out[t, o] (+)= sum over k of x[t, k] * w[o, k] (+ bias[o]); x and w 16 bits, out f32.
//
// Source: engine_core::ops::Linear. K is a multiple of 8: rows start on 16 bytes.
//
// Code object: 16-byte loads, MFMA, 2 waves per SIMD.
//
// Idea: a SIMD has a wave of each of two groups. While one group has the matrix unit, the other fetches: its operands
// from LDS, and for all of the work-group a part of the tiles after next. A barrier turns them round. Tiles of a die's
// work-groups are neighbours, so that its L2 is asked for the same rows of w and x again and again.
// Mapping: a work-group of 8 waves makes 128 columns (rows of w) by 128 rows (of x), each wave 32 by 64 as 2 x 4 tiles of
// v_mfma_f32_16x16x16, 64 k at a time. LDS has two of each tile; of row r the 16-byte piece p lies where p ^ r % 8 would,
// so that 8 rows fall on all banks.
// Reduction class: mfma 16x16x16, quarters of k: include/gemm_mfma.h.
// Cost: per 128 x 128 results and 64 k, 32 KiB loaded, 96 KiB read from LDS (768 cycles of 128 bytes), 256 matrix
// instructions (1024 cycles of each SIMD).
// Measured: not on hardware. Executed in the emulator, bit-equal to gemm_v2_mfma_lds.
// Lost to: gemm_v2_mfma_lds where its larger tiles would leave compute units without work.

#include <hip/hip_runtime.h>

#include "gemm_mfma.h"
#include "wave.h"

constexpr unsigned WORKGROUP_SIZE = 512;
constexpr unsigned GROUP_SIZE = WORKGROUP_SIZE / 2;
// Rows of w, and of x, of a work-group.
constexpr unsigned SIDE = 128;
constexpr unsigned STEP = 64;
// 16-byte pieces of a row's step, and those of a tile that one work-item moves.
constexpr unsigned PIECES = STEP / LANE_K;
constexpr unsigned MOVES = SIDE * PIECES / GROUP_SIZE;
static_assert(SEGMENT_GRANULE % STEP == 0, "a step lies inside a segment");
// Tiles of a wave.
constexpr unsigned W_TILES = 2, X_TILES = 4;
constexpr unsigned NUM_XCDS = 8;
// Rows of tiles that are neighbours on a die.
constexpr unsigned BAND = 4;

struct LdsTile {
    bits16x8 at[SIDE * PIECES];
    __device__ static unsigned place(unsigned row, unsigned piece) { return row * PIECES + (piece ^ row % PIECES); }
};

// A group's matrix, w or x: its next 128 rows by 64 k, on their way from memory to LDS.
struct Mover {
    const short *rows[MOVES];
    bits16x8 pieces[MOVES];

    __device__ Mover(const short *matrix, unsigned long first_row, unsigned num_rows, unsigned in_features) {
        for (unsigned i = 0; i < MOVES; ++i) {
            // Rows past the end are computed from the last one, and not stored.
            const unsigned long row = min(first_row + item(i) / PIECES, (unsigned long)num_rows - 1);
            rows[i] = matrix + row * in_features;
        }
    }

    __device__ static unsigned item(unsigned i) { return threadIdx.x % GROUP_SIZE + i * GROUP_SIZE; }

    __device__ void load(unsigned k, unsigned in_features) {
        for (unsigned i = 0; i < MOVES; ++i) {
            pieces[i] = load_k(rows[i], k + item(i) % PIECES * LANE_K, in_features);
        }
    }

    __device__ void store(LdsTile &to) const {
        for (unsigned i = 0; i < MOVES; ++i) {
            to.at[LdsTile::place(item(i) / PIECES, item(i) % PIECES)] = pieces[i];
        }
    }
};

struct Tiles {
    f32x4 at[W_TILES][X_TILES] = {};
};

// What a wave multiplies in a turn.
struct Operands {
    bits16x8 w[STEP / K_STEP][W_TILES], x[STEP / K_STEP][X_TILES];

    __device__ void load(const LdsTile &from_w, const LdsTile &from_x, unsigned w_row, unsigned x_row, unsigned lane) {
        for (unsigned half = 0; half < STEP / K_STEP; ++half) {
            const unsigned piece = half * (K_STEP / LANE_K) + lane / TILE;
            for (unsigned i = 0; i < W_TILES; ++i) {
                w[half][i] = from_w.at[LdsTile::place(w_row + i * TILE + lane % TILE, piece)];
            }
            for (unsigned i = 0; i < X_TILES; ++i) {
                x[half][i] = from_x.at[LdsTile::place(x_row + i * TILE + lane % TILE, piece)];
            }
        }
    }

    template <typename Format> __device__ void multiply(Tiles &sums) const {
        for (unsigned half = 0; half < STEP / K_STEP; ++half) {
            for (unsigned i = 0; i < W_TILES; ++i) {
                for (unsigned j = 0; j < X_TILES; ++j) {
                    sums.at[i][j] = step<Format>(w[half][i], x[half][j], sums.at[i][j]);
                }
            }
        }
    }
};

// The end of a segment: it is added to those before.
__device__ inline void add_segment(Tiles &total, Tiles &sums, bool is_first) {
    for (unsigned i = 0; i < W_TILES; ++i) {
        for (unsigned j = 0; j < X_TILES; ++j) {
            total.at[i][j] = is_first ? sums.at[i][j] : total.at[i][j] + sums.at[i][j];
        }
    }
    sums = Tiles();
}

// The column and row of tiles of a work-group. They are dealt to the dies one by one; each die has a piece of the list in
// which the tiles of a column of a band of rows follow each other.
struct Place {
    unsigned col, row;
    __device__ Place(unsigned idx, unsigned num_cols, unsigned num_rows) {
        const unsigned num = num_cols * num_rows, die = idx % NUM_XCDS;
        const unsigned at = die * (num / NUM_XCDS) + min(die, num % NUM_XCDS) + idx / NUM_XCDS;
        const unsigned band = at / (BAND * num_cols), first_row = band * BAND;
        const unsigned height = min(BAND, num_rows - first_row), in_band = at - first_row * num_cols;
        col = in_band / height;
        row = first_row + in_band % height;
    }
};

__device__ inline void meet() {
    __builtin_amdgcn_sched_barrier(0);
    __syncthreads();
    __builtin_amdgcn_sched_barrier(0);
}

template <typename Format>
__device__ inline void gemm(float *__restrict__ out, const short *__restrict__ x, const short *__restrict__ w,
                            const float *__restrict__ bias, unsigned num_rows, unsigned out_features,
                            unsigned in_features, unsigned add_to) {
    __shared__ LdsTile lds[2][2];
    const unsigned wave = __builtin_amdgcn_readfirstlane(threadIdx.x / WAVE_SIZE);
    const unsigned lane = threadIdx.x % WAVE_SIZE;
    // The first group moves w, the second x.
    const unsigned group = wave / (GROUP_SIZE / WAVE_SIZE);
    const unsigned w_row = wave % 4 * (W_TILES * TILE), x_row = wave / 4 * (X_TILES * TILE);
    const Place place(blockIdx.x, (out_features + SIDE - 1) / SIDE, (num_rows + SIDE - 1) / SIDE);
    const unsigned long first_col = (unsigned long)place.col * SIDE, first_row = (unsigned long)place.row * SIDE;

    Mover mover(group == 0 ? w : x, group == 0 ? first_col : first_row, group == 0 ? out_features : num_rows,
                in_features);
    mover.load(0, in_features);
    mover.store(lds[0][group]);
    mover.load(STEP, in_features);
    meet();
    const unsigned len = segment_len(in_features);
    const int num_turns = 2 * (int)((in_features + STEP - 1) / STEP);
    unsigned k = 0, now = 0;
    Tiles sums, total;
    Operands operands;
    for (int turn = group == 0 ? 0 : -1; turn <= num_turns - (int)group; ++turn) {
        if (turn >= 0 && turn < num_turns) {
            if (turn % 2 == 0) {
                operands.load(lds[now][0], lds[now][1], w_row, x_row, lane);
                mover.store(lds[now ^ 1][group]);
                mover.load(k + 2 * STEP, in_features);
                if (k % len == 0 && k != 0) {
                    add_segment(total, sums, k == len);
                }
            } else {
                __builtin_amdgcn_s_setprio(1);
                operands.multiply<Format>(sums);
                __builtin_amdgcn_s_setprio(0);
                k += STEP;
                now ^= 1;
            }
        }
        meet();
    }
    add_segment(total, sums, k <= len);
    if (k <= 3 * len) {
        // Segments that have nothing are added too: of -0 that makes 0.
        add_segment(total, sums, false);
    }

    for (unsigned i = 0; i < W_TILES; ++i) {
        const unsigned long col = first_col + w_row + i * TILE + lane / TILE * 4;
        for (unsigned j = 0; j < X_TILES; ++j) {
            const unsigned long row = first_row + x_row + j * TILE + lane % TILE;
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
    extern "C" __global__ void __launch_bounds__(WORKGROUP_SIZE) gemm_v4_ping_pong__##NAME(                            \
        float *__restrict__ out, const short *__restrict__ x, const short *__restrict__ w,                             \
        const float *__restrict__ bias, unsigned num_rows, unsigned out_features, unsigned in_features,                \
        unsigned add_to) {                                                                                             \
        gemm<Format>(out, x, w, bias, num_rows, out_features, in_features, add_to);                                    \
    }

GEMM(bf16, Bf16)
GEMM(f16, F16)
