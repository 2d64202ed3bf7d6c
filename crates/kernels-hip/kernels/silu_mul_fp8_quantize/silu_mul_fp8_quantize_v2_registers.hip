// silu_mul_fp8_quantize_v2_registers: as silu_mul_fp8_quantize_v1_naive says what that is.
//
// Idea: gate and up are read once, 16 bytes at a time, and their product waits in registers for its scale.
// Mapping: one work-group of 256 work-items (4 waves) per row; a work-item has every 256th vector of 4 (f32) or 8
// (bf16) columns, at most 16 or 8 of them: widths of up to 16384, whole vectors.
// Reduction class: none: a maximum has no order.
// Cost: 8 (f32) or 4 (bf16) bytes read per element of out, once, and 1 written.
// Code object: 16-byte loads, 4 waves per SIMD.
// A wave has 8 KiB of loads outstanding before it waits (code object).
// Measured: not on hardware. Executed in the emulator, byte-equal to v1.
// Lost to: nothing yet.

#include <hip/hip_runtime.h>

#include "row_registers.h"
#include "silu.h"

#define SILU_MUL_QUANTIZE(IN_NAME, In, FORMAT_NAME, Format, SCALING, quantize)                                         \
    extern "C" __global__ void __launch_bounds__(ROW_WORKGROUP)                                                        \
    silu_mul_fp8_quantize_v2_registers__##IN_NAME##_##FORMAT_NAME##_##SCALING(                                         \
        unsigned char *__restrict__ out, float *__restrict__ scales, float given, const In *__restrict__ gate_up,      \
        unsigned width) {                                                                                              \
        constexpr unsigned V = VECTOR<In>;                                                                             \
        const unsigned long row = (unsigned long)blockIdx.x * width;                                                   \
        Raw<In> gate[NUM_KEPT<V>], up[NUM_KEPT<V>];                                                                    \
        const auto fetch = [&](unsigned n, unsigned long i) {                                                          \
            gate[n] = load_raw(gate_up + row + i);                                                                     \
            up[n] = load_raw(gate_up + row + width + i);                                                               \
        };                                                                                                             \
        const auto values_of = [&](unsigned n, float *values) {                                                        \
            float factors[V];                                                                                          \
            widen<In>(values, gate[n]);                                                                                \
            widen<In>(factors, up[n]);                                                                                 \
            _Pragma("unroll") for (unsigned e = 0; e < V; ++e) { values[e] = silu(values[e]) * factors[e]; }           \
        };                                                                                                             \
        const KeptRowScales<V> of_row = {scales, given};                                                               \
        of_row.quantize<Format>(out, row, width, fetch, values_of);                                                    \
    }

#define ALL_SCALINGS(IN_NAME, In, FORMAT_NAME, Format)                                                                 \
    SILU_MUL_QUANTIZE(IN_NAME, In, FORMAT_NAME, Format, static, with_given)                                            \
    SILU_MUL_QUANTIZE(IN_NAME, In, FORMAT_NAME, Format, row, by_row)                                                   \
    SILU_MUL_QUANTIZE(IN_NAME, In, FORMAT_NAME, Format, group, by_group)

ALL_SCALINGS(f32, float, e4m3fnuz, E4M3Fnuz)
ALL_SCALINGS(f32, float, e5m2fnuz, E5M2Fnuz)
ALL_SCALINGS(bf16, bf16_bits, e4m3fnuz, E4M3Fnuz)
ALL_SCALINGS(bf16, bf16_bits, e5m2fnuz, E5M2Fnuz)
