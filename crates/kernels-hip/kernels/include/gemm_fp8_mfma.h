// What the FP8 GEMMs in the matrix unit share: one reduction class, and the way of codes into the matrix instruction.
//
// Reduction class "mfma 16x16x32 fp8, quarters of k":
//   - k is cut into four segments, each a quarter rounded up to 128: a function of K alone. The last ones may be empty.
//   - A segment is summed from zero in chunks of 128 k, in order. A chunk is four v_mfma_f32_16x16x32_fp8_fp8, two for each
//     64 k: group g = lane / 16 has k = 16g..16g+15, the first instruction takes the lower eight of each group, the second
//     the upper eight, so that a lane's 16 bytes of a row feed both. Past K both operands are zero.
//   - With a scale for the row, chunks are summed in the instruction; with scales of blocks, each from zero, and fused into
//     the segment's sum: a chunk is a block.
//   - Segments are added in order: ((s0 + s1) + s2) + s3.
// Which rows share a tile, and who computes a segment, does not enter.
#pragma once

#include <hip/hip_runtime.h>

#include "gemm_fp8.h"

template <typename T, int N> using Vec = T __attribute__((ext_vector_type(N)));
using f32x4 = Vec<float, 4>;
// 16 codes.
using Codes = Vec<long, 2>;

// Rows and columns of a matrix instruction's result.
constexpr unsigned TILE = 16;
constexpr unsigned NUM_SEGMENTS = 4;
constexpr unsigned CHUNK = SCALE_BLOCK;
// k of two instructions, and what of them a lane has.
constexpr unsigned K_STEP = 64;
constexpr unsigned LANE_K = 16;
constexpr unsigned NUM_STEPS = CHUNK / K_STEP;

__device__ inline unsigned segment_len(unsigned in_features) {
    constexpr unsigned ALL = NUM_SEGMENTS * CHUNK;
    return (in_features + ALL - 1) / ALL * CHUNK;
}

struct Lane {
    // Which row of an operand's tile, or which column of the result.
    unsigned in_tile;
    // Which k of a step, and which rows of the result.
    unsigned group;
};

__device__ inline Lane lane_of_wave() { return {threadIdx.x % 64 % TILE, threadIdx.x % 64 / TILE}; }

// A lane's rows of NUM_TILES tiles. Rows past the end are the last one again: what they give is not stored.
template <unsigned NUM_TILES> struct Rows {
    const unsigned char *at[NUM_TILES];

    __device__ Rows(const unsigned char *codes, unsigned first, unsigned num_rows, unsigned in_features, Lane lane) {
#pragma unroll
        for (unsigned tile = 0; tile < NUM_TILES; ++tile) {
            const unsigned row = first + tile * TILE + lane.in_tile;
            at[tile] = codes + (unsigned long)(row < num_rows ? row : num_rows - 1) * in_features;
        }
    }
};

// A chunk of NUM_TILES rows.
template <unsigned NUM_TILES> struct Operand {
    Codes at[NUM_STEPS][NUM_TILES];

    // Zeros past the end. Rows are whole vectors of 16 codes, so that no load is cut.
    __device__ Operand(const Rows<NUM_TILES> &rows, unsigned first, unsigned in_features, Lane lane) {
#pragma unroll
        for (unsigned step = 0; step < NUM_STEPS; ++step) {
            const unsigned k = first + step * K_STEP + lane.group * LANE_K;
#pragma unroll
            for (unsigned tile = 0; tile < NUM_TILES; ++tile) {
                at[step][tile] = k < in_features ? *reinterpret_cast<const Codes *>(rows.at[tile] + k) : Codes{};
            }
        }
    }
};

// Tiles of the result: n along its rows, m along its columns, so that a lane holds four neighbouring n of one m.
template <unsigned N, unsigned M> struct Sums {
    f32x4 at[N][M];

    __device__ void add_products(const Operand<N> &weight, const Operand<M> &x) {
#pragma unroll
        for (unsigned half = 0; half < 2 * NUM_STEPS; ++half) {
#pragma unroll
            for (unsigned n = 0; n < N; ++n) {
#pragma unroll
                for (unsigned m = 0; m < M; ++m) {
                    at[n][m] = __builtin_amdgcn_mfma_f32_16x16x32_fp8_fp8(
                        weight.at[half / 2][n][half % 2], x.at[half / 2][m][half % 2], at[n][m], 0, 0, 0);
                }
            }
        }
    }

    __device__ void add(const Sums &other) {
#pragma unroll
        for (unsigned tile = 0; tile < N * M; ++tile) {
            at[tile / M][tile % M] += other.at[tile / M][tile % M];
        }
    }
};

// The part of out that a wave makes.
template <unsigned N, unsigned M> struct WaveTile {
    unsigned first_n;
    unsigned first_m;
    Lane lane;
    Rows<N> weight;
    Rows<M> x;

    __device__ WaveTile(const GemmFp8 &args, unsigned first_n, unsigned first_m)
        : first_n(first_n), first_m(first_m), lane(lane_of_wave()),
          weight(args.weight, first_n, args.out_features, args.in_features, lane),
          x(args.x, first_m, args.num_rows, args.in_features, lane) {}

    __device__ unsigned m(unsigned tile) const { return first_m + tile * TILE + lane.in_tile; }

    // The first of four.
    __device__ unsigned n(unsigned tile) const { return first_n + tile * TILE + lane.group * 4; }

    // What a block is multiplied with, for each tile of m. The tile's n lie in one block of weights.
    __device__ Vec<float, M> block_scales(const GemmFp8 &args, unsigned block) const {
        const unsigned num_blocks = args.num_blocks();
        const float weight_scale = args.weight_scales[(unsigned long)(first_n / SCALE_BLOCK) * num_blocks + block];
        Vec<float, M> scales;
#pragma unroll
        for (unsigned tile = 0; tile < M; ++tile) {
            const unsigned row = m(tile) < args.num_rows ? m(tile) : args.num_rows - 1;
            scales[tile] = args.x_scales[(unsigned long)row * num_blocks + block] * weight_scale;
        }
        return scales;
    }

    __device__ static void add_block(Sums<N, M> &sums, const Sums<N, M> &of_block, Vec<float, M> scales) {
#pragma unroll
        for (unsigned tile = 0; tile < M; ++tile) {
#pragma unroll
            for (unsigned i = 0; i < 4 * N; ++i) {
                sums.at[i / 4][tile][i % 4] =
                    fmaf(of_block.at[i / 4][tile][i % 4], scales[tile], sums.at[i / 4][tile][i % 4]);
            }
        }
    }

    // A segment, a chunk ahead with its loads.
    template <bool IS_BLOCK> __device__ Sums<N, M> segment(const GemmFp8 &args, unsigned idx) const {
        const unsigned len = segment_len(args.in_features);
        const unsigned begin = idx * len;
        const unsigned end = begin + len < args.in_features ? begin + len : args.in_features;
        Sums<N, M> sums = {};
        if (begin >= end) {
            return sums;
        }
        Operand<N> w(weight, begin, args.in_features, lane);
        Operand<M> v(x, begin, args.in_features, lane);
        for (unsigned k = begin; k < end; k += CHUNK) {
            // Before the loads that it need not wait for.
            const Vec<float, M> scales = IS_BLOCK ? block_scales(args, k / CHUNK) : Vec<float, M>{};
            // Past the segment's end, the last chunk is loaded again, from the cache.
            const unsigned ahead = k + CHUNK < end ? k + CHUNK : k;
            const Operand<N> next_w(weight, ahead, args.in_features, lane);
            const Operand<M> next_v(x, ahead, args.in_features, lane);
            if (IS_BLOCK) {
                Sums<N, M> of_block = {};
                of_block.add_products(w, v);
                add_block(sums, of_block, scales);
            } else {
                sums.add_products(w, v);
            }
            w = next_w;
            v = next_v;
        }
        return sums;
    }

    // Scales, biases and stores what is inside of out.
    template <typename Out, bool IS_BLOCK>
    __device__ void store(typename Out::Bits *__restrict__ out, const GemmFp8 &args, f32x4 sums, unsigned n_tile,
                          unsigned m_tile) const {
        const unsigned row = m(m_tile);
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) {
            const unsigned col = n(n_tile) + i;
            if (row < args.num_rows && col < args.out_features) {
                const float scaled = IS_BLOCK ? sums[i] : sums[i] * args.x_scales[row] * args.weight_scales[col];
                out[(unsigned long)row * args.out_features + col] = Out::store(args.with_bias(scaled, col));
            }
        }
    }
};
