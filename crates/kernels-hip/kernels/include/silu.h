// The activation of silu_mul, for kernels that do more with it.
#pragma once

#include <hip/hip_runtime.h>

// x / (1 + e^-x). Below -88 e^-x is infinite and the quotient 0, as it should be.
__device__ inline float silu(float x) { return x / (1.0f + expf(-x)); }
