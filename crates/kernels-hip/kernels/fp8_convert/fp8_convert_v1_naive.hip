// fp8_convert_v1_naive: FP8 codes of one flavour to those of the other, and their scales.
//
//   OCP to FNUZ:  bits kept, scale * 2;   -0 -> 0,  NaN -> 0x80,  infinities of e5m2 -> the largest, counted
//   FNUZ to OCP:  bits kept, scale / 2;   NaN (0x80) -> 0x7f (e4m3) or 0x7e (e5m2),  what OCP does not have (e4m3: 0x7f;
//                 e5m2: from 0x7c on; either sign) -> its largest, 0x7e or 0x7b, counted
//
// That keeps code * scale for every number that both have. The rule in full: reference_cpu::ops::fp8_convert. gfx942
// computes with FNUZ; checkpoints, and other hardware's KV, are OCP.
//
// Idea: the plain port, a code per work-item.
// Mapping: work-groups of 256 work-items; what saturated is counted by one atomic addition per wave that has any.
// Cost: 1 byte read and 1 written per code. No arithmetic but compares.
// Measured: not on hardware. Executed in the emulator, for all codes of all four formats.
// Lost to: fp8_convert_v2_vectors. A byte per lane is a sixteenth of what a load can bring. It has no scales: they are
// few.

#include <hip/hip_runtime.h>

#include "wave.h"

constexpr unsigned SIGN = 0x80;
constexpr unsigned FNUZ_NAN = 0x80;
constexpr unsigned WORKGROUP_SIZE = 256;

struct Converted {
    unsigned code;
    bool is_saturated;
};

// INFINITY_CODE is that of infinity, or past every magnitude where there is none; above MAX_CODE and it, all are NaN.
template <unsigned MAX_CODE, unsigned INFINITY_CODE> struct ToFnuz {
    __device__ static Converted of(unsigned code) {
        const unsigned magnitude = code & ~SIGN;
        if (magnitude == INFINITY_CODE) {
            return {code | 0x7f, true};
        }
        if (magnitude > MAX_CODE) {
            return {FNUZ_NAN, false};
        }
        return {magnitude == 0 ? 0 : code, false};
    }
};

template <unsigned MAX_CODE, unsigned NAN_CODE> struct FromFnuz {
    __device__ static Converted of(unsigned code) {
        if (code == FNUZ_NAN) {
            return {NAN_CODE, false};
        }
        if ((code & ~SIGN) > MAX_CODE) {
            return {(code & SIGN) | MAX_CODE, true};
        }
        return {code, false};
    }
};

#define CONVERT(name, Conversion)                                                                                      \
    extern "C" __global__ void __launch_bounds__(WORKGROUP_SIZE) fp8_convert_v1_naive__##name(                         \
        unsigned char *__restrict__ out, unsigned *__restrict__ num_saturated, const unsigned char *__restrict__ codes, \
        unsigned long n) {                                                                                             \
        const unsigned long i = (unsigned long)blockIdx.x * WORKGROUP_SIZE + threadIdx.x;                              \
        bool is_saturated = false;                                                                                     \
        if (i < n) {                                                                                                   \
            const Converted converted = Conversion::of(codes[i]);                                                      \
            out[i] = (unsigned char)converted.code;                                                                    \
            is_saturated = converted.is_saturated;                                                                     \
        }                                                                                                              \
        const unsigned long lanes = __ballot(is_saturated);                                                            \
        if (lanes != 0 && threadIdx.x % WAVE_SIZE == 0) {                                                              \
            atomicAdd(num_saturated, (unsigned)__popcll(lanes));                                                       \
        }                                                                                                              \
    }

using E4m3ToFnuz = ToFnuz<0x7e, 0x100>;
using E5m2ToFnuz = ToFnuz<0x7b, 0x7c>;
using E4m3FromFnuz = FromFnuz<0x7e, 0x7f>;
using E5m2FromFnuz = FromFnuz<0x7b, 0x7e>;

CONVERT(e4m3_e4m3fnuz, E4m3ToFnuz)
CONVERT(e5m2_e5m2fnuz, E5m2ToFnuz)
CONVERT(e4m3fnuz_e4m3, E4m3FromFnuz)
CONVERT(e5m2fnuz_e5m2, E5m2FromFnuz)

// factor is 2 or 1/2: exact, unless the scale leaves the normal numbers.
extern "C" __global__ void __launch_bounds__(WORKGROUP_SIZE)
fp8_convert_v1_naive__scales(float *__restrict__ out, const float *__restrict__ scales, float factor, unsigned long n) {
    const unsigned long i = (unsigned long)blockIdx.x * WORKGROUP_SIZE + threadIdx.x;
    if (i < n) {
        out[i] = scales[i] * factor;
    }
}
