// gemm_fp8_v3_mfma_skinny: as gemm_fp8_v1_naive says what that is, for up to 32 rows of x, in the matrix unit.
//
// Idea: with few rows the weights are all there is to read, each of them once; what counts is how many waves ask for them
// at a time. So the four waves of a work-group take a segment of k each, and there is one work-group for 16 n.
// Mapping: a work-group of 4 waves makes 16 n x 32 m of out; the sums of the segments meet in LDS, and two of the waves
// add them in order.
// Reduction class: include/gemm_fp8_mfma.h, that of v2: equal bits.
// Cost: weights are read once, x once per 16 n, from a cache. A wave has two chunks of 16 rows asked for: 4 KiB.
// Code object: 16-byte loads, MFMA, 4 waves per SIMD.
// Measured: not on hardware. Executed in the emulator, bit-equal to v2.
// Lost to: gemm_fp8_v2_mfma above 32 rows, which it does not serve.

#include <hip/hip_runtime.h>

#include "gemm_fp8_mfma.h"

constexpr unsigned WORKGROUP_SIZE = NUM_SEGMENTS * 64;
constexpr unsigned M_TILES = 2;

template <typename Out, bool IS_BLOCK>
__device__ inline void gemm(typename Out::Bits *__restrict__ out, const GemmFp8 &args) {
    __shared__ f32x4 shared[NUM_SEGMENTS][M_TILES][64];
    const unsigned wave = threadIdx.x / 64, lane = threadIdx.x % 64;
    const WaveTile<1, M_TILES> tile(args, blockIdx.x * TILE, 0);
    const auto sums = tile.template segment<IS_BLOCK>(args, wave);
#pragma unroll
    for (unsigned m = 0; m < M_TILES; ++m) {
        shared[wave][m][lane] = sums.at[0][m];
    }
    __syncthreads();
    if (wave >= M_TILES) {
        return;
    }
    f32x4 sum = shared[0][wave][lane];
#pragma unroll
    for (unsigned segment = 1; segment < NUM_SEGMENTS; ++segment) {
        sum += shared[segment][wave][lane];
    }
    tile.template store<Out, IS_BLOCK>(out, args, sum, 0, wave);
}

#define GEMM_KERNEL(OUT_NAME, Out, SCALES, IS_BLOCK)                                                                   \
    extern "C" __global__ void __launch_bounds__(WORKGROUP_SIZE)                                                       \
    gemm_fp8_v3_mfma_skinny__e4m3fnuz_##OUT_NAME##_##SCALES(Out::Bits *__restrict__ out, GEMM_FP8_PARAMETERS) {        \
        gemm<Out, IS_BLOCK>(out, GEMM_FP8_ARGUMENTS);                                                                  \
    }

GEMM_FP8_KERNELS(GEMM_KERNEL)
