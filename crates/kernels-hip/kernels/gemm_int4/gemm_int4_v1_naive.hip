// gemm_int4_v1_naive: out[m, n] = sum_k x[m, k] * weight[k, n] + bias[n], weights of four bits:
//
//   weight[k, n] = scales[g, n] * (q[k, n] - zero[g, n]),   g = g_idx[k], or k / group_size without one
//
//   GPTQ:  qweight [K / 8, N], a word is eight k of one n, lowest bits first; qzeros [groups, N / 8], eight n, plus one
//   AWQ:   qweight [K, N / 8], qzeros [groups, N / 8], a word is eight n in the order 0, 2, 4, 6, 1, 3, 5, 7
//
// Source: reference_cpu::ops::int4_dequantize.
//
// Idea: the plain port. scale * (q - zero) is exact in f32: eleven bits times five.
// Mapping: one work-item per element of out, 256 neighbouring n of one m in a work-group.
// Reduction class: "k in order": fused multiply-adds from k = 0 on.
// Cost: half a byte of weight, and a 256th of a scale and zero point (group size 128) per product.
// Measured: not on hardware. Executed in the emulator, within reference_cpu's bound.
// Lost to: gemm_int4_v2_mfma: each row of x unpacks all weights again.

#include <hip/hip_runtime.h>

#include "formats.h"
#include "gemm_int4.h"

constexpr unsigned WORKGROUP_SIZE = 256;

template <typename Format>
__device__ inline float weight_of(const Packed &packed, unsigned k, unsigned n) {
    const unsigned long at = (unsigned long)packed.group(k) * packed.out_features + n;
    const unsigned zero = nibble(packed.qzeros[at / PACK], Format::place(n)) + packed.zero_offset;
    return (float)packed.scales[at] * (float)((int)Format::q(packed, k, n) - (int)zero);
}

template <typename Format, typename In, typename Out>
__device__ inline void gemm(typename Out::Bits *__restrict__ out, const typename In::Bits *__restrict__ x,
                            const Packed &packed, const float *__restrict__ bias, unsigned in_features) {
    const unsigned n = blockIdx.y * WORKGROUP_SIZE + threadIdx.x;
    const unsigned long m = blockIdx.x;
    if (n >= packed.out_features) {
        return;
    }
    float sum = 0.0f;
    for (unsigned k = 0; k < in_features; ++k) {
        sum = fmaf(In::load(x[m * in_features + k]), weight_of<Format>(packed, k, n), sum);
    }
    out[m * packed.out_features + n] = Out::store(bias ? sum + bias[n] : sum);
}

#define GEMM_INT4(FORMAT_NAME, Format, IN_NAME, In, OUT_NAME, Out)                                                     \
    extern "C" __global__ void __launch_bounds__(WORKGROUP_SIZE)                                                       \
    gemm_int4_v1_naive__##FORMAT_NAME##_##IN_NAME##_##OUT_NAME(                                                        \
        Out::Bits *__restrict__ out, const In::Bits *__restrict__ x, const unsigned *__restrict__ qweight,             \
        const unsigned *__restrict__ qzeros, const _Float16 *__restrict__ scales, const unsigned *__restrict__ g_idx,  \
        const float *__restrict__ bias, unsigned zero_offset, unsigned group_size, unsigned num_groups,                \
        unsigned out_features, unsigned in_features) {                                                                 \
        const Packed packed = {qweight, qzeros, scales, g_idx, zero_offset, group_size, num_groups, out_features};     \
        gemm<Format, In, Out>(out, x, packed, bias, in_features);                                                      \
    }

GEMM_INT4(gptq, Gptq, bf16, Bf16, f32, F32)
GEMM_INT4(gptq, Gptq, bf16, Bf16, bf16, Bf16)
GEMM_INT4(gptq, Gptq, f16, F16, f32, F32)
GEMM_INT4(gptq, Gptq, f16, F16, f16, F16)
GEMM_INT4(awq, Awq, bf16, Bf16, f32, F32)
GEMM_INT4(awq, Awq, bf16, Bf16, bf16, Bf16)
GEMM_INT4(awq, Awq, f16, F16, f32, F32)
GEMM_INT4(awq, Awq, f16, F16, f16, F16)
