// rope_angles_v1_naive: out[t] = [cos(p * f0) ..., sin(p * f0) ...] * attention_factor, p = positions[t].
//
// Source: engine_core::ops::RopeAngles. The angle is the f32 product, rounded before its cosine is taken.
//
// Idea: the plain port. sincosf reduces angles of any size: positions go beyond 131072, where the fast instructions,
// which take turns, have no correct digit left.
// Mapping: one work-item per token and frequency, 256 per work-group.
// Reduction class: none.
// Cost: 8 bytes read and 8 written, some 40 instructions per frequency of a token; more above 2^17 radians.
// Measured: not on hardware. Executed in the emulator, within reference_cpu's bound.
// Lost to: nothing yet.

#include <hip/hip_runtime.h>

extern "C" __global__ void __launch_bounds__(256)
rope_angles_v1_naive(float *__restrict__ out, const unsigned *__restrict__ positions,
                     const float *__restrict__ inv_freq, float attention_factor, unsigned num_freqs,
                     unsigned long num_angles) {
// The angle is rounded: it may not become part of a fused operation of the reduction.
#pragma clang fp contract(off)
    const unsigned long idx = (unsigned long)blockIdx.x * blockDim.x + threadIdx.x;
    if (idx >= num_angles) {
        return;
    }
    const unsigned long token = idx / num_freqs;
    const unsigned freq = idx % num_freqs;
    float sin, cos;
    sincosf((float)positions[token] * inv_freq[freq], &sin, &cos);
    out += token * 2 * num_freqs;
    out[freq] = cos * attention_factor;
    out[num_freqs + freq] = sin * attention_factor;
}
