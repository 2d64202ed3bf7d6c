// convert_v1_naive: columns of f32 rows, rounded to 16 bits, as dense rows: queries on their way to attention.
//
// Idea: the plain port.
// Mapping: one work-item per element, 256 per work-group; a row is a row of work-groups.
// Reduction class: none.
// Cost: 4 bytes read and 2 written per element.
// Measured: not on hardware. Executed in the emulator, equal to the oracle's rounding.
// Lost to: nothing yet. It loads one element at a time; better, whoever makes the f32 rows rounds them.

#include <hip/hip_runtime.h>

#include "formats.h"

constexpr unsigned WORKGROUP_SIZE = 256;

template <typename Format>
__device__ inline void convert(typename Format::Bits *__restrict__ out, const float *__restrict__ x,
                               unsigned long stride, unsigned width) {
    const unsigned i = blockIdx.y * WORKGROUP_SIZE + threadIdx.x;
    if (i < width) {
        const unsigned long row = blockIdx.x;
        out[row * width + i] = Format::store(x[row * stride + i]);
    }
}

#define CONVERT(NAME, Format)                                                                                          \
    extern "C" __global__ void __launch_bounds__(WORKGROUP_SIZE) convert_v1_naive__f32_##NAME(                         \
        Format::Bits *__restrict__ out, const float *__restrict__ x, unsigned long stride, unsigned width) {           \
        convert<Format>(out, x, stride, width);                                                                        \
    }

CONVERT(bf16, Bf16)
CONVERT(f16, F16)
