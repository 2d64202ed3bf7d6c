// silu_mul_v1_naive: out[t, i] = silu(gate_up[t, i]) * gate_up[t, width + i], silu(x) = x / (1 + e^-x).
//
// Source: engine_core::ops::SiluMul; Shazeer, GLU Variants Improve Transformer (2020).
//
// Idea: the plain port. For a gate below -88 e^-x is infinite and the quotient 0, as it should be.
// Mapping: one work-item per element, 256 per work-group; a row is a row of work-groups.
// Reduction class: none.
// Cost: 8 bytes read and 2 written per element.
// Measured: not on hardware. Executed in the emulator, within reference_cpu's bound.
// Lost to: nothing yet. It loads one element at a time.

#include <hip/hip_runtime.h>

#include "formats.h"

constexpr unsigned WORKGROUP_SIZE = 256;

template <typename Format>
__device__ inline void silu_mul(typename Format::Bits *__restrict__ out, const float *__restrict__ gate_up,
                                unsigned width) {
    const unsigned i = blockIdx.y * WORKGROUP_SIZE + threadIdx.x;
    if (i >= width) {
        return;
    }
    const unsigned long row = blockIdx.x;
    const float gate = gate_up[row * 2 * width + i];
    const float up = gate_up[row * 2 * width + width + i];
    out[row * width + i] = Format::store(gate / (1.0f + expf(-gate)) * up);
}

#define SILU_MUL(NAME, Format)                                                                                         \
    extern "C" __global__ void __launch_bounds__(WORKGROUP_SIZE)                                                       \
    silu_mul_v1_naive__##NAME(Format::Bits *__restrict__ out, const float *__restrict__ gate_up, unsigned width) {     \
        silu_mul<Format>(out, gate_up, width);                                                                         \
    }

SILU_MUL(bf16, Bf16)
SILU_MUL(f16, F16)
