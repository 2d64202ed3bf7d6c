// rms_norm_v1_naive: out[t, i] = x[r(t), i] / sqrt(mean(x[r(t)]^2) + eps) * weight[i], r a list of rows or the identity.
//
// Source: Zhang and Sennrich, Root Mean Square Layer Normalization (2019), as engine_core::ops::RmsNorm states it.
//
// Idea: the plain port. A list of rows comes with the arguments of the launch, 256 at a time.
// Mapping: one work-group of 256 work-items (4 waves) per row; work-items stride over the row.
// Reduction class: work-item t sums columns t, t + 256, ... in order; then a butterfly over the wave; then the waves
// in order. A function of the row and its length alone.
// Cost: x read twice, weight once per row, out written once: 14 (or 16) bytes and 4 flops per element.
// Measured: not on hardware. Executed in the emulator, within reference_cpu's bound.
// Lost to: nothing yet. It reads the row twice and one element at a time.

#include <hip/hip_runtime.h>

#include "formats.h"
#include "row_list.h"
#include "wave.h"

constexpr unsigned WORKGROUP_SIZE = 256;
constexpr int NUM_WAVES = WORKGROUP_SIZE / WAVE_SIZE;

template <typename Format>
__device__ inline void rms_norm(typename Format::Bits *__restrict__ out, const float *__restrict__ x,
                                const float *__restrict__ weight, float eps, unsigned hidden_size, unsigned from) {
    __shared__ float shared[NUM_WAVES];
    out += (unsigned long)blockIdx.x * hidden_size;
    x += (unsigned long)from * hidden_size;
    float sum = 0.0f;
    for (unsigned i = threadIdx.x; i < hidden_size; i += WORKGROUP_SIZE) {
        sum = fmaf(x[i], x[i], sum);
    }
    const auto plus = [](float a, float b) { return a + b; };
    const float mean = workgroup_reduce<NUM_WAVES>(sum, shared, plus) / (float)hidden_size;
    const float scale = 1.0f / sqrtf(mean + eps);
    for (unsigned i = threadIdx.x; i < hidden_size; i += WORKGROUP_SIZE) {
        out[i] = Format::store(x[i] * scale * weight[i]);
    }
}

#define RMS_NORM(NAME, Format)                                                                                         \
    extern "C" __global__ void __launch_bounds__(WORKGROUP_SIZE) rms_norm_v1_naive__##NAME(                            \
        Format::Bits *__restrict__ out, const float *__restrict__ x, const float *__restrict__ weight, float eps,      \
        unsigned hidden_size) {                                                                                        \
        rms_norm<Format>(out, x, weight, eps, hidden_size, blockIdx.x);                                                \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(WORKGROUP_SIZE) rms_norm_v1_naive__##NAME##_rows(                     \
        Format::Bits *__restrict__ out, const float *__restrict__ x, const float *__restrict__ weight, float eps,      \
        unsigned hidden_size, RowList rows) {                                                                          \
        rms_norm<Format>(out, x, weight, eps, hidden_size, rows.at[blockIdx.x]);                                       \
    }

RMS_NORM(f32, F32)
RMS_NORM(bf16, Bf16)
RMS_NORM(f16, F16)
