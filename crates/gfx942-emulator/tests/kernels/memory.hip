// Scratch, dynamic indexing, calls, flat pointers, buffers, direct loads to LDS, scalar memory, hardware registers.
#include <hip/hip_runtime.h>

extern "C" __global__ void scratch(float* data, int n, int k) {
    float local[64];
    for (int i = 0; i < 64; i++) local[i] = data[i * n];
    for (int i = 0; i < n; i++) local[(i * k) & 63] += local[i & 63] * 2.0f;
    data[threadIdx.x] = local[k & 63];
    volatile char bytes[40];
    bytes[k & 31] = (char)n;
    volatile short words[8];
    words[n & 7] = bytes[n & 31];
    data[1] = words[k & 7];
}

typedef float f16v __attribute__((ext_vector_type(16)));
extern "C" __global__ void indexed(f16v* data, int k, float x) {
    f16v v = data[threadIdx.x];
    v[k & 15] = x;
    float y = v[(k + 3) & 15];
    v[(k * 5) & 15] += y;
    data[threadIdx.x] = v;
}

__device__ __attribute__((noinline)) int twice(int x, int* p) { return x * 2 + p[x & 3]; }
__device__ __attribute__((noinline)) int thrice(int x, int* p) { return x * 3 - p[x & 1]; }
typedef int (*function)(int, int*);
__device__ function functions[2] = {twice, thrice};
extern "C" __global__ void calls(int* data, int k) {
    int local[4] = {1, k, 3, 4};
    data[threadIdx.x] = functions[k & 1](data[threadIdx.x], local) + twice(k, data);
}

extern "C" __global__ void flat(float* data, int k) {
    __shared__ float tile[64];
    tile[threadIdx.x] = data[threadIdx.x];
    __syncthreads();
    float* p = k ? tile : data;
    p[k] += 1.0f;
    atomicAdd((int*)p + 1, 3);
    data[2] = p[threadIdx.x ^ 1];
}

typedef float f4 __attribute__((ext_vector_type(4)));
extern "C" __global__ void buffers(float* in, float* out, int n) {
    __amdgpu_buffer_rsrc_t r = __builtin_amdgcn_make_buffer_rsrc(in, 0, n, 0x27000);
    __amdgpu_buffer_rsrc_t w = __builtin_amdgcn_make_buffer_rsrc(out, 0, n, 0x27000);
    typedef unsigned u4 __attribute__((ext_vector_type(4)));
    u4 a = __builtin_amdgcn_raw_buffer_load_b128(r, threadIdx.x * 16, 0, 0);
    unsigned b = __builtin_amdgcn_raw_buffer_load_b32(r, threadIdx.x * 4, n, 17);
    unsigned char c = __builtin_amdgcn_raw_buffer_load_b8(r, 64, 0, 2);
    a.x += b + c;
    __builtin_amdgcn_raw_buffer_store_b128(a, w, threadIdx.x * 16, 0, 0);
    __builtin_amdgcn_raw_buffer_store_b16((unsigned short)b, w, threadIdx.x * 2, 8, 0);
}

extern "C" __global__ void direct(const unsigned* in, unsigned* out) {
    __shared__ unsigned tile[256];
    __builtin_amdgcn_global_load_lds((const __attribute__((address_space(1))) void*)(in + threadIdx.x),
                                     (__attribute__((address_space(3))) void*)tile, 4, 16, 0);
    __builtin_amdgcn_s_waitcnt(0);
    __syncthreads();
    out[threadIdx.x] = tile[threadIdx.x ^ 1];
}

extern "C" __global__ void state(unsigned long long* out, const int* table) {
    __builtin_amdgcn_s_setprio(2);
    __builtin_amdgcn_s_sleep(1);
    __builtin_amdgcn_sched_barrier(0);
    __builtin_amdgcn_s_setreg(0x801, 1);
    out[0] = __builtin_amdgcn_s_memtime() + __builtin_amdgcn_s_getreg(0xf804) + __builtin_amdgcn_s_memrealtime();
    out[1] = table[blockIdx.x] + table[blockIdx.y * 8] + clock64();
    __builtin_amdgcn_s_barrier();
    if (table[3] == 7) __builtin_trap();
}
