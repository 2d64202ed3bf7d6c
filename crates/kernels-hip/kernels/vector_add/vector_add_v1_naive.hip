// vector_add_v1_naive: out[i] = a[i] + b[i], f32.
//
// Idea: none; it is the smallest kernel that goes the whole way, from source to result.
// Mapping: one work-item per element, 256 per work-group; any grid that covers n.
// Cost: 12 bytes and 1 flop per element.
// Measured: not on hardware. Executed in the emulator, bit-equal to f32 addition.
// Lost to: nothing; it has no rival.

#include <hip/hip_runtime.h>

extern "C" __global__ void __launch_bounds__(256)
vector_add_v1_naive(float *__restrict__ out, const float *__restrict__ a, const float *__restrict__ b, unsigned long n) {
    const unsigned long i = (unsigned long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        out[i] = a[i] + b[i];
    }
}
