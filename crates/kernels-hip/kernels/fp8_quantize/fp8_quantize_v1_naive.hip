// fp8_quantize_v1_naive: rows of f32 or bf16 to e4m3fnuz or e5m2fnuz.
//
//   static scale:   out = fp8(x / scale),  one scale for all, an argument
//   row scale:      scale[row] = max|x[row]| / MAX, out = fp8(x / scale[row])
//   group scales:   the same for each 128 columns of a row; the last group may be shorter
//   tensor scale:   the same for everything, in three launches: tensor_maximum, tensor_scale, tensor
//
// The rule for NaN, infinities, overflow and rows of zeros is written down at reference_cpu::ops::fp8_quantize and in
// include/fp8_fnuz.h. In short: NaN stays NaN and does not count for the maximum; infinity counts as the largest f32;
// a row without a finite non-zero value has scale 1; a scale is never below 2^-126.
//
// Idea: the plain port. One division per element, correctly rounded, so that the bytes are those of the oracle.
// Mapping: one work-group of 256 work-items (4 waves) per row; work-items stride over the row, a wave over a group.
// The maximum of a tensor is an atomic maximum of bits: those of magnitudes order as the magnitudes do.
// Cost: 4 (f32) or 2 (bf16) bytes read per element, twice unless the scale is given, and 1 written.
// Measured: not on hardware. Executed in the emulator, byte-equal to the oracle.
// Lost to: fp8_quantize_v2_registers, which reads a row once and 16 bytes at a time; for tensors that fit a
// work-group's registers, fp8_quantize_v3_one_launch.

#include <hip/hip_runtime.h>

#include "bf16.h"
#include "row_quantize.h"

template <typename In> struct Column {
    const In *x;
    __device__ float operator()(unsigned i) const { return load(x[i]); }
};

#define KERNEL extern "C" __global__ void __launch_bounds__(ROW_WORKGROUP)
#define NAME(suffix) fp8_quantize_v1_naive__##suffix

#define TO_FORMAT(IN_NAME, In, FORMAT_NAME, Format)                                                                    \
    KERNEL NAME(IN_NAME##_##FORMAT_NAME##_static)(unsigned char *__restrict__ out, const In *__restrict__ x,           \
                                                  float scale, unsigned num_cols) {                                    \
        const unsigned long row = (unsigned long)blockIdx.x * num_cols;                                                \
        quantize_static<Format>(out + row, scale, num_cols, Column<In>{x + row});                                      \
    }                                                                                                                  \
    KERNEL NAME(IN_NAME##_##FORMAT_NAME##_row)(unsigned char *__restrict__ out, float *__restrict__ scales,            \
                                               const In *__restrict__ x, unsigned num_cols) {                          \
        const unsigned long row = (unsigned long)blockIdx.x * num_cols;                                                \
        quantize_row<Format>(out + row, scales + blockIdx.x, num_cols, Column<In>{x + row});                           \
    }                                                                                                                  \
    KERNEL NAME(IN_NAME##_##FORMAT_NAME##_group)(unsigned char *__restrict__ out, float *__restrict__ scales,          \
                                                 const In *__restrict__ x, unsigned num_cols) {                        \
        const unsigned long row = (unsigned long)blockIdx.x * num_cols;                                                \
        const unsigned num_groups = (num_cols + SCALE_GROUP - 1) / SCALE_GROUP;                                        \
        quantize_groups<Format>(out + row, scales + (unsigned long)blockIdx.x * num_groups, num_cols,                  \
                                Column<In>{x + row});                                                                  \
    }                                                                                                                  \
    KERNEL NAME(IN_NAME##_##FORMAT_NAME##_tensor)(unsigned char *__restrict__ out, const float *__restrict__ scale,    \
                                                  const In *__restrict__ x, unsigned num_cols) {                       \
        const unsigned long row = (unsigned long)blockIdx.x * num_cols;                                                \
        quantize_static<Format>(out + row, *scale, num_cols, Column<In>{x + row});                                     \
    }

// *maximum is 0 before the first work-group.
#define MAXIMUM(IN_NAME, In)                                                                                           \
    KERNEL NAME(IN_NAME##_tensor_maximum)(float *__restrict__ maximum, const In *__restrict__ x, unsigned num_cols) {  \
        __shared__ float shared[ROW_WORKGROUP / WAVE_SIZE];                                                            \
        const unsigned long row = (unsigned long)blockIdx.x * num_cols;                                                \
        float of_item = 0.0f;                                                                                          \
        for (unsigned i = threadIdx.x; i < num_cols; i += ROW_WORKGROUP) {                                             \
            of_item = fmaxf(of_item, fabsf(load(x[row + i])));                                                         \
        }                                                                                                              \
        const float of_row = workgroup_reduce<ROW_WORKGROUP / WAVE_SIZE>(of_item, shared, larger_of);                  \
        if (threadIdx.x == 0) {                                                                                        \
            atomicMax((unsigned *)maximum, __builtin_bit_cast(unsigned, of_row));                                      \
        }                                                                                                              \
    }

// The maximum becomes the scale, in its place.
#define SCALE(FORMAT_NAME, Format)                                                                                     \
    extern "C" __global__ void __launch_bounds__(1) NAME(FORMAT_NAME##_tensor_scale)(float *scale) {                   \
        *scale = fp8_scale<Format>(*scale);                                                                            \
    }

TO_FORMAT(f32, float, e4m3fnuz, E4M3Fnuz)
TO_FORMAT(f32, float, e5m2fnuz, E5M2Fnuz)
TO_FORMAT(bf16, bf16_bits, e4m3fnuz, E4M3Fnuz)
TO_FORMAT(bf16, bf16_bits, e5m2fnuz, E5M2Fnuz)
MAXIMUM(f32, float)
MAXIMUM(bf16, bf16_bits)
SCALE(e4m3fnuz, E4M3Fnuz)
SCALE(e5m2fnuz, E5M2Fnuz)
