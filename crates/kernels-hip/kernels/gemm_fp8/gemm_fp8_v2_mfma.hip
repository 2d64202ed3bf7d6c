// gemm_fp8_v2_mfma: as gemm_fp8_v1_naive says what that is, in the matrix unit.
//
// Idea: v_mfma_f32_16x16x32_fp8_fp8 with operands loaded straight into its registers, 16 bytes of a row per lane, which
// feed two instructions: of 64 k, group g = lane / 16 has k = 16g..16g+15; the first instruction takes the lower eight
// of each group, the second the upper eight. Which k is which does not matter to a sum, as long as both operands agree.
// Mapping: a work-group of 4 waves makes 64 n x 64 m of out, a wave 32 x 32: weights are the rows of the instruction's
// result, so that a lane holds four neighbouring n of one m. Rows past the end are the last one again, and not stored.
// Reduction class: "mfma 16x16x32 fp8, k in steps of 64": one accumulator from zero (block: one for each 128 k, fused
// into the sum of the blocks in order). A function of the row, the weights and K alone.
// Cost: x and weight are read once per 32 rows of the other, from a cache mostly: 16 bytes of either give 1024 products.
// Code object: 16-byte loads, MFMA, 4 waves per SIMD.
// Measured: not on hardware. Executed in the emulator, within reference_cpu's bound, also as the hardware cuts products.
// Lost to: nothing yet. Four waves read what one could share in LDS, and for m <= 16 three quarters of it compute rows
// that nobody stores.

#include <hip/hip_runtime.h>

#include "gemm_fp8.h"

template <typename T, int N> using Vec = T __attribute__((ext_vector_type(N)));
using f32x4 = Vec<float, 4>;
// 16 codes.
using Codes = Vec<long, 2>;

constexpr unsigned WORKGROUP_SIZE = 256;
constexpr unsigned TILE = 16;
// Tiles of a wave, along n and m.
constexpr unsigned NUM_TILES = 2;
constexpr unsigned WAVE_TILE = NUM_TILES * TILE;
constexpr unsigned WORKGROUP_TILE = 2 * WAVE_TILE;
constexpr unsigned K_STEP = 64;
constexpr unsigned LANE_K = 16;

struct Lane {
    // Which row of an operand's tile, or which column of the result.
    unsigned in_tile;
    // Which k of a step, and which rows of the result.
    unsigned group;
};

// Operands of one step: NUM_TILES rows of a lane.
struct Operand {
    Codes at[NUM_TILES];
};

struct Rows {
    const unsigned char *at[NUM_TILES];
    unsigned in_features;

    __device__ Rows(const unsigned char *codes, unsigned first, unsigned num_rows, unsigned in_features, Lane lane)
        : in_features(in_features) {
#pragma unroll
        for (unsigned tile = 0; tile < NUM_TILES; ++tile) {
            const unsigned row = first + tile * TILE + lane.in_tile;
            at[tile] = codes + (unsigned long)(row < num_rows ? row : num_rows - 1) * in_features;
        }
    }

    // Zeros past the end. Rows are whole vectors of 16 codes, so that no load is cut.
    __device__ Operand load(unsigned k) const {
        Operand operand;
#pragma unroll
        for (unsigned tile = 0; tile < NUM_TILES; ++tile) {
            operand.at[tile] = k < in_features ? *reinterpret_cast<const Codes *>(at[tile] + k) : Codes{};
        }
        return operand;
    }
};

struct Sums {
    f32x4 at[NUM_TILES][NUM_TILES];

    __device__ void add_products(const Operand &weight, const Operand &x) {
#pragma unroll
        for (unsigned half = 0; half < 2; ++half) {
#pragma unroll
            for (unsigned n = 0; n < NUM_TILES; ++n) {
#pragma unroll
                for (unsigned m = 0; m < NUM_TILES; ++m) {
                    at[n][m] = __builtin_amdgcn_mfma_f32_16x16x32_fp8_fp8(weight.at[n][half], x.at[m][half], at[n][m],
                                                                           0, 0, 0);
                }
            }
        }
    }
};

// Adds the products of k = begin..end, a step ahead with its loads.
__device__ inline void accumulate(Sums &sums, const Rows &weight, const Rows &x, Lane lane, unsigned begin,
                                  unsigned end) {
    unsigned k = begin + lane.group * LANE_K;
    Operand w = weight.load(k), v = x.load(k);
    for (unsigned step = begin; step < end; step += K_STEP) {
        k += K_STEP;
        const Operand next_w = weight.load(k), next_v = x.load(k);
        sums.add_products(w, v);
        w = next_w;
        v = next_v;
    }
}

template <typename Out, bool IS_BLOCK>
__device__ inline void gemm(typename Out::Bits *__restrict__ out, const GemmFp8 &args) {
    const unsigned wave = threadIdx.x / 64, lane_idx = threadIdx.x % 64;
    const unsigned first_n = blockIdx.x * WORKGROUP_TILE + wave % 2 * WAVE_TILE;
    const unsigned first_m = blockIdx.y * WORKGROUP_TILE + wave / 2 * WAVE_TILE;
    if (first_n >= args.out_features || first_m >= args.num_rows) {
        return;
    }
    const Lane lane = {lane_idx % TILE, lane_idx / TILE};
    const Rows weight(args.weight, first_n, args.out_features, args.in_features, lane);
    const Rows x(args.x, first_m, args.num_rows, args.in_features, lane);
    Sums sums = {};
    if (IS_BLOCK) {
        const unsigned num_blocks = args.num_blocks();
        for (unsigned block = 0; block < num_blocks; ++block) {
            Sums of_block = {};
            accumulate(of_block, weight, x, lane, block * SCALE_BLOCK, (block + 1) * SCALE_BLOCK);
            // 32 n of a wave lie in one block of weights.
            const float weight_scale = args.weight_scales[(unsigned long)(first_n / SCALE_BLOCK) * num_blocks + block];
#pragma unroll
            for (unsigned tile = 0; tile < NUM_TILES; ++tile) {
                const unsigned m = first_m + tile * TILE + lane.in_tile;
                const unsigned row = m < args.num_rows ? m : args.num_rows - 1;
                const float scale = args.x_scales[(unsigned long)row * num_blocks + block] * weight_scale;
#pragma unroll
                for (unsigned n = 0; n < NUM_TILES; ++n) {
#pragma unroll
                    for (unsigned i = 0; i < 4; ++i) {
                        sums.at[n][tile][i] = fmaf(of_block.at[n][tile][i], scale, sums.at[n][tile][i]);
                    }
                }
            }
        }
    } else {
        accumulate(sums, weight, x, lane, 0, args.in_features);
    }
#pragma unroll
    for (unsigned tile = 0; tile < NUM_TILES * NUM_TILES; ++tile) {
        const unsigned m = first_m + tile % NUM_TILES * TILE + lane.in_tile;
        const unsigned n = first_n + tile / NUM_TILES * TILE + lane.group * 4;
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) {
            if (m < args.num_rows && n + i < args.out_features) {
                const float sum = sums.at[tile / NUM_TILES][tile % NUM_TILES][i];
                const float scaled = IS_BLOCK ? sum : sum * args.x_scales[m] * args.weight_scales[n + i];
                out[(unsigned long)m * args.out_features + n + i] = Out::store(args.with_bias(scaled, n + i));
            }
        }
    }
}

#define GEMM_KERNEL(OUT_NAME, Out, SCALES, IS_BLOCK)                                                                   \
    extern "C" __global__ void __launch_bounds__(WORKGROUP_SIZE) gemm_fp8_v2_mfma__e4m3fnuz_##OUT_NAME##_##SCALES(     \
        Out::Bits *__restrict__ out, GEMM_FP8_PARAMETERS) {                                                            \
        gemm<Out, IS_BLOCK>(out, GEMM_FP8_ARGUMENTS);                                                                  \
    }

GEMM_FP8_KERNELS(GEMM_KERNEL)
