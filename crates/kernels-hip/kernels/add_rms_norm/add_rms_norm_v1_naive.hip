// add_rms_norm_v1_naive: x[t] += y[t]; out[t, i] = x[t, i] / sqrt(mean(x[t]^2) + eps) * weight[i].
//
// Source: the residual connection and engine_core::ops::RmsNorm, one after the other.
//
// Idea: the plain port of both in one launch: the row is added where the norm reads it anyway.
// Mapping: one work-group of 256 work-items (4 waves) per row; work-items stride over the row.
// Reduction class: that of rms_norm_v1_naive, whose bits it has: work-item t sums columns t, t + 256, ... in order; then
// a butterfly over the wave; then the waves in order.
// Cost: x read twice and written once, y and weight read once, out written once: 22 (or 24) bytes and 5 flops per
// element, where the two launches move 26 (or 28).
// Measured: not on hardware. Executed in the emulator, bit-equal to the two.
// Lost to: nothing yet. It reads the row twice and one element at a time.

#include <hip/hip_runtime.h>

#include "formats.h"
#include "wave.h"

constexpr unsigned WORKGROUP_SIZE = 256;
constexpr int NUM_WAVES = WORKGROUP_SIZE / WAVE_SIZE;

template <typename Format>
__device__ inline void add_rms_norm(typename Format::Bits *__restrict__ out, float *__restrict__ x,
                                    const float *__restrict__ y, const float *__restrict__ weight, float eps,
                                    unsigned hidden_size) {
    __shared__ float shared[NUM_WAVES];
    const unsigned long row = (unsigned long)blockIdx.x * hidden_size;
    float sum = 0.0f;
    for (unsigned i = threadIdx.x; i < hidden_size; i += WORKGROUP_SIZE) {
        const float value = x[row + i] + y[row + i];
        x[row + i] = value;
        sum = fmaf(value, value, sum);
    }
    const auto plus = [](float a, float b) { return a + b; };
    const float mean = workgroup_reduce<NUM_WAVES>(sum, shared, plus) / (float)hidden_size;
    const float scale = 1.0f / sqrtf(mean + eps);
    // Each work-item reads what it wrote itself.
    for (unsigned i = threadIdx.x; i < hidden_size; i += WORKGROUP_SIZE) {
        out[row + i] = Format::store(x[row + i] * scale * weight[i]);
    }
}

#define ADD_RMS_NORM(NAME, Format)                                                                                     \
    extern "C" __global__ void __launch_bounds__(WORKGROUP_SIZE) add_rms_norm_v1_naive__##NAME(                        \
        Format::Bits *__restrict__ out, float *__restrict__ x, const float *__restrict__ y,                            \
        const float *__restrict__ weight, float eps, unsigned hidden_size) {                                           \
        add_rms_norm<Format>(out, x, y, weight, eps, hidden_size);                                                     \
    }

ADD_RMS_NORM(f32, F32)
ADD_RMS_NORM(bf16, Bf16)
ADD_RMS_NORM(f16, F16)
