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

#include "formats.h"
#include "kv_layout.h"
#include "wave.h"

// Where a token's keys or values come from and go to.
struct Half {
    const float *__restrict__ x;
    unsigned long x_stride;
    const float *__restrict__ head_scales;
    float *__restrict__ token_scales;
};

template <typename Format> struct TokenScale {
    __device__ static float of(const float *, float, unsigned) { return 1.0f; }
};

template <typename Format> struct TokenScale<Fp8<Format>> {
    __device__ static float of(const float *head, float head_scale, unsigned head_dim) {
        float maximum = 0.0f;
        for (unsigned d = threadIdx.x; d < head_dim; d += WAVE_SIZE) {
            // fmaxf leaves NaN out.
            maximum = fmaxf(maximum, fabsf(head[d] / head_scale));
        }
        return fp8_scale<Format>(wave_reduce(maximum, [](float a, float b) { return fmaxf(a, b); }));
    }
};

template <typename Format, typename Place>
__device__ inline void write_head(typename Format::Bits *__restrict__ out, const Half &half, unsigned long token,
                                  unsigned kv_head, unsigned head_dim, unsigned long token_scale_idx, Place place) {
    const float *head = half.x + token * half.x_stride + (unsigned long)kv_head * head_dim;
    const float head_scale = half.head_scales[kv_head];
    float token_scale = 1.0f;
    if (half.token_scales) {
        token_scale = TokenScale<Format>::of(head, head_scale, head_dim);
        if (threadIdx.x == 0) {
            half.token_scales[token_scale_idx] = token_scale;
        }
    }
    for (unsigned d = threadIdx.x; d < head_dim; d += WAVE_SIZE) {
        out[place(d)] = Format::store(head[d] / head_scale / token_scale);
    }
}

template <typename Format>
__device__ inline void kv_write(typename Format::Bits *__restrict__ k_pool, typename Format::Bits *__restrict__ v_pool,
                                const long *__restrict__ slot_mapping, const Half &k, const Half &v,
                                const KvShape &shape, unsigned num_blocks) {
    using Places = KvPlaces<typename Format::Bits>;
    const unsigned long token = blockIdx.x;
    const unsigned kv_head = blockIdx.y;
    const long slot = slot_mapping[token];
    // The host refuses slots past the end; this is what keeps the write inside the pool whatever it does.
    if (slot < 0 || slot >= (long)num_blocks * shape.block_size) {
        return;
    }
    const unsigned long block = (unsigned long)slot / shape.block_size;
    const unsigned offset = (unsigned long)slot % shape.block_size;
    const unsigned long first = shape.head_block(block, kv_head);
    const unsigned long token_scale_idx = shape.token_scale(block, kv_head, offset);
    write_head<Format>(k_pool + first, k, token, kv_head, shape.head_dim, token_scale_idx,
                       [&](unsigned d) { return Places::k(shape.padded(), offset, d); });
    write_head<Format>(v_pool + first, v, token, kv_head, shape.head_dim, token_scale_idx,
                       [&](unsigned d) { return Places::v(shape.head_dim, offset, d); });
}

#define KV_WRITE(NAME, Format)                                                                                         \
    extern "C" __global__ void __launch_bounds__(WAVE_SIZE) kv_write_v1_naive__f32_##NAME(                             \
        Format::Bits *__restrict__ k_pool, Format::Bits *__restrict__ v_pool, const long *__restrict__ slot_mapping,   \
        const float *__restrict__ k, const float *__restrict__ v, unsigned long k_stride, unsigned long v_stride,      \
        const float *__restrict__ k_scales, const float *__restrict__ v_scales, float *__restrict__ k_token_scales,    \
        float *__restrict__ v_token_scales, unsigned num_blocks, unsigned block_size, unsigned num_kv_heads,           \
        unsigned head_dim) {                                                                                           \
        kv_write<Format>(k_pool, v_pool, slot_mapping, {k, k_stride, k_scales, k_token_scales},                        \
                         {v, v_stride, v_scales, v_token_scales}, {block_size, num_kv_heads, head_dim}, num_blocks);   \
    }

KV_WRITE(bf16, Bf16)
KV_WRITE(f16, F16)
KV_WRITE(e4m3fnuz, Fp8E4m3)
KV_WRITE(e5m2fnuz, Fp8E5m2)
