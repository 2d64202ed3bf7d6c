// rope_v1_naive: rotates the leading rotary_dim elements of each head of x in place, f32.
//
//   half-split:    element i pairs with i + rotary_dim / 2
//   interleaved:   element 2i pairs with 2i + 1
//
// (a, b) becomes (a cos - b sin, b cos + a sin) with angle i of the row; the head's other elements stay.
//
// Source: Su et al., RoFormer (2021), as engine_core::ops::Rope states it.
//
// Idea: the plain port.
// Mapping: one work-group of 256 work-items per row; work-items stride over the pairs of all heads.
// Reduction class: none.
// Cost: 16 bytes read (8 of them angles that the next head reads again), 8 written, 6 flops per pair.
// Measured: not on hardware. Executed in the emulator, within reference_cpu's bound.
// Lost to: nothing yet.

#include <hip/hip_runtime.h>

#include "rope.h"

constexpr unsigned WORKGROUP_SIZE = 256;

extern "C" __global__ void __launch_bounds__(WORKGROUP_SIZE)
rope_v1_naive(float *__restrict__ x, unsigned long stride, const float *__restrict__ angles, unsigned num_heads,
              unsigned head_dim, unsigned rotary_dim, unsigned interleaved) {
    const unsigned half = rotary_dim / 2;
    x += blockIdx.x * stride;
    angles += (unsigned long)blockIdx.x * rotary_dim;
    for (unsigned pair = threadIdx.x; pair < num_heads * half; pair += WORKGROUP_SIZE) {
        const unsigned i = pair % half;
        float *head = x + (unsigned long)(pair / half) * head_dim;
        float *first = head + (interleaved ? 2 * i : i);
        float *second = interleaved ? first + 1 : first + half;
        const float a = *first, b = *second;
        const float cos = angles[i], sin = angles[half + i];
        *first = rope_first(a, b, cos, sin);
        *second = rope_second(a, b, cos, sin);
    }
}
