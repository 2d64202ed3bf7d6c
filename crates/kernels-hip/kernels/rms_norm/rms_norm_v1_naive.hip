// rms_norm_v1_naive: out[row, i] = x[row, i] / sqrt(mean(x[row]^2) + eps) * weight[i], f32.
//
// Source: Zhang and Sennrich, Root Mean Square Layer Normalization (2019), as engine_core::ops::RmsNorm states it.
//
// Idea: the plain port.
// Mapping: one work-group of 256 work-items (4 waves) per row; work-items stride over the row.
// Reduction class: work-item t sums columns t, t + 256, ... in order; then a butterfly over the wave; then the waves
// in order. A function of the row and its length alone.
// Cost: x read twice, weight once per row, out written once: 16 bytes and 4 flops per element.
// Measured: not on hardware. Executed in the emulator, within reference_cpu's bound.
// Lost to: nothing yet. It reads the row twice and one element at a time.

#include <hip/hip_runtime.h>

#include "wave.h"

constexpr int WORKGROUP_SIZE = 256;
constexpr int NUM_WAVES = WORKGROUP_SIZE / WAVE_SIZE;

extern "C" __global__ void __launch_bounds__(WORKGROUP_SIZE)
rms_norm_v1_naive(float *__restrict__ out, const float *__restrict__ x, const float *__restrict__ weight, float eps,
                  unsigned hidden_size) {
    __shared__ float shared[NUM_WAVES];
    const unsigned long row = (unsigned long)blockIdx.x * hidden_size;
    float sum = 0.0f;
    for (unsigned i = threadIdx.x; i < hidden_size; i += WORKGROUP_SIZE) {
        sum = fmaf(x[row + i], x[row + i], sum);
    }
    const auto plus = [](float a, float b) { return a + b; };
    const float mean = workgroup_reduce<NUM_WAVES>(sum, shared, plus) / (float)hidden_size;
    const float scale = 1.0f / sqrtf(mean + eps);
    for (unsigned i = threadIdx.x; i < hidden_size; i += WORKGROUP_SIZE) {
        out[row + i] = x[row + i] * scale * weight[i];
    }
}
