// Every matrix instruction that has a builtin, and FP8 conversions.
#include <hip/hip_runtime.h>

typedef float f2 __attribute__((ext_vector_type(2)));
typedef float f4 __attribute__((ext_vector_type(4)));
typedef float f16 __attribute__((ext_vector_type(16)));
typedef float f32 __attribute__((ext_vector_type(32)));
typedef int i2 __attribute__((ext_vector_type(2)));
typedef int i4 __attribute__((ext_vector_type(4)));
typedef int i16 __attribute__((ext_vector_type(16)));
typedef int i32 __attribute__((ext_vector_type(32)));
typedef double d4 __attribute__((ext_vector_type(4)));
typedef _Float16 h4 __attribute__((ext_vector_type(4)));
typedef _Float16 h8 __attribute__((ext_vector_type(8)));
typedef short s4 __attribute__((ext_vector_type(4)));
typedef short s8 __attribute__((ext_vector_type(8)));
typedef __bf16 b4 __attribute__((ext_vector_type(4)));
typedef __bf16 b8 __attribute__((ext_vector_type(8)));

#define DENSE(name, builtin, A, C)                                        \
    extern "C" __global__ void name(const A* a, const A* b, C* c) {       \
        int i = threadIdx.x;                                              \
        c[i] = __builtin_amdgcn_mfma_##builtin(a[i], b[i], c[i], 0, 0, 0); \
    }
#define SPARSE(name, builtin, A, B, C)                                            \
    extern "C" __global__ void name(const A* a, const B* b, C* c, const int* k) { \
        int i = threadIdx.x;                                                      \
        c[i] = __builtin_amdgcn_smfmac_##builtin(a[i], b[i], c[i], k[i], 1, 2);   \
    }

DENSE(f32_32x32x1, f32_32x32x1f32, float, f32)
DENSE(f32_16x16x1, f32_16x16x1f32, float, f16)
DENSE(f32_4x4x1, f32_4x4x1f32, float, f4)
DENSE(f32_32x32x2, f32_32x32x2f32, float, f16)
DENSE(f32_16x16x4, f32_16x16x4f32, float, f4)
DENSE(xf32_16x16x8, f32_16x16x8_xf32, f2, f4)
DENSE(xf32_32x32x4, f32_32x32x4_xf32, f2, f16)
DENSE(f16_32x32x4, f32_32x32x4f16, h4, f32)
DENSE(f16_16x16x4, f32_16x16x4f16, h4, f16)
DENSE(f16_4x4x4, f32_4x4x4f16, h4, f4)
DENSE(f16_32x32x8, f32_32x32x8f16, h4, f16)
DENSE(f16_16x16x16, f32_16x16x16f16, h4, f4)
DENSE(bf16_32x32x4, f32_32x32x4bf16_1k, s4, f32)
DENSE(bf16_16x16x4, f32_16x16x4bf16_1k, s4, f16)
DENSE(bf16_4x4x4, f32_4x4x4bf16_1k, s4, f4)
DENSE(bf16_32x32x8, f32_32x32x8bf16_1k, s4, f16)
DENSE(bf16_16x16x16, f32_16x16x16bf16_1k, s4, f4)
DENSE(i8_32x32x4, i32_32x32x4i8, int, i32)
DENSE(i8_16x16x4, i32_16x16x4i8, int, i16)
DENSE(i8_4x4x4, i32_4x4x4i8, int, i4)
DENSE(i8_32x32x16, i32_32x32x16_i8, long, i16)
DENSE(i8_16x16x32, i32_16x16x32_i8, long, i4)
DENSE(f64_16x16x4, f64_16x16x4f64, double, d4)
DENSE(f64_4x4x4, f64_4x4x4f64, double, double)
DENSE(fp8_16x16x32, f32_16x16x32_fp8_fp8, long, f4)
DENSE(fp8_bf8_16x16x32, f32_16x16x32_fp8_bf8, long, f4)
DENSE(bf8_fp8_16x16x32, f32_16x16x32_bf8_fp8, long, f4)
DENSE(bf8_16x16x32, f32_16x16x32_bf8_bf8, long, f4)
DENSE(fp8_32x32x16, f32_32x32x16_fp8_fp8, long, f16)
DENSE(fp8_bf8_32x32x16, f32_32x32x16_fp8_bf8, long, f16)
DENSE(bf8_fp8_32x32x16, f32_32x32x16_bf8_fp8, long, f16)
DENSE(bf8_32x32x16, f32_32x32x16_bf8_bf8, long, f16)
SPARSE(sparse_f16_16x16x32, f32_16x16x32_f16, h4, h8, f4)
SPARSE(sparse_f16_32x32x16, f32_32x32x16_f16, h4, h8, f16)
SPARSE(sparse_bf16_16x16x32, f32_16x16x32_bf16, s4, s8, f4)
SPARSE(sparse_bf16_32x32x16, f32_32x32x16_bf16, s4, s8, f16)
SPARSE(sparse_i8_16x16x64, i32_16x16x64_i8, i2, i4, i4)
SPARSE(sparse_i8_32x32x32, i32_32x32x32_i8, i2, i4, i16)
SPARSE(sparse_fp8_16x16x64, f32_16x16x64_fp8_fp8, i2, i4, f4)
SPARSE(sparse_fp8_bf8_16x16x64, f32_16x16x64_fp8_bf8, i2, i4, f4)
SPARSE(sparse_bf8_fp8_16x16x64, f32_16x16x64_bf8_fp8, i2, i4, f4)
SPARSE(sparse_bf8_16x16x64, f32_16x16x64_bf8_bf8, i2, i4, f4)
SPARSE(sparse_fp8_32x32x32, f32_32x32x32_fp8_fp8, i2, i4, f16)
SPARSE(sparse_fp8_bf8_32x32x32, f32_32x32x32_fp8_bf8, i2, i4, f16)
SPARSE(sparse_bf8_fp8_32x32x32, f32_32x32x32_bf8_fp8, i2, i4, f16)
SPARSE(sparse_bf8_32x32x32, f32_32x32x32_bf8_bf8, i2, i4, f16)

// Broadcasts, signs, and accumulators beyond the first 256 registers.
extern "C" __global__ void __launch_bounds__(64, 1) modifiers(const double* d, d4* c, const h4* a, f32* acc, int n) {
    int i = threadIdx.x;
    c[i] = __builtin_amdgcn_mfma_f64_16x16x4f64(d[i], d[i + 64], c[i], 0, 0, 5);
    f32 v[8];
    for (int j = 0; j < 8; j++) v[j] = acc[j * 64 + i];
    for (int k = 0; k < n; k++)
        for (int j = 0; j < 8; j++) v[j] = __builtin_amdgcn_mfma_f32_32x32x4f16(a[k], a[k + j], v[j], 1, 1, 3);
    for (int j = 0; j < 8; j++) acc[j * 64 + i] = v[j];
}

extern "C" __global__ void fp8(const float* in, int* out, f2* back, float* one) {
    int i = threadIdx.x;
    int x = __builtin_amdgcn_cvt_pk_fp8_f32(in[i], in[i + 1], 0, false);
    x = __builtin_amdgcn_cvt_pk_fp8_f32(in[i + 2], in[i + 3], x, true);
    x ^= __builtin_amdgcn_cvt_pk_bf8_f32(in[i], -in[i + 1], x, true);
    x += __builtin_amdgcn_cvt_sr_fp8_f32(in[i], i, x, 2) + __builtin_amdgcn_cvt_sr_bf8_f32(in[i], i, x, 1);
    out[i] = x;
    back[i] = __builtin_amdgcn_cvt_pk_f32_fp8(x, true) + __builtin_amdgcn_cvt_pk_f32_bf8(x, false);
    one[i] = __builtin_amdgcn_cvt_f32_fp8(x, 3) + __builtin_amdgcn_cvt_f32_bf8(x, 0);
}
