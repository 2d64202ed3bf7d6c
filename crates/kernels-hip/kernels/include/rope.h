// The rotation of a pair (a, b), one rounding named: whoever rotates has the same bits.
#pragma once

#include <hip/hip_runtime.h>

// a cos - b sin
__device__ inline float rope_first(float a, float b, float cos, float sin) { return fmaf(a, cos, -(b * sin)); }

// b cos + a sin
__device__ inline float rope_second(float a, float b, float cos, float sin) { return fmaf(b, cos, a * sin); }

// An element of a rotated head, from the two of the head that it is made of.
struct Rotated {
    // Of the token: cosines, then sines.
    const float *__restrict__ angles;
    unsigned rotary_dim;
    unsigned interleaved;

    __device__ float operator()(const float *head, unsigned d) const {
        if (d >= rotary_dim) {
            return head[d];
        }
        const unsigned half = rotary_dim / 2;
        const unsigned i = interleaved ? d / 2 : d % half;
        const bool is_first = interleaved ? d % 2 == 0 : d < half;
        const float a = head[interleaved ? 2 * i : i], b = head[interleaved ? 2 * i + 1 : i + half];
        const float cos = angles[i], sin = angles[half + i];
        return is_first ? rope_first(a, b, cos, sin) : rope_second(a, b, cos, sin);
    }
};
