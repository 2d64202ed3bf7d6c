// mfma_probe_v1_builtin: one matrix instruction per kernel, for every shape and type of gfx942.
//
//   dense:   D = A * B + C             mfma_probe_v1_builtin__mfma_...   (d, a, b, c)
//   sparse:  D = A * B + D, A 2:4      mfma_probe_v1_builtin__smfmac_... (d, a, b, index)
//
// Idea: what one instruction does is only seen alone. Operands are what a lane holds, in lane order: a[lane], b[lane],
// c[lane], d[lane] are whole register groups, so the layout of the matrices is the caller's to make, by the formulas of
// the ISA manual (7.1.4), and an error in it cannot hide in the kernel. d is read first by the sparse ones.
// Mapping: one wave of 64.
// Cost: one matrix instruction.
// Measured: not on hardware. Executed in the emulator and compared with reference_cpu.
// Lost to: nothing.

#include <hip/hip_runtime.h>

template <typename T, int N> using Vec = T __attribute__((ext_vector_type(N)));
using f16x4 = Vec<_Float16, 4>;
using f16x8 = Vec<_Float16, 8>;
// The builtins for bf16 take its bits.
using bf16x4 = Vec<short, 4>;
using bf16x8 = Vec<short, 8>;
using f32x2 = Vec<float, 2>;
using f32x4 = Vec<float, 4>;
using f32x16 = Vec<float, 16>;
using f32x32 = Vec<float, 32>;
using f64x4 = Vec<double, 4>;
using i32x2 = Vec<int, 2>;
using i32x4 = Vec<int, 4>;
using i32x16 = Vec<int, 16>;
using i32x32 = Vec<int, 32>;

#define DENSE(mnemonic, builtin, A, Acc)                                                                               \
    extern "C" __global__ void __launch_bounds__(64) mfma_probe_v1_builtin__##mnemonic(                                \
        Acc *__restrict__ d, const A *__restrict__ a, const A *__restrict__ b, const Acc *__restrict__ c) {            \
        const int lane = threadIdx.x;                                                                                  \
        d[lane] = __builtin_amdgcn_##builtin(a[lane], b[lane], c[lane], 0, 0, 0);                                      \
    }

#define SPARSE(mnemonic, A, B, Acc)                                                                                    \
    extern "C" __global__ void __launch_bounds__(64) mfma_probe_v1_builtin__##mnemonic(                                \
        Acc *__restrict__ d, const A *__restrict__ a, const B *__restrict__ b, const int *__restrict__ index) {        \
        const int lane = threadIdx.x;                                                                                  \
        d[lane] = __builtin_amdgcn_##mnemonic(a[lane], b[lane], d[lane], index[lane], 0, 0);                           \
    }

DENSE(mfma_f32_32x32x1_2b_f32, mfma_f32_32x32x1f32, float, f32x32)
DENSE(mfma_f32_16x16x1_4b_f32, mfma_f32_16x16x1f32, float, f32x16)
DENSE(mfma_f32_4x4x1_16b_f32, mfma_f32_4x4x1f32, float, f32x4)
DENSE(mfma_f32_32x32x2_f32, mfma_f32_32x32x2f32, float, f32x16)
DENSE(mfma_f32_16x16x4_f32, mfma_f32_16x16x4f32, float, f32x4)
DENSE(mfma_f32_32x32x4_xf32, mfma_f32_32x32x4_xf32, f32x2, f32x16)
DENSE(mfma_f32_16x16x8_xf32, mfma_f32_16x16x8_xf32, f32x2, f32x4)
DENSE(mfma_f32_32x32x4_2b_f16, mfma_f32_32x32x4f16, f16x4, f32x32)
DENSE(mfma_f32_16x16x4_4b_f16, mfma_f32_16x16x4f16, f16x4, f32x16)
DENSE(mfma_f32_4x4x4_16b_f16, mfma_f32_4x4x4f16, f16x4, f32x4)
DENSE(mfma_f32_32x32x8_f16, mfma_f32_32x32x8f16, f16x4, f32x16)
DENSE(mfma_f32_16x16x16_f16, mfma_f32_16x16x16f16, f16x4, f32x4)
DENSE(mfma_f32_32x32x4_2b_bf16, mfma_f32_32x32x4bf16_1k, bf16x4, f32x32)
DENSE(mfma_f32_16x16x4_4b_bf16, mfma_f32_16x16x4bf16_1k, bf16x4, f32x16)
DENSE(mfma_f32_4x4x4_16b_bf16, mfma_f32_4x4x4bf16_1k, bf16x4, f32x4)
DENSE(mfma_f32_32x32x8_bf16, mfma_f32_32x32x8bf16_1k, bf16x4, f32x16)
DENSE(mfma_f32_16x16x16_bf16, mfma_f32_16x16x16bf16_1k, bf16x4, f32x4)
DENSE(mfma_i32_32x32x4_2b_i8, mfma_i32_32x32x4i8, int, i32x32)
DENSE(mfma_i32_16x16x4_4b_i8, mfma_i32_16x16x4i8, int, i32x16)
DENSE(mfma_i32_4x4x4_16b_i8, mfma_i32_4x4x4i8, int, i32x4)
DENSE(mfma_i32_32x32x16_i8, mfma_i32_32x32x16_i8, long, i32x16)
DENSE(mfma_i32_16x16x32_i8, mfma_i32_16x16x32_i8, long, i32x4)
DENSE(mfma_f64_16x16x4_f64, mfma_f64_16x16x4f64, double, f64x4)
DENSE(mfma_f64_4x4x4_4b_f64, mfma_f64_4x4x4f64, double, double)
DENSE(mfma_f32_32x32x16_bf8_bf8, mfma_f32_32x32x16_bf8_bf8, long, f32x16)
DENSE(mfma_f32_16x16x32_bf8_bf8, mfma_f32_16x16x32_bf8_bf8, long, f32x4)
DENSE(mfma_f32_32x32x16_bf8_fp8, mfma_f32_32x32x16_bf8_fp8, long, f32x16)
DENSE(mfma_f32_16x16x32_bf8_fp8, mfma_f32_16x16x32_bf8_fp8, long, f32x4)
DENSE(mfma_f32_32x32x16_fp8_bf8, mfma_f32_32x32x16_fp8_bf8, long, f32x16)
DENSE(mfma_f32_16x16x32_fp8_bf8, mfma_f32_16x16x32_fp8_bf8, long, f32x4)
DENSE(mfma_f32_32x32x16_fp8_fp8, mfma_f32_32x32x16_fp8_fp8, long, f32x16)
DENSE(mfma_f32_16x16x32_fp8_fp8, mfma_f32_16x16x32_fp8_fp8, long, f32x4)
SPARSE(smfmac_f32_32x32x16_f16, f16x4, f16x8, f32x16)
SPARSE(smfmac_f32_16x16x32_f16, f16x4, f16x8, f32x4)
SPARSE(smfmac_f32_32x32x16_bf16, bf16x4, bf16x8, f32x16)
SPARSE(smfmac_f32_16x16x32_bf16, bf16x4, bf16x8, f32x4)
SPARSE(smfmac_i32_32x32x32_i8, i32x2, i32x4, i32x16)
SPARSE(smfmac_i32_16x16x64_i8, i32x2, i32x4, i32x4)
SPARSE(smfmac_f32_32x32x32_bf8_bf8, i32x2, i32x4, f32x16)
SPARSE(smfmac_f32_16x16x64_bf8_bf8, i32x2, i32x4, f32x4)
SPARSE(smfmac_f32_32x32x32_bf8_fp8, i32x2, i32x4, f32x16)
SPARSE(smfmac_f32_16x16x64_bf8_fp8, i32x2, i32x4, f32x4)
SPARSE(smfmac_f32_32x32x32_fp8_bf8, i32x2, i32x4, f32x16)
SPARSE(smfmac_f32_16x16x64_fp8_bf8, i32x2, i32x4, f32x4)
SPARSE(smfmac_f32_32x32x32_fp8_fp8, i32x2, i32x4, f32x16)
SPARSE(smfmac_f32_16x16x64_fp8_fp8, i32x2, i32x4, f32x4)
