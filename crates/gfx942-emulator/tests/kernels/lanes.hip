// Cross-lane operations, LDS, atomics, barriers.
#include <hip/hip_runtime.h>

extern "C" __global__ void lanes(int* data, float* f, unsigned long long* mask) {
    int x = data[threadIdx.x];
    x += __builtin_amdgcn_update_dpp(0, x, 0x111, 0xf, 0xf, true);
    x += __builtin_amdgcn_update_dpp(x, x, 0x142, 0xa, 0xf, false);
    x += __builtin_amdgcn_update_dpp(0, x, 0x4e, 0xf, 0x5, false);
    x ^= __builtin_amdgcn_update_dpp(0, x, 0x140, 0xf, 0xf, true);
    x += __builtin_amdgcn_ds_swizzle(x, 0x401f) + __builtin_amdgcn_ds_swizzle(x, 0x80e4) + __builtin_amdgcn_ds_swizzle(x, 0x0038);
    x += __builtin_amdgcn_ds_bpermute(x * 4, x) + __builtin_amdgcn_ds_permute(x * 4, x);
    x += __builtin_amdgcn_readlane(x, 5) + __builtin_amdgcn_readfirstlane(x) + __builtin_amdgcn_mbcnt_hi(~0u, __builtin_amdgcn_mbcnt_lo(~0u, 0));
    mask[threadIdx.x] = __ballot(x > 3) + __builtin_amdgcn_read_exec();
    data[threadIdx.x] = __shfl_xor(x, 3) + __shfl_down(x, 1);
    f[threadIdx.x] += __shfl(f[threadIdx.x], 7);
}

extern "C" __global__ void shared(float4* data, unsigned char* bytes, double* d) {
    __shared__ float4 tile[256];
    __shared__ unsigned char small[1024];
    __shared__ unsigned counter;
    __shared__ float sum;
    __shared__ double sumd;
    tile[threadIdx.x] = data[threadIdx.x];
    small[threadIdx.x * 3] = bytes[threadIdx.x];
    if (threadIdx.x == 0) counter = 0, sum = 0, sumd = 0;
    __syncthreads();
    atomicAdd(&counter, 1u);
    atomicMax(&counter, threadIdx.x);
    unsigned old = atomicCAS(&counter, 3u, 4u) + atomicExch(&counter, 9u) + atomicInc(&counter, 7u);
    unsafeAtomicAdd(&sum, data[threadIdx.x].x);
    unsafeAtomicAdd(&sumd, d[threadIdx.x]);
    __syncthreads();
    float4 v = tile[(threadIdx.x + 17) & 255];
    v.x += small[threadIdx.x] + old + sum;
    v.y += tile[threadIdx.x ^ 1].z + (float)sumd;
    data[threadIdx.x] = v;
}

extern "C" __global__ void atomics(int* i, unsigned long long* u, float* f, double* d) {
    atomicAdd(i, 2);
    atomicAdd(f, 1.0f);
    unsafeAtomicAdd(f + 1, 2.0f);
    unsafeAtomicAdd(d, 2.0);
    unsigned long long old = atomicCAS(u, 1ull, 2ull) + atomicAdd(u + 1, 3ull) + atomicMin(u + 2, 4ull) + atomicXor(u + 3, 5ull);
    i[1] = atomicSub(i + 2, 3) + atomicAnd(i + 3, 7) + atomicOr(i + 4, 8) + atomicMin(i + 5, -1) + (int)old;
    __hip_atomic_store(i + 6, 1, __ATOMIC_RELEASE, __HIP_MEMORY_SCOPE_SYSTEM);
    i[7] = __hip_atomic_load(i + 8, __ATOMIC_ACQUIRE, __HIP_MEMORY_SCOPE_AGENT);
    __threadfence_system();
}
