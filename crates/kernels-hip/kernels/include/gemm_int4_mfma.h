// What the matrix-unit GEMMs on weights of four bits share: one reduction class, and a wave's way through k.
//
// Reduction class "mfma 16x16x16 of q - zero, groups, quarters of k":
//   - k is cut into four segments, as in gemm_mfma.h.
//   - In a segment, x[k] * (q[k] - zero) is summed by v_mfma_f32_16x16x16 from zero, 32 k at a time as there, to the end
//     of the group or of the segment. q - zero has 16-bit numbers of its own: nothing is rounded but sums.
//   - What comes out is multiplied by the group's scale and added to the segment's sum, fused.
//   - Segments are added in order: ((s0 + s1) + s2) + s3; then the bias; then the result is rounded.
// Which rows share a tile, and who computes a segment, does not enter. No group ends inside of 32 k, and features have
// no order of their own: `supports` asks for both.
//
// A wave makes 64 columns: tile j of four has columns 4 * i + j, so that a lane, which has row i = lane % 16 of each of
// them as operands, has neighbouring columns, and of the results 16 neighbouring columns of one row of x.
#pragma once

#include <hip/hip_runtime.h>

#include "gemm_int4.h"
#include "gemm_mfma.h"
#include "wave.h"

#pragma clang fp contract(off)

constexpr unsigned NUM_A = 4;
constexpr unsigned WAVE_COLUMNS = NUM_A * TILE;
// Columns of a lane's results.
constexpr unsigned LANE_COLUMNS = WAVE_COLUMNS / 4;

using u32x4 = Vec<unsigned, 4>;
using u32x8 = Vec<unsigned, 8>;

// Words of four columns from `col`, a multiple of four, and eight k.
template <typename Format> struct Words;

template <> struct Words<Gptq> {
    u32x4 words;
    __device__ void load(const Packed &packed, unsigned k, unsigned col) {
        words = *(const u32x4 *)(packed.qweight + (unsigned long)(k / PACK) * packed.out_features + col);
    }
    __device__ unsigned q(unsigned j, unsigned i) const { return nibble(words[j], i); }
    // Of the four columns' zero points, which are in one word, that of column j.
    __device__ static unsigned zero(unsigned word, unsigned col, unsigned j) {
        return nibble(word >> (4 * (col % PACK)), j);
    }
};

template <> struct Words<Awq> {
    u32x8 words;
    // The four columns are every second nibble, from the first or the third on.
    __device__ static unsigned turned(unsigned word, unsigned col) { return word >> (4 * Awq::place(col)); }
    __device__ void load(const Packed &packed, unsigned k, unsigned col) {
        for (unsigned i = 0; i < LANE_K; ++i) {
            const unsigned long at = (unsigned long)(k + i) * packed.out_features + col;
            words[i] = turned(packed.qweight[at / PACK], col);
        }
    }
    __device__ unsigned q(unsigned j, unsigned i) const { return nibble(words[i], Awq::place(j)); }
    __device__ static unsigned zero(unsigned word, unsigned col, unsigned j) {
        return nibble(turned(word, col), Awq::place(j));
    }
};

// Two small integers in 16 bits each.
__device__ inline unsigned pair(Bf16, float low, float high) {
    return __builtin_amdgcn_perm(__builtin_bit_cast(unsigned, high), __builtin_bit_cast(unsigned, low), 0x07060302);
}

__device__ inline unsigned pair(F16, float low, float high) {
    return __builtin_bit_cast(unsigned, __builtin_amdgcn_cvt_pkrtz(low, high));
}

// The product of 64 columns and NUM_TILES times 16 rows of x.
template <typename Format, typename In, unsigned NUM_TILES> struct Int4Wave {
    struct Sums {
        f32x4 at[NUM_A][NUM_TILES];
    };
    struct Operands {
        Words<Format> words;
        bits16x8 x[NUM_TILES];
    };

    const Packed &packed;
    const short *x_rows[NUM_TILES];
    // The columns of this lane's operands, and of its results.
    unsigned operand_col, result_col;
    unsigned in_features;

    __device__ Int4Wave(const Packed &packed, const short *x, unsigned long first_row, unsigned num_rows,
                        unsigned first_col, unsigned in_features)
        : packed(packed), in_features(in_features) {
        const unsigned lane = threadIdx.x % WAVE_SIZE;
        // Columns and rows past the end are computed from the last ones, and not stored.
        operand_col = min(first_col + lane % TILE * NUM_A, packed.out_features - NUM_A);
        result_col = first_col + lane / TILE * LANE_COLUMNS;
        for (unsigned tile = 0; tile < NUM_TILES; ++tile) {
            const unsigned long row = min(first_row + tile * TILE + lane % TILE, (unsigned long)num_rows - 1);
            x_rows[tile] = x + row * in_features + lane / TILE * LANE_K;
        }
    }

    __device__ Operands load(unsigned k) const {
        Operands operands;
        operands.words.load(packed, k + threadIdx.x % WAVE_SIZE / TILE * LANE_K, operand_col);
        for (unsigned tile = 0; tile < NUM_TILES; ++tile) {
            operands.x[tile] = *(const bits16x8 *)(x_rows[tile] + k);
        }
        return operands;
    }

    __device__ void multiply(Sums &sums, const Operands &operands, const float (&zeros)[NUM_A]) const {
        for (unsigned j = 0; j < NUM_A; ++j) {
            u32x4 pairs;
            for (unsigned i = 0; i < LANE_K; i += 2) {
                pairs[i / 2] = pair(In{}, (float)operands.words.q(j, i) - zeros[j],
                                    (float)operands.words.q(j, i + 1) - zeros[j]);
            }
            const auto weights = __builtin_bit_cast(bits16x8, pairs);
            for (unsigned tile = 0; tile < NUM_TILES; ++tile) {
                sums.at[j][tile] = step<In>(weights, operands.x[tile], sums.at[j][tile]);
            }
        }
    }

    __device__ void load_zeros(float (&zeros)[NUM_A], unsigned group) const {
        const unsigned word = packed.qzeros[((unsigned long)group * packed.out_features + operand_col) / PACK];
        for (unsigned j = 0; j < NUM_A; ++j) {
            zeros[j] = (float)(Words<Format>::zero(word, operand_col, j) + packed.zero_offset);
        }
    }

    __device__ void add_scaled(Sums &sums, const Sums &products, unsigned group) const {
        using f16x8 = Vec<_Float16, 8>;
        const _Float16 *scales = packed.scales + (unsigned long)group * packed.out_features;
        for (unsigned half = 0; half < 2; ++half) {
            const f16x8 some = *(const f16x8 *)(scales + min(result_col + half * 8, packed.out_features - 8));
            for (unsigned i = 0; i < 8; ++i) {
                const unsigned j = i % NUM_A, r = half * 2 + i / NUM_A;
                for (unsigned tile = 0; tile < NUM_TILES; ++tile) {
                    sums.at[j][tile][r] = fmaf((float)some[i], products.at[j][tile][r], sums.at[j][tile][r]);
                }
            }
        }
    }

    __device__ Sums segment(unsigned begin, unsigned end) const {
        Sums sums = {};
        if (begin >= end) {
            return sums;
        }
        Operands next = load(begin);
        for (unsigned k = begin; k < end;) {
            const unsigned group = k / packed.group_size;
            const unsigned group_end = min(end, (group + 1) * packed.group_size);
            float zeros[NUM_A];
            load_zeros(zeros, group);
            Sums products = {};
            for (; k < group_end; k += K_STEP) {
                const Operands now = next;
                next = load(min(k + K_STEP, in_features - K_STEP));
                multiply(products, now, zeros);
            }
            add_scaled(sums, products, group);
        }
        return sums;
    }
};

// The kernels of a variant: its `gemm` is given what they are.
#define GEMM_INT4_MFMA(VARIANT, FORMAT_NAME, Format, IN_NAME, In, OUT_NAME, Out)                                       \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
    VARIANT##__##FORMAT_NAME##_##IN_NAME##_##OUT_NAME(                                                                 \
        Out::Bits *__restrict__ out, const short *__restrict__ x, const unsigned *__restrict__ qweight,                \
        const unsigned *__restrict__ qzeros, const _Float16 *__restrict__ scales, const unsigned *__restrict__ g_idx,  \
        const float *__restrict__ bias, unsigned zero_offset, unsigned group_size, unsigned num_groups,                \
        unsigned out_features, unsigned in_features, unsigned num_rows) {                                              \
        const Packed packed = {qweight, qzeros, scales, g_idx, zero_offset, group_size, num_groups, out_features};     \
        gemm<Format, In, Out>(out, x, packed, bias, in_features, num_rows);                                            \
    }

#define GEMM_INT4_MFMA_KERNELS(VARIANT)                                                                                \
    GEMM_INT4_MFMA(VARIANT, gptq, Gptq, bf16, Bf16, f32, F32)                                                          \
    GEMM_INT4_MFMA(VARIANT, gptq, Gptq, bf16, Bf16, bf16, Bf16)                                                        \
    GEMM_INT4_MFMA(VARIANT, gptq, Gptq, f16, F16, f32, F32)                                                            \
    GEMM_INT4_MFMA(VARIANT, gptq, Gptq, f16, F16, f16, F16)                                                            \
    GEMM_INT4_MFMA(VARIANT, awq, Awq, bf16, Bf16, f32, F32)                                                            \
    GEMM_INT4_MFMA(VARIANT, awq, Awq, bf16, Bf16, bf16, Bf16)                                                          \
    GEMM_INT4_MFMA(VARIANT, awq, Awq, f16, F16, f32, F32)                                                              \
    GEMM_INT4_MFMA(VARIANT, awq, Awq, f16, F16, f16, F16)
