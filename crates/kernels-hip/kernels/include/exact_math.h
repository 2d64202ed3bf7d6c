// e^x and ln x with the bits that the host's have: the same operations in the same order, none of them fused. All that
// is used (+, -, *, / and conversions) is correctly rounded on both sides, so nothing else can differ.
#pragma once

#include <hip/hip_runtime.h>

// engine_core::sampling's e^x for x <= 0; 0 for NaN and below -87.
__device__ inline float exp_nonpositive(float x) {
#pragma clang fp contract(off)
    constexpr float LOG2_E = 1.44269504088896340736f;
    // Adding it leaves the nearest integer in the low bits.
    constexpr float ROUND = 12582912.0f;
    constexpr float LN_2_HIGH = 0.6933594f, LN_2_LOW = -2.1219444e-4f;
    const float shifted = x * LOG2_E + ROUND;
    const float k = shifted - ROUND;
    const float r = (x - k * LN_2_HIGH) - k * LN_2_LOW;
    float series = 1.0f / 5040.0f;
    series = series * r + 1.0f / 720.0f;
    series = series * r + 1.0f / 120.0f;
    series = series * r + 1.0f / 24.0f;
    series = series * r + 1.0f / 6.0f;
    series = series * r + 0.5f;
    series = series * r + 1.0f;
    series = series * r + 1.0f;
    const unsigned bits = __builtin_bit_cast(unsigned, series) + (__builtin_bit_cast(unsigned, shifted) << 23);
    return x >= -87.0f ? __builtin_bit_cast(float, bits) : 0.0f;
}

// ln x for 0 < x < 1, as the crate libm has it, which has it from FreeBSD's msun (e_log.c, Sun Microsystems 1993): x is
// 2^k (1 + f) with 1 + f between sqrt(1/2) and sqrt(2); with s = f / (2 + f), ln(1 + f) is 2s and a polynomial in s^2,
// summed in two halves.
__device__ inline double ln_of_fraction(double x) {
#pragma clang fp contract(off)
    constexpr unsigned SQRT_HALF_HIGH = 0x3fe6a09e, ONE_HIGH = 0x3ff00000, MANTISSA_HIGH = 0x000fffff;
    constexpr double LN_2_HIGH = 6.93147180369123816490e-01, LN_2_LOW = 1.90821492927058770002e-10;
    constexpr double C1 = 6.666666666666735130e-01, C2 = 3.999999999940941908e-01, C3 = 2.857142874366239149e-01,
                     C4 = 2.222219843214978396e-01, C5 = 1.818357216161805012e-01, C6 = 1.531383769920937332e-01,
                     C7 = 1.479819860511658591e-01;
    const unsigned long bits = __builtin_bit_cast(unsigned long, x);
    const unsigned high = (unsigned)(bits >> 32) + (ONE_HIGH - SQRT_HALF_HIGH);
    const double k = (double)((int)(high >> 20) - 1023);
    const unsigned long reduced = (unsigned long)((high & MANTISSA_HIGH) + SQRT_HALF_HIGH) << 32 | (bits & 0xffffffff);
    const double f = __builtin_bit_cast(double, reduced) - 1.0;
    const double half_square = 0.5 * f * f;
    const double s = f / (2.0 + f);
    const double z = s * s;
    const double w = z * z;
    const double even = w * (C2 + w * (C4 + w * C6));
    const double odd = z * (C1 + w * (C3 + w * (C5 + w * C7)));
    const double r = odd + even;
    return s * (half_square + r) + k * LN_2_LOW - half_square + f + k * LN_2_HIGH;
}
