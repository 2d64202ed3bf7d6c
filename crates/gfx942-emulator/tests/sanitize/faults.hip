// Each kernel has a fault if FAULT is 1, and is the same without it if FAULT is 0.
#include <hip/hip_runtime.h>

#if FAULT
#define WHERE_FAULTY(faulty, right) faulty
#else
#define WHERE_FAULTY(faulty, right) right
#endif

typedef unsigned u32;
#define KERNEL extern "C" __global__ __launch_bounds__(256) void

KERNEL wait_vector(const u32 *in, u32 *out) {
    u32 r;
    asm volatile("global_load_dword v20, %1, off\n"
                 "global_load_dword v21, %1, off offset:4\n" WHERE_FAULTY("s_waitcnt vmcnt(1)\n", "s_waitcnt vmcnt(0)\n")
                 "v_add_u32 %0, 1, v21\n"
                 "s_waitcnt vmcnt(0)"
                 : "=v"(r) : "v"(in + threadIdx.x) : "v20", "v21");
    out[threadIdx.x] = r;
}

KERNEL wait_in_order(const u32 *in, u32 *out) {
    u32 r;
    asm volatile("global_load_dword v20, %1, off\n"
                 "global_store_dword %2, v0, off offset:1024\n" WHERE_FAULTY("s_waitcnt vmcnt(2)\n", "s_waitcnt vmcnt(1)\n")
                 "v_add_u32 %0, 1, v20\n"
                 "s_waitcnt vmcnt(0)"
                 : "=v"(r) : "v"(in + threadIdx.x), "v"(out + threadIdx.x) : "v20", "memory");
    out[threadIdx.x] = r;
}

KERNEL wait_overwrite(const u32 *in, u32 *out) {
    u32 r;
    asm volatile("global_load_dword v20, %1, off\n" WHERE_FAULTY("", "s_waitcnt vmcnt(0)\n")
                 "v_mov_b32 v20, 7\n"
                 "s_waitcnt vmcnt(0)\n"
                 "v_mov_b32 %0, v20"
                 : "=v"(r) : "v"(in + threadIdx.x) : "v20");
    out[threadIdx.x] = r;
}

KERNEL wait_scalar(const u32 *in, u32 *out) {
    u32 r;
    asm volatile("s_load_dword s40, %1, 0x0\n"
                 "s_load_dword s41, %1, 0x4\n" WHERE_FAULTY("s_waitcnt lgkmcnt(1)\n", "s_waitcnt lgkmcnt(0)\n")
                 "s_add_u32 %0, s40, 1\n"
                 "s_waitcnt lgkmcnt(0)"
                 : "=s"(r) : "s"(in) : "s40", "s41", "scc");
    out[threadIdx.x] = r;
}

KERNEL wait_lds(const u32 *in, u32 *out) {
    __shared__ u32 shared[256];
    shared[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    u32 r, address = (u32)(__UINTPTR_TYPE__)&shared[threadIdx.x];
    asm volatile("ds_read_b32 v20, %1\n"
                 "ds_read_b32 v21, %1\n" WHERE_FAULTY("s_waitcnt lgkmcnt(2)\n", "s_waitcnt lgkmcnt(1)\n")
                 "v_add_u32 %0, 1, v20\n"
                 "s_waitcnt lgkmcnt(0)"
                 : "=v"(r) : "v"(address) : "v20", "v21");
    out[threadIdx.x] = r;
}

KERNEL wait_flat(const u32 *in, u32 *out) {
    __shared__ u32 shared[256];
    shared[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    const u32 *p = threadIdx.x % 2 ? in + threadIdx.x : shared + threadIdx.x;
    u32 r;
    asm volatile("flat_load_dword v20, %1\n" WHERE_FAULTY("s_waitcnt vmcnt(0)\n", "s_waitcnt vmcnt(0) lgkmcnt(0)\n")
                 "v_add_u32 %0, 1, v20\n"
                 "s_waitcnt vmcnt(0) lgkmcnt(0)"
                 : "=v"(r) : "v"(p) : "v20");
    out[threadIdx.x] = r;
}

KERNEL wait_lds_load(const u32 *in, u32 *out) {
    __shared__ u32 shared[256];
    shared[threadIdx.x] = 0;
    __syncthreads();
    u32 r, address = (u32)(__UINTPTR_TYPE__)&shared[threadIdx.x];
    u32 base = __builtin_amdgcn_readfirstlane(address);
    asm volatile("s_mov_b32 m0, %3\n"
                 "s_nop 0\n"
                 "global_load_lds_dword %1, off\n" WHERE_FAULTY("", "s_waitcnt vmcnt(0)\n")
                 "ds_read_b32 %0, %2\n"
                 "s_waitcnt vmcnt(0) lgkmcnt(0)"
                 : "=v"(r) : "v"(in + threadIdx.x), "v"(address), "s"(base) : "memory", "m0");
    out[threadIdx.x] = r;
}

KERNEL race_read(const u32 *in, u32 *out) {
    __shared__ u32 shared[256];
    shared[threadIdx.x] = 0;
    __syncthreads();
    shared[threadIdx.x] = in[threadIdx.x];
    WHERE_FAULTY(__builtin_amdgcn_wave_barrier(), __syncthreads());
    out[threadIdx.x] = shared[(threadIdx.x + 64) % blockDim.x];
}

KERNEL race_write(const u32 *in, u32 *out) {
    __shared__ u32 shared[256];
    if (threadIdx.x < 64) shared[threadIdx.x] = in[threadIdx.x] * 3;
    __syncthreads();
    u32 r = shared[threadIdx.x % 64];
    WHERE_FAULTY(, __syncthreads());
    if (threadIdx.x < 64) shared[threadIdx.x] = r + 1;
    __syncthreads();
    out[threadIdx.x] = shared[threadIdx.x % 64] + r;
}

KERNEL race_late(const u32 *in, u32 *out) {
    __shared__ u32 shared[256];
    u32 r, address = (u32)(__UINTPTR_TYPE__)shared;
    u32 own = address + threadIdx.x * 4, other = address + (threadIdx.x ^ 64) * 4;
    asm volatile("ds_write_b32 %1, %3\n" WHERE_FAULTY("", "s_waitcnt lgkmcnt(0)\n")
                 "s_barrier\n"
                 "ds_read_b32 %0, %2\n"
                 "s_waitcnt lgkmcnt(0)"
                 : "=&v"(r) : "v"(own), "v"(other), "v"(in[threadIdx.x]) : "memory");
    out[threadIdx.x] = r;
    if (out == nullptr) shared[threadIdx.x] = 0, out[0] = shared[threadIdx.x];
}

KERNEL uninitialized_stored(const u32 *in, u32 *out) {
    u32 x;
    asm volatile(WHERE_FAULTY("", "v_mov_b32 %0, 0") : "=v"(x));
    out[threadIdx.x] = in[threadIdx.x] + 2 * x;
}

KERNEL uninitialized_lane(const u32 *in, u32 *out) {
    u32 x;
    asm volatile("s_mov_b64 s[40:41], exec\n"
                 "s_mov_b64 exec, " WHERE_FAULTY("0xff", "-1") "\n"
                 "v_mov_b32 v20, 0\n"
                 "s_mov_b64 exec, s[40:41]\n"
                 "v_mov_b32 %0, v20"
                 : "=v"(x) : : "v20", "s40", "s41");
    out[threadIdx.x] = in[threadIdx.x] + x;
}

KERNEL uninitialized_accumulator(const u32 *in, u32 *out) {
    u32 x;
    asm volatile(WHERE_FAULTY("", "v_accvgpr_write_b32 a3, 0\n") "s_nop 3\n v_accvgpr_read_b32 %0, a3" : "=v"(x) : : "a3");
    out[threadIdx.x] = x;
}

KERNEL uninitialized_scalar(const u32 *in, u32 *out) {
    u32 x;
    asm volatile(WHERE_FAULTY("s_mov_b32 %0, s60", "s_mov_b32 %0, 3") : "=s"(x) : : "s60");
    out[threadIdx.x] = in[x & 1];
}

KERNEL uninitialized_branch(const u32 *in, u32 *out) {
    u32 x;
    asm volatile(WHERE_FAULTY("s_mov_b32 %0, s60", "s_mov_b32 %0, 3") : "=s"(x) : : "s60");
    if ((int)x < 0) __builtin_amdgcn_s_sleep(1);
    out[threadIdx.x] = in[threadIdx.x];
}

KERNEL uninitialized_lanes(const u32 *in, u32 *out) {
    u32 x;
    asm volatile(WHERE_FAULTY("", "v_mov_b32 %0, 3") : "=v"(x));
    if ((int)x < 5) out[threadIdx.x] = in[threadIdx.x];
}

KERNEL uninitialized_address(const u32 *in, u32 *out) {
    u32 x;
    asm volatile(WHERE_FAULTY("", "v_mov_b32 %0, 3") : "=v"(x));
    out[threadIdx.x] = in[x & 255];
}

KERNEL uninitialized_lds(const u32 *in, u32 *out) {
    __shared__ u32 shared[256];
    if (threadIdx.x < WHERE_FAULTY(40, 64)) shared[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = shared[(threadIdx.x + 3) % 64];
}

KERNEL uninitialized_scratch(const u32 *in, u32 *out) {
    volatile u32 array[16];
    for (u32 i = 0; i < WHERE_FAULTY(15, 16); i++) array[i] = in[i];
    out[threadIdx.x] = array[(in[threadIdx.x] + threadIdx.x) % 16];
}

KERNEL uninitialized_device(const u32 *in, u32 *out) {
    const u32 *from = WHERE_FAULTY(out + 512, in);
    out[threadIdx.x] = from[threadIdx.x] + 1;
}

KERNEL uninitialized_byte(const u32 *in, u32 *out) {
    unsigned char *bytes = (unsigned char *)(out + 512);
    if (threadIdx.x != 7 || !WHERE_FAULTY(1, 0)) bytes[threadIdx.x] = (unsigned char)in[threadIdx.x];
    __builtin_amdgcn_s_waitcnt(0);
    asm volatile("" ::: "memory");
    out[threadIdx.x] = bytes[threadIdx.x];
}

KERNEL uninitialized_atomic(const u32 *in, u32 *out) {
    if (!WHERE_FAULTY(1, 0)) out[threadIdx.x] = 0;
    asm volatile("s_waitcnt vmcnt(0)" ::: "memory");
    atomicAdd(out + threadIdx.x, in[threadIdx.x]);
}

KERNEL barrier_elsewhere(const u32 *in, u32 *out) {
    u32 wave = __builtin_amdgcn_readfirstlane(threadIdx.x / 64), r = in[threadIdx.x];
    if (WHERE_FAULTY(wave == 0, in[0] == 77)) {
        asm volatile("s_nop 1\n s_barrier");
        r += 1;
    } else {
        asm volatile("s_nop 2\n s_barrier");
    }
    out[threadIdx.x] = r;
}

KERNEL barrier_ended(const u32 *in, u32 *out) {
    if (threadIdx.x >= WHERE_FAULTY(64, 128)) return;
    out[threadIdx.x] = in[threadIdx.x];
    __builtin_amdgcn_s_barrier();
    out[threadIdx.x] += 1;
}

KERNEL barrier_lanes(const u32 *in, u32 *out) {
    if (WHERE_FAULTY(threadIdx.x % 2, in[0] == 0)) {
        out[threadIdx.x] = in[threadIdx.x];
        __builtin_amdgcn_s_barrier();
    }
}
