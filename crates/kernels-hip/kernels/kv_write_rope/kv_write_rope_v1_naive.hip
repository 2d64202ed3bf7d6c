// kv_write_rope_v1_naive: rope of the keys, then kv_write of keys and values: the bytes of the two, one after the other.
// Rotated keys are never stored as f32.
//
// Sources: those of rope and of kv_write, of which it is both.
//
// Idea: an element of a rotated head is a function of two elements of the head, which whoever writes it reads.
// Mapping: one wave per token and KV head; lanes stride over the head, first its keys, then its values.
// Reduction class: none: maxima have no order.
// Cost: what kv_write costs, and the other element of each pair, and 8 bytes of angles: from the cache, for neighbouring
// lanes read them too. What it saves is rope's pass over the keys, 8 bytes per element, and its launch.
// Measured: not on hardware. Executed in the emulator, byte-equal to rope and kv_write.
// Lost to: nothing yet. It stores as kv_write_v1_naive does, one element at a time.

#include <hip/hip_runtime.h>

#include "kv_write.h"
#include "rope.h"

#define KV_WRITE(NAME, Format)                                                                                         \
    extern "C" __global__ void __launch_bounds__(WAVE_SIZE) kv_write_rope_v1_naive__f32_##NAME(                        \
        Format::Bits *__restrict__ k_pool, Format::Bits *__restrict__ v_pool, const long *__restrict__ slot_mapping,   \
        const float *__restrict__ k, const float *__restrict__ v, unsigned long k_stride, unsigned long v_stride,      \
        const float *__restrict__ k_scales, const float *__restrict__ v_scales, float *__restrict__ k_token_scales,    \
        float *__restrict__ v_token_scales, unsigned num_blocks, unsigned block_size, unsigned num_kv_heads,           \
        unsigned head_dim, const float *__restrict__ angles, unsigned rotary_dim, unsigned interleaved) {              \
        const Rotated rotated = {angles + (unsigned long)blockIdx.x * rotary_dim, rotary_dim, interleaved};            \
        kv_write<Format>(k_pool, v_pool, slot_mapping, {k, k_stride, k_scales, k_token_scales},                        \
                         {v, v_stride, v_scales, v_token_scales}, {block_size, num_kv_heads, head_dim}, num_blocks,    \
                         rotated);                                                                                     \
    }

KV_WRITE(bf16, Bf16)
KV_WRITE(f16, F16)
KV_WRITE(e4m3fnuz, Fp8E4m3)
KV_WRITE(e5m2fnuz, Fp8E5m2)
