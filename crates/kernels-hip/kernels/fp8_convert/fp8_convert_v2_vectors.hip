// fp8_convert_v2_vectors: as fp8_convert_v1_naive says what that is, sixteen codes at a time.
//
// Idea: four codes lie in a word, and what decides about a code is its magnitude, seven bits: adding to all four at once
// carries into the sign bits, which are free, and not beyond.
// Mapping: a work-item has 16 codes, of a work-group of 256; the last one has the rest, one after the other.
// Cost: 1 byte read and 1 written per code, and 4 to 6 operations per word.
// Code object: 16-byte loads, 8 waves per SIMD.
// Measured: not on hardware. Executed in the emulator, for all codes of all four formats.
// Lost to: nothing yet.

#include <hip/hip_runtime.h>

#include "wave.h"

template <typename T, int N> using Vec = T __attribute__((ext_vector_type(N)));
using Words = Vec<unsigned, 4>;

constexpr unsigned EACH = 0x01010101;
constexpr unsigned SIGNS = 0x80 * EACH;
constexpr unsigned WORKGROUP_SIZE = 256;
constexpr unsigned LANE_CODES = sizeof(Words);

struct Converted {
    unsigned codes;
    // The sign bits of those that the other flavour does not have.
    unsigned saturated;
};

// The sign bits of bytes that are `least` or more, of bytes below 0x80.
__device__ inline unsigned at_least(unsigned magnitudes, unsigned least) {
    return (magnitudes + (0x80 - least) * EACH) & SIGNS;
}

// All bits of the bytes whose sign bits are set.
__device__ inline unsigned whole(unsigned signs) { return (signs >> 7) * 0xff; }

// INFINITY_CODE is that of infinity, or 0 where there is none; what is above it and MAX_CODE is NaN.
template <unsigned MAX_CODE, unsigned INFINITY_CODE> struct ToFnuz {
    __device__ static Converted of(unsigned codes) {
        const unsigned magnitudes = codes & ~SIGNS;
        const unsigned nan = at_least(magnitudes, (INFINITY_CODE ? INFINITY_CODE : MAX_CODE) + 1);
        const unsigned infinite = INFINITY_CODE ? at_least(magnitudes, MAX_CODE + 1) & ~nan : 0;
        const unsigned signs = codes & at_least(magnitudes, 1);
        const unsigned numbers = magnitudes | signs | (whole(infinite) & ~SIGNS);
        return {(numbers & ~whole(nan)) | nan, infinite};
    }
};

template <unsigned MAX_CODE, unsigned NAN_CODE> struct FromFnuz {
    __device__ static Converted of(unsigned codes) {
        const unsigned magnitudes = codes & ~SIGNS;
        const unsigned nan = codes & SIGNS & ~at_least(magnitudes, 1);
        const unsigned large = at_least(magnitudes, MAX_CODE + 1);
        const unsigned limited = (magnitudes & ~whole(large)) | (whole(large) & (MAX_CODE * EACH));
        return {((limited | (codes & SIGNS)) & ~whole(nan)) | (whole(nan) & (NAN_CODE * EACH)), large};
    }
};

template <typename Conversion>
__device__ inline unsigned convert(unsigned char *__restrict__ out, const unsigned char *__restrict__ codes,
                                   unsigned long n) {
    const unsigned long first = ((unsigned long)blockIdx.x * WORKGROUP_SIZE + threadIdx.x) * LANE_CODES;
    unsigned num_saturated = 0;
    if (first + LANE_CODES <= n) {
        Words words = *reinterpret_cast<const Words *>(codes + first);
#pragma unroll
        for (unsigned i = 0; i < LANE_CODES / 4; ++i) {
            const Converted converted = Conversion::of(words[i]);
            words[i] = converted.codes;
            num_saturated += __popc(converted.saturated);
        }
        *reinterpret_cast<Words *>(out + first) = words;
        return num_saturated;
    }
    for (unsigned long i = first; i < n; ++i) {
        const Converted converted = Conversion::of(codes[i]);
        out[i] = (unsigned char)converted.codes;
        num_saturated += __popc(converted.saturated);
    }
    return num_saturated;
}

#define CONVERT(name, Conversion)                                                                                      \
    extern "C" __global__ void __launch_bounds__(WORKGROUP_SIZE) fp8_convert_v2_vectors__##name(                       \
        unsigned char *__restrict__ out, unsigned *__restrict__ num_saturated, const unsigned char *__restrict__ codes, \
        unsigned long n) {                                                                                             \
        unsigned of_wave = convert<Conversion>(out, codes, n);                                                         \
        for (int offset = WAVE_SIZE / 2; offset > 0; offset /= 2) {                                                    \
            of_wave += __shfl_xor(of_wave, offset, WAVE_SIZE);                                                         \
        }                                                                                                              \
        if (of_wave != 0 && threadIdx.x % WAVE_SIZE == 0) {                                                            \
            atomicAdd(num_saturated, of_wave);                                                                         \
        }                                                                                                              \
    }

using E4m3ToFnuz = ToFnuz<0x7e, 0>;
using E5m2ToFnuz = ToFnuz<0x7b, 0x7c>;
using E4m3FromFnuz = FromFnuz<0x7e, 0x7f>;
using E5m2FromFnuz = FromFnuz<0x7b, 0x7e>;

CONVERT(e4m3_e4m3fnuz, E4m3ToFnuz)
CONVERT(e5m2_e5m2fnuz, E5m2ToFnuz)
CONVERT(e4m3fnuz_e4m3, E4m3FromFnuz)
CONVERT(e5m2fnuz_e5m2, E5m2FromFnuz)
