// rms_norm_fp8_quantize_v1_naive: x[row] += delta[row] if there is a delta; then
//
//   y[i] = x[row, i] / sqrt(mean(x[row]^2) + eps) * weight[i],   out[row] = fp8(y / scale)
//
// with a given scale, one per row, or one per 128 columns: include/row_quantize.h. y stays f32 until it is a code: it is
// rounded once.
//
// Sources: those of rms_norm and of fp8_quantize, of which it is both.
//
// Idea: the plain port of one after the other.
// Mapping: one work-group of 256 work-items (4 waves) per row.
// Reduction class: include/rms_row.h.
// Cost: x read three times and y computed twice (with a given scale: twice, once).
// Measured: not on hardware. Executed in the emulator, within reference_cpu's bound of the norm.
// Lost to: rms_norm_fp8_quantize_v2_registers, which reads x once.

#include <hip/hip_runtime.h>

#include "rms_row.h"

struct Normed {
    const float *x;
    const float *weight;
    float inverse;
    __device__ float operator()(unsigned i) const { return x[i] * inverse * weight[i]; }
};

// The barrier inside makes the sums with delta everyone's.
__device__ inline Normed normed(float *x, const float *delta, const float *weight, float eps, unsigned hidden_size) {
    __shared__ float shared[ROW_WORKGROUP / WAVE_SIZE];
    float sum = 0.0f;
    for (unsigned first = threadIdx.x * RMS_V; first < hidden_size; first += ROW_WORKGROUP * RMS_V) {
        const unsigned end = hidden_size - first < RMS_V ? hidden_size : first + RMS_V;
        for (unsigned i = first; i < end; ++i) {
            if (delta) {
                x[i] += delta[i];
            }
            sum = fmaf(x[i], x[i], sum);
        }
    }
    return {x, weight, inverse_rms(sum, shared, eps, hidden_size)};
}

#define RMS_NORM_QUANTIZE(FORMAT_NAME, Format, SCALING, quantize)                                                      \
    extern "C" __global__ void __launch_bounds__(ROW_WORKGROUP)                                                        \
    rms_norm_fp8_quantize_v1_naive__##FORMAT_NAME##_##SCALING(                                                         \
        unsigned char *__restrict__ out, float *__restrict__ scales, float given, float *__restrict__ x,               \
        const float *__restrict__ delta, const float *__restrict__ weight, float eps, unsigned hidden_size) {          \
        const unsigned long row = (unsigned long)blockIdx.x * hidden_size;                                             \
        const Normed value = normed(x + row, delta ? delta + row : nullptr, weight, eps, hidden_size);                 \
        const RowScales of_row = {scales, given};                                                                      \
        of_row.quantize<Format>(out + row, hidden_size, value);                                                        \
    }

RMS_NORM_QUANTIZE(e4m3fnuz, E4M3Fnuz, static, with_given)
RMS_NORM_QUANTIZE(e4m3fnuz, E4M3Fnuz, row, by_row)
RMS_NORM_QUANTIZE(e4m3fnuz, E4M3Fnuz, group, by_group)
RMS_NORM_QUANTIZE(e5m2fnuz, E5M2Fnuz, static, with_given)
RMS_NORM_QUANTIZE(e5m2fnuz, E5M2Fnuz, row, by_row)
RMS_NORM_QUANTIZE(e5m2fnuz, E5M2Fnuz, group, by_group)
