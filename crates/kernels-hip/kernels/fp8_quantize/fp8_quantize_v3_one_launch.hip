// fp8_quantize_v3_one_launch: a small tensor of f32 or bf16 to e4m3fnuz or e5m2fnuz with one scale for all of it, as
// fp8_quantize_v1_naive says what that is.
//
// Idea: what bounds a small tensor is launches, and v1 takes three and a fill. A work-group of 1024 has the registers
// for 40960 elements: it reads them once, and needs nobody else to know their maximum.
// Mapping: one work-group of 1024 work-items (16 waves); a work-item has every 1024th vector of 16 bytes, at most 10
// (f32) or 5 (bf16) of them.
// Cost: 4 (f32) or 2 (bf16) bytes read per element, once, and 1 written; one compute unit of 304.
// Code object: 16-byte loads, 4 waves per SIMD.
// Measured: not on hardware. Executed in the emulator, byte-equal to v1 and the oracle.
// Lost to: fp8_quantize_v1_naive beyond 40960 elements, which it does not serve.

#include <hip/hip_runtime.h>

#include "row_registers.h"

constexpr unsigned WORKGROUP = 1024;
constexpr unsigned MAX_ELEMENTS = 40960;

#define TENSOR(IN_NAME, In, FORMAT_NAME, Format)                                                                       \
    extern "C" __global__ void __launch_bounds__(WORKGROUP)                                                            \
    fp8_quantize_v3_one_launch__##IN_NAME##_##FORMAT_NAME##_tensor(                                                    \
        unsigned char *__restrict__ out, float *__restrict__ scale, const In *__restrict__ x, unsigned num_elements) { \
        constexpr unsigned V = VECTOR<In>, N = MAX_ELEMENTS / V / WORKGROUP;                                           \
        Raw<In> raw[N];                                                                                                \
        quantize_kept<Format, V, N, WORKGROUP>(                                                                        \
            out, scale, nullptr, 0, num_elements, [&](unsigned n, unsigned long i) { raw[n] = load_raw(x + i); },      \
            [&](unsigned n, float *values) { widen<In>(values, raw[n]); },                                             \
            [&](unsigned long i) { return load(x[i]); });                                                              \
    }

TENSOR(f32, float, e4m3fnuz, E4M3Fnuz)
TENSOR(f32, float, e5m2fnuz, E5M2Fnuz)
TENSOR(bf16, bf16_bits, e4m3fnuz, E4M3Fnuz)
TENSOR(bf16, bf16_bits, e5m2fnuz, E5M2Fnuz)
