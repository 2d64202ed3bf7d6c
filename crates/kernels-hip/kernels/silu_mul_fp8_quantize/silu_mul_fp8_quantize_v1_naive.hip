// silu_mul_fp8_quantize_v1_naive: y[i] = silu(gate_up[row, i]) * gate_up[row, width + i], silu(x) = x / (1 + e^-x);
// out[row] = fp8(y / scale), with a given scale, one per row, or one per 128 columns: include/row_quantize.h. y is f32
// until it is a code: it is rounded once.
//
// Sources: those of silu_mul and of fp8_quantize, of which it is both.
//
// Idea: the plain port of one after the other.
// Mapping: one work-group of 256 work-items (4 waves) per row.
// Reduction class: none: a maximum has no order.
// Cost: 8 (f32) or 4 (bf16) bytes read per element of out, twice unless the scale is given, and 1 written.
// Measured: not on hardware. Executed in the emulator, within reference_cpu's bound of the activation.
// Lost to: silu_mul_fp8_quantize_v2_registers, which reads once, and exponentiates once.

#include <hip/hip_runtime.h>

#include "bf16.h"
#include "row_quantize.h"
#include "silu.h"

template <typename In> struct Activated {
    const In *gate;
    const In *up;
    __device__ float operator()(unsigned i) const { return silu(load(gate[i])) * load(up[i]); }
};

#define SILU_MUL_QUANTIZE(IN_NAME, In, FORMAT_NAME, Format, SCALING, quantize)                                         \
    extern "C" __global__ void __launch_bounds__(ROW_WORKGROUP)                                                        \
    silu_mul_fp8_quantize_v1_naive__##IN_NAME##_##FORMAT_NAME##_##SCALING(                                             \
        unsigned char *__restrict__ out, float *__restrict__ scales, float given, const In *__restrict__ gate_up,      \
        unsigned width) {                                                                                              \
        const unsigned long row = (unsigned long)blockIdx.x * width;                                                   \
        const RowScales of_row = {scales, given};                                                                      \
        of_row.quantize<Format>(out + row, width, Activated<In>{gate_up + 2 * row, gate_up + 2 * row + width});        \
    }

#define ALL_SCALINGS(IN_NAME, In, FORMAT_NAME, Format)                                                                 \
    SILU_MUL_QUANTIZE(IN_NAME, In, FORMAT_NAME, Format, static, with_given)                                            \
    SILU_MUL_QUANTIZE(IN_NAME, In, FORMAT_NAME, Format, row, by_row)                                                   \
    SILU_MUL_QUANTIZE(IN_NAME, In, FORMAT_NAME, Format, group, by_group)

ALL_SCALINGS(f32, float, e4m3fnuz, E4M3Fnuz)
ALL_SCALINGS(f32, float, e5m2fnuz, E5M2Fnuz)
ALL_SCALINGS(bf16, bf16_bits, e4m3fnuz, E4M3Fnuz)
ALL_SCALINGS(bf16, bf16_bits, e5m2fnuz, E5M2Fnuz)
