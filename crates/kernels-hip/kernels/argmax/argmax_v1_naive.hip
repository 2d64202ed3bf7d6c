// argmax_v1_naive: the index of the largest of each row of f32; of equals, the first; NaN never wins. A row whose
// largest is not finite has no such index: 2^32 - 1.
//
// Source: engine_core's greedy sampling, of whose argmax this is the device's.
//
// Idea: the plain port. A candidate is better if it is larger, or as large and earlier: an order in which no two are
// equal, so that the result does not depend on who compares with whom.
// Mapping: one work-group of 256 work-items (4 waves) per row; work-items stride over the row.
// Reduction class: none: maxima have no order.
// Cost: 4 bytes read per element.
// Measured: not on hardware. Executed in the emulator, equal to the host's.
// Lost to: nothing yet. It loads one element at a time, and a row keeps one CU busy.

#include <hip/hip_runtime.h>

#include "wave.h"

constexpr unsigned WORKGROUP_SIZE = 256;
constexpr int NUM_WAVES = WORKGROUP_SIZE / WAVE_SIZE;
constexpr unsigned NONE = 0xffffffff;

struct Candidate {
    float value;
    unsigned idx;
};

__device__ inline Candidate better(Candidate a, Candidate b) {
    return b.value > a.value || (b.value == a.value && b.idx < a.idx) ? b : a;
}

extern "C" __global__ void __launch_bounds__(WORKGROUP_SIZE)
argmax_v1_naive(unsigned *__restrict__ out, const float *__restrict__ x, unsigned num_cols) {
    __shared__ Candidate shared[NUM_WAVES];
    x += (unsigned long)blockIdx.x * num_cols;
    Candidate best = {-__builtin_inff(), NONE};
    for (unsigned i = threadIdx.x; i < num_cols; i += WORKGROUP_SIZE) {
        // A comparison with NaN is false: it never gets in.
        best = better(best, {x[i], i});
    }
    for (int offset = WAVE_SIZE / 2; offset > 0; offset /= 2) {
        best = better(best, {__shfl_xor(best.value, offset, WAVE_SIZE), __shfl_xor(best.idx, offset, WAVE_SIZE)});
    }
    if (threadIdx.x % WAVE_SIZE == 0) {
        shared[threadIdx.x / WAVE_SIZE] = best;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int wave = 1; wave < NUM_WAVES; ++wave) {
            best = better(best, shared[wave]);
        }
        out[blockIdx.x] = __builtin_isfinite(best.value) ? best.idx : NONE;
    }
}
