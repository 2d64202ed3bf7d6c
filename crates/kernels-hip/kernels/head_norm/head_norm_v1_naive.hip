// head_norm_v1_naive: RMSNorm of each head of x in place, f32: Qwen3's QK-norm.
//
// Source: engine_core::ops::HeadNorm.
//
// Idea: the plain port.
// Mapping: one wave per row and head; lanes stride over the head.
// Reduction class: lane t sums elements t, t + 64, ... in order; then a butterfly over the wave. A function of the head
// alone.
// Cost: x read twice and written once, 12 bytes and 4 flops per element.
// Measured: not on hardware. Executed in the emulator, within reference_cpu's bound.
// Lost to: nothing yet. It loads one element at a time, twice.

#include <hip/hip_runtime.h>

#include "wave.h"

extern "C" __global__ void __launch_bounds__(WAVE_SIZE)
head_norm_v1_naive(float *__restrict__ x, unsigned long stride, const float *__restrict__ weight, float eps,
                   unsigned head_dim) {
    x += blockIdx.x * stride + (unsigned long)blockIdx.y * head_dim;
    float sum = 0.0f;
    for (unsigned i = threadIdx.x; i < head_dim; i += WAVE_SIZE) {
        sum = fmaf(x[i], x[i], sum);
    }
    const float mean = wave_reduce(sum, [](float a, float b) { return a + b; }) / (float)head_dim;
    const float scale = 1.0f / sqrtf(mean + eps);
    for (unsigned i = threadIdx.x; i < head_dim; i += WAVE_SIZE) {
        x[i] = x[i] * scale * weight[i];
    }
}
