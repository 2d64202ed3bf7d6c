// Keys and values of one token and head to its slot of the paged cache: what the kernels share that do it, each with its
// own way to the elements of a key. One wave; lanes stride over the head, first its keys, then its values.
#pragma once

#include <hip/hip_runtime.h>

#include "formats.h"
#include "kv_layout.h"
#include "wave.h"

// The elements as they are.
struct AsIs {
    __device__ float operator()(const float *head, unsigned d) const { return head[d]; }
};

// Where a token's keys or values come from and go to.
struct Half {
    const float *__restrict__ x;
    unsigned long x_stride;
    const float *__restrict__ head_scales;
    float *__restrict__ token_scales;
};

template <typename Format> struct TokenScale {
    template <typename Element> __device__ static float of(const float *, float, unsigned, Element) { return 1.0f; }
};

template <typename Format> struct TokenScale<Fp8<Format>> {
    template <typename Element>
    __device__ static float of(const float *head, float head_scale, unsigned head_dim, Element element) {
        float maximum = 0.0f;
        for (unsigned d = threadIdx.x; d < head_dim; d += WAVE_SIZE) {
            // fmaxf leaves NaN out.
            maximum = fmaxf(maximum, fabsf(element(head, d) / head_scale));
        }
        return fp8_scale<Format>(wave_reduce(maximum, [](float a, float b) { return fmaxf(a, b); }));
    }
};

template <typename Format, typename Place, typename Element>
__device__ inline void write_head(typename Format::Bits *__restrict__ out, const Half &half, unsigned long token,
                                  unsigned kv_head, unsigned head_dim, unsigned long token_scale_idx, Place place,
                                  Element element) {
    const float *head = half.x + token * half.x_stride + (unsigned long)kv_head * head_dim;
    const float head_scale = half.head_scales[kv_head];
    float token_scale = 1.0f;
    if (half.token_scales) {
        token_scale = TokenScale<Format>::of(head, head_scale, head_dim, element);
        if (threadIdx.x == 0) {
            half.token_scales[token_scale_idx] = token_scale;
        }
    }
    for (unsigned d = threadIdx.x; d < head_dim; d += WAVE_SIZE) {
        out[place(d)] = Format::store(element(head, d) / head_scale / token_scale);
    }
}

// key(head, d) is element d of a head of keys.
template <typename Format, typename Key>
__device__ inline void kv_write(typename Format::Bits *__restrict__ k_pool, typename Format::Bits *__restrict__ v_pool,
                                const long *__restrict__ slot_mapping, const Half &k, const Half &v,
                                const KvShape &shape, unsigned num_blocks, Key key) {
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
                       [&](unsigned d) { return Places::k(shape.padded(), offset, d); }, key);
    write_head<Format>(v_pool + first, v, token, kv_head, shape.head_dim, token_scale_idx,
                       [&](unsigned d) { return Places::v(shape.head_dim, offset, d); }, AsIs{});
}
