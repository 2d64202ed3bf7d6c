// The rotation of a pair (a, b), one rounding named: whoever rotates has the same bits.
#pragma once

#include <hip/hip_runtime.h>

// a cos - b sin
__device__ inline float rope_first(float a, float b, float cos, float sin) { return fmaf(a, cos, -(b * sin)); }

// b cos + a sin
__device__ inline float rope_second(float a, float b, float cos, float sin) { return fmaf(b, cos, a * sin); }
