// rope_convert_v1_naive: rope, then convert: queries turned, rounded to 16 bits and stored as dense rows, with the bits of
// the two one after the other. Rotated queries are never stored as f32.
//
// Sources: those of rope and of convert, of which it is both.
//
// Idea: as in kv_write_rope: an element of a rotated head is a function of two elements of the head.
// Mapping: one work-item per element, 256 per work-group; a row is a row of work-groups.
// Reduction class: none.
// Cost: 4 bytes read and 2 written per element; the other element of the pair and 8 bytes of angles come from the cache,
// for neighbouring work-items read them too. What it saves is rope's pass over the queries, 8 bytes per element, and its
// launch.
// Measured: not on hardware. Executed in the emulator, bit-equal to rope and convert.
// Lost to: nothing yet. It loads and stores one element at a time.

#include <hip/hip_runtime.h>

#include "formats.h"
#include "rope.h"

constexpr unsigned WORKGROUP_SIZE = 256;

template <typename Format>
__device__ inline void rope_convert(typename Format::Bits *__restrict__ out, const float *__restrict__ x,
                                    unsigned long stride, unsigned width, unsigned head_dim, const Rotated &rotated) {
    const unsigned i = blockIdx.y * WORKGROUP_SIZE + threadIdx.x;
    if (i < width) {
        const unsigned long row = blockIdx.x;
        const unsigned d = i % head_dim;
        out[row * width + i] = Format::store(rotated(x + row * stride + (i - d), d));
    }
}

#define ROPE_CONVERT(NAME, Format)                                                                                     \
    extern "C" __global__ void __launch_bounds__(WORKGROUP_SIZE) rope_convert_v1_naive__f32_##NAME(                    \
        Format::Bits *__restrict__ out, const float *__restrict__ x, unsigned long stride,                             \
        const float *__restrict__ angles, unsigned width, unsigned head_dim, unsigned rotary_dim,                      \
        unsigned interleaved) {                                                                                        \
        const Rotated rotated = {angles + (unsigned long)blockIdx.x * rotary_dim, rotary_dim, interleaved};            \
        rope_convert<Format>(out, x, stride, width, head_dim, rotated);                                                \
    }

ROPE_CONVERT(bf16, Bf16)
ROPE_CONVERT(f16, F16)
