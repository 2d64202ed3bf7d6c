// gemm_fp8_v2_mfma: as gemm_fp8_v1_naive says what that is, in the matrix unit.
//
// Idea: operands are loaded straight into the registers of the matrix instruction, 16 bytes of a row per lane.
// Mapping: a work-group of 4 waves makes 64 n x 64 m of out, a wave 32 x 32.
// Reduction class: include/gemm_fp8_mfma.h.
// Cost: x and weight are read once per 32 rows of the other, from a cache mostly: 16 bytes of either give 1024 products.
// Code object: 16-byte loads, MFMA, 2 waves per SIMD.
// Measured: not on hardware. Executed in the emulator, within reference_cpu's bound, also as the hardware cuts products.
// Lost to: gemm_fp8_v3_mfma_skinny for up to 32 rows, most of which it would compute in vain. Four waves read what one
// could share in LDS.

#include <hip/hip_runtime.h>

#include "gemm_fp8_mfma.h"

constexpr unsigned WORKGROUP_SIZE = 256;
// Tiles of a wave, along n and m.
constexpr unsigned NUM_TILES = 2;
constexpr unsigned WAVE_TILE = NUM_TILES * TILE;

template <typename Out, bool IS_BLOCK>
__device__ inline void gemm(typename Out::Bits *__restrict__ out, const GemmFp8 &args) {
    const unsigned wave = threadIdx.x / 64;
    const unsigned first_n = (blockIdx.x * 2 + wave % 2) * WAVE_TILE;
    const unsigned first_m = (blockIdx.y * 2 + wave / 2) * WAVE_TILE;
    if (first_n >= args.out_features || first_m >= args.num_rows) {
        return;
    }
    const WaveTile<NUM_TILES, NUM_TILES> tile(args, first_n, first_m);
    auto sums = tile.template segment<IS_BLOCK>(args, 0);
    for (unsigned segment = 1; segment < NUM_SEGMENTS; ++segment) {
        sums.add(tile.template segment<IS_BLOCK>(args, segment));
    }
#pragma unroll
    for (unsigned i = 0; i < NUM_TILES * NUM_TILES; ++i) {
        const unsigned n = i / NUM_TILES, m = i % NUM_TILES;
        tile.template store<Out, IS_BLOCK>(out, args, sums.at[n][m], n, m);
    }
}

#define GEMM_KERNEL(OUT_NAME, Out, SCALES, IS_BLOCK)                                                                   \
    extern "C" __global__ void __launch_bounds__(WORKGROUP_SIZE) gemm_fp8_v2_mfma__e4m3fnuz_##OUT_NAME##_##SCALES(     \
        Out::Bits *__restrict__ out, GEMM_FP8_PARAMETERS) {                                                            \
        gemm<Out, IS_BLOCK>(out, GEMM_FP8_ARGUMENTS);                                                                  \
    }

GEMM_FP8_KERNELS(GEMM_KERNEL)
