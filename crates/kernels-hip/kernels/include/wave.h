// Reductions over a work-group. Every lane gets the result; the order is fixed, so the bits are too.
#pragma once

#include <hip/hip_runtime.h>

constexpr int WAVE_SIZE = 64;

// A number that is the same in all lanes, where the compiler cannot know: after a store, what is loaded may have changed.
__device__ inline unsigned uniform(unsigned x) { return __builtin_amdgcn_readfirstlane(x); }

// Butterfly over the lanes of a wave.
template <typename Op> __device__ inline float wave_reduce(float value, Op op) {
    for (int offset = WAVE_SIZE / 2; offset > 0; offset /= 2) {
        value = op(value, __shfl_xor(value, offset, WAVE_SIZE));
    }
    return value;
}

// Waves in order, after each has reduced itself. `shared` has one float per wave; it may be used again after the
// next barrier.
template <int NUM_WAVES, typename Op> __device__ inline float workgroup_reduce(float value, float *shared, Op op) {
    value = wave_reduce(value, op);
    const int wave_idx = threadIdx.x / WAVE_SIZE;
    if (threadIdx.x % WAVE_SIZE == 0) {
        shared[wave_idx] = value;
    }
    __syncthreads();
    value = shared[0];
    for (int i = 1; i < NUM_WAVES; ++i) {
        value = op(value, shared[i]);
    }
    return value;
}
