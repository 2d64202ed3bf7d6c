// kv_write_v1_naive: each token's keys and values, f32, to its slot of the paged cache, divided by the scale of their
// head and rounded to the cache's format.
//
//   head scales:   code = round(x / scale[head])
//   token scales:  token_scale = max|x / scale[head]| / MAX over the head,  code = round(x / scale[head] / token_scale)
//
// Token scales are for FP8 alone, and are written beside the codes. A token whose slot is negative is skipped.
//
// Source: engine_core::ops::KvWrite; the order of elements is that of include/kv_layout.h.
//
// Idea: the plain port. Divisions are correctly rounded, so the bytes are those of the oracle.
// Mapping: one wave per token and KV head; lanes stride over the head, first its keys, then its values.
// Cost: 8 bytes read and 2 or 4 written per pair of elements; with token scales all is read twice.
// Measured: not on hardware. Executed in the emulator, byte-equal to the oracle.
// Lost to: nothing yet. Consecutive lanes write x elements together and then jump by a row of slots (K) or x slots (V):
// most of each 64-byte sector is another token's. A variant that packs x elements per lane would not.

#include <hip/hip_runtime.h>

#include "kv_write.h"

#define KV_WRITE(NAME, Format)                                                                                         \
    extern "C" __global__ void __launch_bounds__(WAVE_SIZE) kv_write_v1_naive__f32_##NAME(                             \
        Format::Bits *__restrict__ k_pool, Format::Bits *__restrict__ v_pool, const long *__restrict__ slot_mapping,   \
        const float *__restrict__ k, const float *__restrict__ v, unsigned long k_stride, unsigned long v_stride,      \
        const float *__restrict__ k_scales, const float *__restrict__ v_scales, float *__restrict__ k_token_scales,    \
        float *__restrict__ v_token_scales, unsigned num_blocks, unsigned block_size, unsigned num_kv_heads,           \
        unsigned head_dim) {                                                                                           \
        kv_write<Format>(k_pool, v_pool, slot_mapping, {k, k_stride, k_scales, k_token_scales},                        \
                         {v, v_stride, v_scales, v_token_scales}, {block_size, num_kv_heads, head_dim}, num_blocks,    \
                         AsIs{});                                                                                      \
    }

KV_WRITE(bf16, Bf16)
KV_WRITE(f16, F16)
KV_WRITE(e4m3fnuz, Fp8E4m3)
KV_WRITE(e5m2fnuz, Fp8E5m2)
