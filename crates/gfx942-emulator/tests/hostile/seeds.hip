// The first inputs of the fuzz targets `kernel` and `instruction`: a little of everything that a kernel can do.
#include <hip/hip_runtime.h>

typedef float f32x4 __attribute__((ext_vector_type(4)));
typedef _Float16 f16x4 __attribute__((ext_vector_type(4)));
typedef _Float16 f16x2 __attribute__((ext_vector_type(2)));

extern "C" __global__ void memory(const unsigned* in, unsigned* out) {
    unsigned i = threadIdx.x;
    out[i] = i & 1 ? __builtin_amdgcn_alignbyte(in ? i : 0, i * 3, 2) : i / 7;
    atomicAdd(out + 200, i);
    reinterpret_cast<volatile unsigned char*>(out)[900 + i] = static_cast<unsigned char>(i);
}

extern "C" __global__ void exchange(const unsigned*, unsigned* out) {
    __shared__ unsigned shared[128];
    unsigned i = threadIdx.x;
    shared[i] = i;
    atomicXor(&shared[i & 3], i << 8);
    __syncthreads();
    out[i] = shared[i ^ 1] + __shfl_xor(i, 5);
}

extern "C" __global__ void matrix(const unsigned*, f32x4* out) {
    f32x4 sum = {1, 2, 3, 4};
    f16x4 a = {1, 2, 3, static_cast<_Float16>(threadIdx.x)};
    sum = __builtin_amdgcn_mfma_f32_16x16x16f16(a, a, sum, 0, 0, 0);
    sum = __builtin_amdgcn_mfma_f32_16x16x32_fp8_fp8(threadIdx.x * 3L, 0x3838L, sum, 0, 0, 0);
    out[threadIdx.x & 63] = sum;
}

extern "C" __global__ void numbers(const unsigned*, float* out) {
    float x = threadIdx.x + 0.5f;
    double y = x;
    f16x2 h = {static_cast<_Float16>(x), 2};
    h = h * h + h;
    float sum = __expf(x) / (1 + sqrtf(x)) + static_cast<float>(y * y / 3) + h[0];
    out[threadIdx.x] = sum + __uint_as_float(__builtin_amdgcn_cvt_pk_fp8_f32(x, sum, 0, false)) * 0;
}

extern "C" __global__ void stack(const unsigned*, unsigned* out) {
    volatile unsigned private_words[16];
    for (unsigned i = 0; i < 16; ++i) private_words[i] = i * threadIdx.x;
    unsigned sum = 0;
    for (unsigned i = 0; i < (threadIdx.x & 15); ++i) sum += private_words[(i * 5) & 15];
    out[threadIdx.x] = sum;
}
