// kv_read_v1_naive: the keys or values of tokens from their slots of the paged cache, as numbers:
//
//   out[t, h, d] = code * head_scale[h] * token_scale[slot, h]
//
// rounded to f32 after each product, and then to the format of out. What kv_write wrote, less what its rounding lost. A
// token whose slot is negative, or past the end, gets zeros.
//
// Idea: the plain port. The order of elements is that of include/kv_layout.h.
// Mapping: one wave per token and KV head; lanes stride over the head.
// Reduction class: none.
// Cost: 1 or 2 bytes read and 2 or 4 written per element.
// Measured: not on hardware. Executed in the emulator, equal bits.
// Lost to: nothing yet. It loads one element at a time; a wave's loads of values are 16 bytes apart.

#include <hip/hip_runtime.h>

#include "formats.h"
#include "kv_layout.h"
#include "wave.h"

// What of a pool is read.
struct Source {
    const long *__restrict__ slot_mapping;
    const float *__restrict__ head_scales;
    // Null: 1.
    const float *__restrict__ token_scales;
    unsigned num_blocks;
};

template <typename Format, typename Out, bool IS_K>
__device__ inline void kv_read(typename Out::Bits *__restrict__ out, const typename Format::Bits *__restrict__ pool,
                               const Source &source, const KvShape &shape) {
    using Places = KvPlaces<typename Format::Bits>;
    const unsigned long token = blockIdx.x;
    const unsigned kv_head = blockIdx.y;
    const long slot = source.slot_mapping[token];
    const bool is_inside = slot >= 0 && slot < (long)source.num_blocks * shape.block_size;
    const unsigned long block = is_inside ? (unsigned long)slot / shape.block_size : 0;
    const unsigned offset = is_inside ? (unsigned long)slot % shape.block_size : 0;
    out += (token * shape.num_kv_heads + kv_head) * shape.head_dim;
    pool += shape.head_block(block, kv_head);
    const float token_scale = is_inside && source.token_scales
                                  ? source.token_scales[shape.token_scale(block, kv_head, offset)]
                                  : 1.0f;
    for (unsigned d = threadIdx.x; d < shape.head_dim; d += WAVE_SIZE) {
        float value = 0.0f;
        if (is_inside) {
            const unsigned place =
                IS_K ? Places::k(shape.padded(), offset, d) : Places::v(shape.head_dim, offset, d);
            value = Format::load(pool[place]) * source.head_scales[kv_head] * token_scale;
        }
        out[d] = Out::store(value);
    }
}

#define KV_READ(FORMAT_NAME, Format, OUT_NAME, Out, PART, IS_K)                                                        \
    extern "C" __global__ void __launch_bounds__(WAVE_SIZE) kv_read_v1_naive__##PART##_##FORMAT_NAME##_##OUT_NAME(     \
        Out::Bits *__restrict__ out, const Format::Bits *__restrict__ pool, const long *__restrict__ slot_mapping,     \
        const float *__restrict__ head_scales, const float *__restrict__ token_scales, unsigned num_blocks,            \
        unsigned block_size, unsigned num_kv_heads, unsigned head_dim) {                                               \
        kv_read<Format, Out, IS_K>(out, pool, {slot_mapping, head_scales, token_scales, num_blocks},                   \
                                   {block_size, num_kv_heads, head_dim});                                              \
    }

#define TO_ALL(FORMAT_NAME, Format)                                                                                    \
    KV_READ(FORMAT_NAME, Format, f32, F32, k, true)                                                                    \
    KV_READ(FORMAT_NAME, Format, f32, F32, v, false)                                                                   \
    KV_READ(FORMAT_NAME, Format, bf16, Bf16, k, true)                                                                  \
    KV_READ(FORMAT_NAME, Format, bf16, Bf16, v, false)                                                                 \
    KV_READ(FORMAT_NAME, Format, f16, F16, k, true)                                                                    \
    KV_READ(FORMAT_NAME, Format, f16, F16, v, false)

TO_ALL(bf16, Bf16)
TO_ALL(f16, F16)
TO_ALL(e4m3fnuz, Fp8E4m3)
TO_ALL(e5m2fnuz, Fp8E5m2)
