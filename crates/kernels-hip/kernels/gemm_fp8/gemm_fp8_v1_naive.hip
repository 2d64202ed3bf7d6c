// gemm_fp8_v1_naive: out[m, n] = sum_k x[m, k] * weight[n, k], both e4m3fnuz codes with scales, plus bias[n].
//
//   row:    out = sum * x_scales[m] * weight_scales[n]
//   block:  out = sum over blocks of 128 k of (sum within) * (x_scales[m, block] * weight_scales[n / 128, block])
//
// Source: reference_cpu::ops::gemm_fp8; the block scales are DeepSeek-V3's (arXiv:2412.19437).
//
// Idea: the plain port.
// Mapping: one work-item per element of out, 256 neighbouring n of one m in a work-group.
// Reduction class: "k in order": fused multiply-adds from k = 0 on (block: in each block, then over the blocks).
// Cost: each row of weight is read once per row of x.
// Measured: not on hardware. Executed in the emulator, within reference_cpu's bound.
// Lost to: gemm_fp8_v2_mfma, which reads 16 bytes at a time and multiplies in the matrix unit.

#include <hip/hip_runtime.h>

#include "gemm_fp8.h"

constexpr unsigned WORKGROUP_SIZE = 256;

__device__ inline float dot(const unsigned char *a, const unsigned char *b, unsigned begin, unsigned end) {
    float sum = 0.0f;
    for (unsigned k = begin; k < end; ++k) {
        sum = fmaf(Fp8E4m3::load(a[k]), Fp8E4m3::load(b[k]), sum);
    }
    return sum;
}

template <typename Out, bool IS_BLOCK>
__device__ inline void gemm(typename Out::Bits *__restrict__ out, const GemmFp8 &args) {
    const unsigned n = blockIdx.y * WORKGROUP_SIZE + threadIdx.x;
    const unsigned long m = blockIdx.x;
    if (n >= args.out_features) {
        return;
    }
    const unsigned char *x = args.x + m * args.in_features;
    const unsigned char *weight = args.weight + (unsigned long)n * args.in_features;
    float sum = 0.0f;
    if (IS_BLOCK) {
        const unsigned num_blocks = args.num_blocks();
        for (unsigned block = 0; block < num_blocks; ++block) {
            const unsigned begin = block * SCALE_BLOCK;
            const unsigned end = args.in_features - begin < SCALE_BLOCK ? args.in_features : begin + SCALE_BLOCK;
            const float scale = args.x_scales[m * num_blocks + block] *
                                args.weight_scales[(unsigned long)(n / SCALE_BLOCK) * num_blocks + block];
            sum = fmaf(dot(x, weight, begin, end), scale, sum);
        }
    } else {
        sum = dot(x, weight, 0, args.in_features) * args.x_scales[m] * args.weight_scales[n];
    }
    out[m * args.out_features + n] = Out::store(args.with_bias(sum, n));
}

#define GEMM_KERNEL(OUT_NAME, Out, SCALES, IS_BLOCK)                                                                   \
    extern "C" __global__ void __launch_bounds__(WORKGROUP_SIZE) gemm_fp8_v1_naive__e4m3fnuz_##OUT_NAME##_##SCALES(    \
        Out::Bits *__restrict__ out, GEMM_FP8_PARAMETERS) {                                                            \
        gemm<Out, IS_BLOCK>(out, GEMM_FP8_ARGUMENTS);                                                                  \
    }

GEMM_FP8_KERNELS(GEMM_KERNEL)
