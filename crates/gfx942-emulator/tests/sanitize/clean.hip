// Kernels without faults, of all sorts.
#include <hip/hip_bf16.h>
#include <hip/hip_fp16.h>
#include <hip/hip_runtime.h>

typedef unsigned u32;
typedef float f4 __attribute__((ext_vector_type(4)));
typedef float f16v __attribute__((ext_vector_type(16)));
typedef __fp16 h4 __attribute__((ext_vector_type(4)));
#define KERNEL extern "C" __global__ __launch_bounds__(256) void

KERNEL reduce(const u32 *in, u32 *out) {
    __shared__ u32 shared[256];
    shared[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    for (u32 half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) out[blockIdx.x] = shared[0];
}

KERNEL shuffle(const u32 *in, u32 *out) {
    float x = in[threadIdx.x];
    for (int i = 32; i > 0; i /= 2) x += __shfl_xor(x, i);
    unsigned long long even = __ballot(in[threadIdx.x] % 2 == 0);
    out[threadIdx.x] = (u32)x + __popcll(even) + __shfl_up(in[threadIdx.x], 1) + __any(x > 3);
}

KERNEL atomics(const u32 *in, u32 *out) {
    __shared__ u32 bins[61];
    if (threadIdx.x < 61) bins[threadIdx.x] = 0;
    out[blockIdx.x * 64] = 0;
    __syncthreads();
    atomicAdd(&bins[in[threadIdx.x] % 61], 1);
    __syncthreads();
    atomicMax(&out[blockIdx.x * 64], bins[threadIdx.x % 61]);
}

KERNEL matrix(const u32 *in, u32 *out) {
    const h4 *halves = (const h4 *)in;
    const float *floats = (const float *)in;
    u32 lane = threadIdx.x % 64;
    f4 c = {0, 0, 0, 0};
    f16v d = {};
    for (int i = 0; i < 3; i++) {
        c = __builtin_amdgcn_mfma_f32_16x16x16f16(halves[lane + i], halves[lane], c, 0, 0, 0);
        d = __builtin_amdgcn_mfma_f32_32x32x8f16(halves[lane], halves[lane + i], d, 0, 0, 0);
        c = __builtin_amdgcn_mfma_f32_16x16x4f32(floats[lane], floats[lane + i], c, 0, 0, 0);
    }
    for (int i = 0; i < 4; i++) out[threadIdx.x * 4 + i] = (u32)(c[i] + d[i * 4]);
}

KERNEL doubles(const u32 *in, u32 *out) {
    double a = in[threadIdx.x] + 1.5, b = in[threadIdx.x + 1] + 2.25;
    float f = in[threadIdx.x] + 0.5f;
    out[threadIdx.x] = (u32)(a / b + sqrt(a) + 3.f / f + __expf(-f) + sinf(f) + powf(f, 1.5f) + rsqrtf(f));
}

KERNEL halves(const u32 *in, u32 *out) {
    __half h = __float2half(in[threadIdx.x]);
    __half2 two = __halves2half2(h, __float2half(2));
    two = __hfma2(two, two, two);
    __hip_bfloat16 b = __float2bfloat16(__high2float(two) + in[threadIdx.x]);
    ((unsigned short *)out)[threadIdx.x] = __half_as_ushort(__low2half(two)) + __bfloat16_as_ushort(b);
}

KERNEL bytes(const u32 *in, u32 *out) {
    const unsigned char *from = (const unsigned char *)in;
    unsigned char *to = (unsigned char *)out;
    for (u32 i = threadIdx.x; i < 1000; i += blockDim.x) to[i] = from[i] * 3 + from[(i * 7) % 1000];
}

KERNEL divergent(const u32 *in, u32 *out) {
    u32 x = in[threadIdx.x], steps = 0;
    while (x > 1 && steps < 200) {
        x = x % 2 ? 3 * x + 1 : x / 2;
        steps++;
    }
    switch (steps % 5) {
    case 0: out[threadIdx.x] = x; break;
    case 1: out[threadIdx.x] = steps * 3; break;
    case 3: out[threadIdx.x] = in[steps]; break;
    default: out[threadIdx.x] = 7;
    }
}

__device__ __attribute__((noinline)) u32 inner(u32 x, const u32 *in) {
    u32 local[8];
    for (u32 i = 0; i < 8; i++) local[i] = in[i] + x;
    return local[x % 8];
}

__device__ __attribute__((noinline)) u32 called(u32 x, const u32 *in) {
    return inner(x + 1, in) * x + inner(x, in);
}

KERNEL calls(const u32 *in, u32 *out) {
    out[threadIdx.x] = called(in[threadIdx.x], in);
}

extern "C" __global__ __launch_bounds__(1024) __attribute__((amdgpu_num_vgpr(24))) void spills(const u32 *in, u32 *out) {
    float x[48];
    for (int i = 0; i < 48; i++) x[i] = in[threadIdx.x + i];
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < 48; i++) x[i] = x[i] * x[(i * 7 + k) % 48] + in[k];
    float sum = 0;
    for (int i = 0; i < 48; i++) sum += x[i];
    out[threadIdx.x] = (u32)fminf(sum, 1e9f);
}

struct Padded { u32 a; unsigned char b; double c; };

KERNEL padded(const u32 *in, u32 *out) {
    Padded p = {in[threadIdx.x], (unsigned char)threadIdx.x, 1.5};
    __shared__ Padded shared[256];
    shared[threadIdx.x] = p;
    __syncthreads();
    Padded q = shared[threadIdx.x ^ 1];
    out[threadIdx.x] = q.a + q.b + (u32)q.c;
}

KERNEL maybe(const u32 *in, u32 *out) {
    u32 x, y;
    if (in[threadIdx.x] > 30) x = in[threadIdx.x + 1];
    if (in[threadIdx.x] > 40) y = x * 2;
    u32 r = 3;
    if (in[threadIdx.x] > 40) r = y + x;
    out[threadIdx.x] = r;
}

KERNEL tiled(const u32 *in, u32 *out) {
    __shared__ float a[16][17], b[16][17];
    u32 x = threadIdx.x % 16, y = threadIdx.x / 16 % 16;
    float sum = 0;
    for (u32 tile = 0; tile < 4; tile++) {
        for (u32 row = y; row < 16; row += blockDim.x / 16) {
            a[row][x] = in[(row * 64 + tile * 16 + x) % 4096];
            b[row][x] = in[((tile * 16 + row) * 64 + x) % 4096];
        }
        __syncthreads();
        for (u32 k = 0; k < 16; k++) sum += a[y][k] * b[k][x];
        __syncthreads();
    }
    out[threadIdx.x] = (u32)sum;
}
