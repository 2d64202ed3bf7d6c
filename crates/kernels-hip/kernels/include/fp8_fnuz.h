// f32 to the two FP8 formats of gfx942, which are those of the ISA manual's "FNUZ" kind: no infinity, no negative
// zero, one NaN (0x80).
//
// Rule, the same for both formats, and that of `reference_cpu::ops::fp8_quantize`:
//   NaN                        -> NaN (0x80)
//   larger than the largest    -> the largest, sign kept, infinities included (saturation)
//   all else                   -> nearest, ties to even; what rounds to zero is +0
//
// The instruction gives NaN for what does not fit unless MODE.FP16_OVFL is set. Rather than depend on a mode, the
// value is limited first; minimum and maximum leave NaN out, hence the select.
#pragma once

#include <hip/hip_runtime.h>

struct E4M3Fnuz {
    static constexpr float MAX = 240.0f;
    // Both codes in the low half.
    __device__ static unsigned convert_pair(float a, float b) {
        return __builtin_amdgcn_cvt_pk_fp8_f32(a, b, 0, false) & 0xffff;
    }
    __device__ static unsigned convert(float x) { return convert_pair(x, x) & 0xff; }
    __device__ static float widen(unsigned code) { return __builtin_amdgcn_cvt_f32_fp8((int)code, 0); }
    // The lower or upper two of four codes.
    template <bool UPPER> __device__ static auto widen_pair(unsigned codes) {
        return __builtin_amdgcn_cvt_pk_f32_fp8((int)codes, UPPER);
    }
};

struct E5M2Fnuz {
    static constexpr float MAX = 57344.0f;
    // Both codes in the low half.
    __device__ static unsigned convert_pair(float a, float b) {
        return __builtin_amdgcn_cvt_pk_bf8_f32(a, b, 0, false) & 0xffff;
    }
    __device__ static unsigned convert(float x) { return convert_pair(x, x) & 0xff; }
    __device__ static float widen(unsigned code) { return __builtin_amdgcn_cvt_f32_bf8((int)code, 0); }
    template <bool UPPER> __device__ static auto widen_pair(unsigned codes) {
        return __builtin_amdgcn_cvt_pk_f32_bf8((int)codes, UPPER);
    }
};

// The scale of a row or head whose largest magnitude is `maximum`: infinity counts as the largest f32, zeros have 1.
template <typename Format> __device__ inline float fp8_scale(float maximum) {
    constexpr float LARGEST_F32 = 0x1.fffffep+127f;
    constexpr float SMALLEST_NORMAL_F32 = 0x1p-126f;
    return maximum == 0.0f ? 1.0f : fmaxf(fminf(maximum, LARGEST_F32) / Format::MAX, SMALLEST_NORMAL_F32);
}

template <typename Format> __device__ inline unsigned char to_fp8(float x) {
    constexpr unsigned NAN_CODE = 0x80;
    const float limited = fminf(fmaxf(x, -Format::MAX), Format::MAX);
    const unsigned code = Format::convert(limited);
    return (unsigned char)(x != x ? NAN_CODE : code);
}
