// fp8_quantize_v2_registers: rows of f32 or bf16 to e4m3fnuz or e5m2fnuz, as fp8_quantize_v1_naive says what that is.
//
// Idea: a row is read once, 16 bytes at a time, and waits in registers for its scale. The scale of 128 columns needs
// the lanes of a part of a wave only.
// Mapping: one work-group of 256 work-items (4 waves) per row; a work-item has every 256th vector of 16 bytes, at most
// 16 (f32) or 8 (bf16) of them: rows of up to 16384 columns. A row that does not begin or end at a vector has up to 6
// (f32) or 14 (bf16) elements that a lane reads alone. In groups, rows are whole vectors.
// Cost: 4 (f32) or 2 (bf16) bytes read per element, once, and 1 written.
// Code object: 16-byte loads, 4 waves per SIMD.
// A wave has 4 KiB of loads outstanding before it waits: 16 waves of a compute unit, 64 KiB (code object).
// Measured: not on hardware. Executed in the emulator, byte-equal to v1 and the oracle.
// Lost to: for the scale of a whole tensor, which it does not serve, fp8_quantize_v3_one_launch.

#include <hip/hip_runtime.h>

#include "row_registers.h"

template <typename Format, typename In>
__device__ inline void quantize(unsigned char *out, float *own_scale, const float *given, const In *x,
                                unsigned num_cols) {
    constexpr unsigned V = VECTOR<In>;
    Raw<In> raw[NUM_KEPT<V>];
    quantize_kept<Format, V, NUM_KEPT<V>, ROW_WORKGROUP>(
        out, own_scale, given, (unsigned long)blockIdx.x * num_cols, num_cols,
        [&](unsigned n, unsigned long i) { raw[n] = load_raw(x + i); },
        [&](unsigned n, float *values) { widen<In>(values, raw[n]); }, [&](unsigned long i) { return load(x[i]); });
}

#define KERNEL extern "C" __global__ void __launch_bounds__(ROW_WORKGROUP)
#define NAME(suffix) fp8_quantize_v2_registers__##suffix

#define TO_FORMAT(IN_NAME, In, FORMAT_NAME, Format)                                                                    \
    KERNEL NAME(IN_NAME##_##FORMAT_NAME##_static)(unsigned char *__restrict__ out, const In *__restrict__ x,           \
                                                  float scale, unsigned num_cols) {                                    \
        quantize<Format>(out, nullptr, &scale, x, num_cols);                                                           \
    }                                                                                                                  \
    KERNEL NAME(IN_NAME##_##FORMAT_NAME##_row)(unsigned char *__restrict__ out, float *__restrict__ scales,            \
                                               const In *__restrict__ x, unsigned num_cols) {                          \
        quantize<Format>(out, scales + blockIdx.x, nullptr, x, num_cols);                                              \
    }                                                                                                                  \
    KERNEL NAME(IN_NAME##_##FORMAT_NAME##_group)(unsigned char *__restrict__ out, float *__restrict__ scales,          \
                                                 const In *__restrict__ x, unsigned num_cols) {                        \
        const unsigned num_groups = (num_cols + SCALE_GROUP - 1) / SCALE_GROUP;                                        \
        Raw<In> raw[NUM_KEPT<VECTOR<In>>];                                                                             \
        quantize_groups_kept<Format, VECTOR<In>, NUM_KEPT<VECTOR<In>>>(                                                \
            out, scales + (unsigned long)blockIdx.x * num_groups, (unsigned long)blockIdx.x * num_cols, num_cols,      \
            [&](unsigned n, unsigned long i) { raw[n] = load_raw(x + i); },                                            \
            [&](unsigned n, float *values) { widen<In>(values, raw[n]); });                                            \
    }

TO_FORMAT(f32, float, e4m3fnuz, E4M3Fnuz)
TO_FORMAT(f32, float, e5m2fnuz, E5M2Fnuz)
TO_FORMAT(bf16, bf16_bits, e4m3fnuz, E4M3Fnuz)
TO_FORMAT(bf16, bf16_bits, e5m2fnuz, E5M2Fnuz)
