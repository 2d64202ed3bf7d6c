// Attention with matrix instructions: the parts of all variants of one reduction class.
//
// Sixteen columns are the queries of one KV head of one sequence, packed: column c is row c / group, query head
// c % group of the KV head. A wave computes, for tiles of 64 positions,
//
//   S^T = K Q^T      A = 16 keys, B = 16 queries:    lane 16 g + j has logits of query j
//   O^T += V^T P^T   A = 16 head elements, B = P^T:  lane 16 g + j has elements 4 g .. 4 g + 3 of query j
//
// so that all of a query's numbers are in lanes of one column: maximum, sum and scale are a number per lane, and S^T is
// laid out as P^T must be. Keys are assigned to rows of A so that one 16-byte load of V (x tokens of one element) is
// what x / 4 instructions take, and head elements to steps of k so that one 16-byte load of K is too. Nothing passes
// through LDS.
//
// Reduction class (attention_mfma16_p512): v_mfma_f32_16x16x16 over d in the order of loads; tiles of 64 positions and
// partitions of 512 at absolute borders; in a partition an online softmax in f32, base 2, weights rounded to nearest
// even to the queries' format, their sum in f32 per lane, lanes added at the partition's end; partitions merged in
// position order, each relative to the larger maximum; then the sink. What a row does not attend adds exact zeros, so
// neither its batch nor its chunk shows.
#pragma once

#include "attention_args.h"
#include "formats.h"
#include "wave.h"

// Whether a product and a sum are fused is part of the class, and not left to the compiler.
#pragma clang fp contract(off)

constexpr int TILE = 64;
constexpr int PARTITION = 512;
constexpr unsigned COLUMNS = 16;
constexpr float LOG2_E = 1.44269504088896340736f;
constexpr float LN_2 = 0.693147180559945309417f;

template <typename T, int N> using Vec = T __attribute__((ext_vector_type(N)));
using f32x2 = Vec<float, 2>;
using f32x4 = Vec<float, 4>;
using u32x2 = Vec<unsigned, 2>;
using u32x4 = Vec<unsigned, 4>;

// What a lane holds of A or B: four elements of 16 bits.
using Fragment = u32x2;

template <typename Q> struct Matrix;

template <> struct Matrix<Bf16> {
    using Operand = Vec<short, 4>;
    __device__ static f32x4 multiply_add(Fragment a, Fragment b, f32x4 c) {
        return __builtin_amdgcn_mfma_f32_16x16x16bf16_1k(__builtin_bit_cast(Operand, a), __builtin_bit_cast(Operand, b),
                                                         c, 0, 0, 0);
    }
    // Two numbers, not NaN, to nearest even.
    __device__ static unsigned round(float low, float high) {
        return take_upper(nearest(low), nearest(high));
    }
    // Two numbers that the format has.
    __device__ static unsigned narrow(float low, float high) {
        return take_upper(__builtin_bit_cast(unsigned, low), __builtin_bit_cast(unsigned, high));
    }

  private:
    __device__ static unsigned nearest(float x) {
        const unsigned bits = __builtin_bit_cast(unsigned, x);
        return bits + (bits >> 16 & 1) + 0x7fff;
    }
    __device__ static unsigned take_upper(unsigned low, unsigned high) {
        return __builtin_amdgcn_perm(high, low, 0x07060302);
    }
};

template <> struct Matrix<F16> {
    using Operand = Vec<_Float16, 4>;
    __device__ static f32x4 multiply_add(Fragment a, Fragment b, f32x4 c) {
        return __builtin_amdgcn_mfma_f32_16x16x16f16(__builtin_bit_cast(Operand, a), __builtin_bit_cast(Operand, b), c,
                                                     0, 0, 0);
    }
    __device__ static unsigned round(float low, float high) {
        const Vec<_Float16, 2> pair = {(_Float16)low, (_Float16)high};
        return __builtin_bit_cast(unsigned, pair);
    }
    __device__ static unsigned narrow(float low, float high) {
        return __builtin_bit_cast(unsigned, __builtin_amdgcn_cvt_pkrtz(low, high));
    }
};

// Fragment `idx` of a unit of stored elements, `Words` of 32 bits.
template <typename Q, typename Kv> struct Stored {
    template <typename Words> __device__ static Fragment fragment(Words unit, int idx) {
        return {unit[2 * idx], unit[2 * idx + 1]};
    }
};

template <typename Q, typename Format> struct Stored<Q, Fp8<Format>> {
    template <typename Words> __device__ static Fragment fragment(Words unit, int idx) {
        const f32x2 low = Format::template widen_pair<false>(unit[idx]);
        const f32x2 high = Format::template widen_pair<true>(unit[idx]);
        return {Matrix<Q>::narrow(low[0], low[1]), Matrix<Q>::narrow(high[0], high[1])};
    }
};

// Maximum, sum of weights and weighted sum of values, for one column per lane.
template <unsigned HEAD_DIM> struct Partial {
    float maximum = -INFINITY;
    float sum = 0.0f;
    f32x4 out[HEAD_DIM / 16] = {};
};

// What an exponent is relative to: a maximum, or 0 where nothing is attended yet.
__device__ inline float base_of(float maximum) { return maximum == -INFINITY ? 0.0f : maximum; }

// The largest number. Of fmaxf the compiler makes two instructions, the first for signaling NaN, which nobody has.
__device__ inline float largest(float a, float b, float c) {
    float largest;
    asm("v_max3_f32 %0, %1, %2, %3" : "=v"(largest) : "v"(a), "v"(b), "v"(c));
    return largest;
}

__device__ inline float exp2_of(float x) { return __builtin_amdgcn_exp2f(x); }

// How two partial results become one: this times `first` plus the other times `second`.
struct Fold {
    float maximum, first, second;
    __device__ Fold(float a, float b) : maximum(fmaxf(a, b)) {
        first = exp2_of(a - base_of(maximum));
        second = exp2_of(b - base_of(maximum));
    }
    __device__ float operator()(float a, float b) const { return fmaf(a, first, b * second); }
};

// The end of a row: what is multiplied with its sums, and its lse. The sink comes last.
struct Finish {
    float factor, lse;
    __device__ Finish(const AttentionArgs &args, unsigned head, unsigned kv_head, float maximum, float sum) {
        float shrink = 1.0f;
        if (args.sinks) {
            const float sink = args.sinks[head] * LOG2_E;
            const Fold fold(maximum, sink);
            sum = fold(sum, 1.0f);
            shrink = fold.first;
            maximum = fold.maximum;
        }
        factor = sum > 0.0f ? args.v_scales[kv_head] * shrink / sum : 0.0f;
        lse = sum > 0.0f ? (maximum + __log2f(sum)) * LN_2 : -INFINITY;
    }
};

// q.k with matrix instructions of FP8, for a cache of FP8: A = 16 keys as they are stored, B = 16 queries in e4m3.
template <typename Kv> struct Fp8Products;

template <> struct Fp8Products<Fp8E4m3> {
    __device__ static f32x4 multiply_add(Fragment keys, Fragment queries, f32x4 c) {
        return __builtin_amdgcn_mfma_f32_16x16x32_fp8_fp8(__builtin_bit_cast(long, keys),
                                                          __builtin_bit_cast(long, queries), c, 0, 0, 0);
    }
};

template <> struct Fp8Products<Fp8E5m2> {
    __device__ static f32x4 multiply_add(Fragment keys, Fragment queries, f32x4 c) {
        return __builtin_amdgcn_mfma_f32_16x16x32_bf8_fp8(__builtin_bit_cast(long, keys),
                                                          __builtin_bit_cast(long, queries), c, 0, 0, 0);
    }
};

// One wave's columns. With FP8_QUERY, queries are rounded to e4m3 with a scale of each row and head: another reduction
// class.
template <typename Q, typename Kv, unsigned HEAD_DIM, bool FP8_QUERY = false> struct MfmaWave {
    using KvBits = typename Kv::Bits;
    using Unit = u32x4;
    static constexpr unsigned SIZE = sizeof(KvBits);
    static constexpr unsigned X = 16 / SIZE;
    // Fragments of a 16-byte load of V, and such loads per tile and head element.
    static constexpr unsigned V_FRAGMENTS = X / 4, V_UNITS = 4 / V_FRAGMENTS;
    // Head elements of a load of K: 16 bytes, or 8 where four lanes' would be too many.
    static constexpr unsigned K_UNIT = HEAD_DIM % (4 * X) == 0 ? X : X / 2;
    // Head elements of a query that a lane gives a matrix instruction, and such instructions for a load of K.
    static constexpr unsigned Q_ELEMENTS = FP8_QUERY ? 8 : 4;
    static constexpr unsigned K_FRAGMENTS = K_UNIT / Q_ELEMENTS, K_STEPS = HEAD_DIM / (4 * K_UNIT);
    using KUnit = Vec<unsigned, K_UNIT * SIZE / 4>;
    static constexpr unsigned D_TILES = HEAD_DIM / 16;

    const AttentionArgs &args;
    const unsigned kv_head;
    const unsigned *table;
    const unsigned block_shift;
    // Positions that any column attends.
    int low, high;
    // Positions that every column attends.
    int common_low, common_high;
    // This lane's column.
    unsigned row, head;
    int first, position;
    bool is_column;
    // This lane.
    unsigned column, group;
    Fragment query[K_STEPS][K_FRAGMENTS];
    float query_scale;

    __device__ MfmaWave(const AttentionArgs &args, unsigned seq_idx, unsigned kv_head, unsigned first_column)
        : args(args), kv_head(kv_head), table(args.block_tables + (unsigned long)seq_idx * args.max_num_blocks),
          block_shift(__builtin_ctz(args.block_size)) {
        const unsigned lane = threadIdx.x % WAVE_SIZE;
        column = lane % COLUMNS;
        group = lane / COLUMNS;
        const unsigned heads = args.num_qo_heads / args.num_kv_heads;
        const unsigned first_row = args.cu_seqlens_q[seq_idx];
        const unsigned num_rows = args.cu_seqlens_q[seq_idx + 1] - first_row;
        const int before = (int)(args.seq_lens[seq_idx] - num_rows);
        const unsigned last_column = min(first_column + COLUMNS, num_rows * heads) - 1;
        const int first_position = before + (int)(first_column / heads);
        const int last_position = before + (int)(last_column / heads);
        low = window_start(first_position);
        high = last_position;
        common_low = window_start(last_position);
        common_high = first_position;
        is_column = first_column + column <= last_column;
        const unsigned packed = is_column ? first_column + column : first_column;
        row = first_row + packed / heads;
        head = kv_head * heads + packed % heads;
        position = is_column ? before + (int)(packed / heads) : -1;
        first = is_column ? window_start(position) : 0;
        load_query();
    }

    __device__ int window_start(int position) const {
        return args.window ? max(position + 1 - (int)args.window, 0) : 0;
    }

    __device__ void load_query() {
        const auto *q = (const unsigned short *)args.q + row * args.q_stride + (unsigned long)head * HEAD_DIM;
        if constexpr (FP8_QUERY) {
            quantize_query(q);
        } else {
            for (unsigned step = 0; step < K_STEPS; ++step) {
                __builtin_memcpy(query[step], q + (4 * step + group) * K_UNIT, sizeof(query[step]));
            }
        }
    }

    // The four lanes of a column have its elements between them.
    __device__ void quantize_query(const unsigned short *q) {
        float elements[K_STEPS][K_UNIT], largest = 0.0f;
        for (unsigned step = 0; step < K_STEPS; ++step) {
            typename Q::Bits bits[K_UNIT];
            __builtin_memcpy(bits, q + (4 * step + group) * K_UNIT, sizeof(bits));
            for (unsigned i = 0; i < K_UNIT; ++i) {
                elements[step][i] = Q::load(bits[i]);
                largest = fmaxf(largest, fabsf(elements[step][i]));
            }
        }
        largest = fmaxf(largest, __shfl_xor(largest, 16, WAVE_SIZE));
        largest = fmaxf(largest, __shfl_xor(largest, 32, WAVE_SIZE));
        query_scale = fp8_scale<E4M3Fnuz>(largest);
        for (unsigned step = 0; step < K_STEPS; ++step) {
            unsigned words[K_UNIT / 4] = {};
            for (unsigned i = 0; i < K_UNIT; ++i) {
                const unsigned code = to_fp8<E4M3Fnuz>(elements[step][i] / query_scale);
                words[i / 4] |= code << i % 4 * 8;
            }
            for (unsigned i = 0; i < K_FRAGMENTS; ++i) {
                query[step][i] = {words[2 * i], words[2 * i + 1]};
            }
        }
    }

    // Where this lane's unit of a tile lies: the first element of its kv_block and head, in bytes, and its slot. A unit
    // that nobody attends is replaced by one that somebody does: its kv_block may not exist.
    struct Place {
        unsigned long head_block;
        unsigned long token_scale;
        unsigned slot;
    };

    __device__ Place place(int first_of_unit) const {
        const int from = min(max(first_of_unit & -16, low & -16), high & -16);
        const unsigned long block = table[(unsigned)from >> block_shift];
        const unsigned long head_idx = block * args.num_kv_heads + kv_head;
        const unsigned slot = ((unsigned)from & (args.block_size - 1)) + ((unsigned)first_of_unit & 15);
        return {head_idx * ((unsigned long)args.block_size * (HEAD_DIM * SIZE)), head_idx * args.block_size, slot};
    }

    struct Places {
        Place k[V_UNITS], v[V_UNITS];
    };

    __device__ Places places(int tile) const {
        Places places;
        for (unsigned unit = 0; unit < V_UNITS; ++unit) {
            places.k[unit] = place(tile + (int)(4 * X * unit + column / 4 * X));
            places.v[unit] = place(tile + (int)(4 * X * unit + group * X));
        }
        return places;
    }

    using Keys = KUnit[K_STEPS];
    using Values = Unit[D_TILES];

    // The key of row `column` of one of the tile's four products.
    __device__ void load_keys(Keys &keys, const Places &places, unsigned product) const {
        const Place &at = places.k[product / V_FRAGMENTS];
        const unsigned slot = at.slot + product % V_FRAGMENTS * 4 + column % 4;
        const char *head_block = (const char *)args.k_pool + at.head_block;
        for (unsigned step = 0; step < K_STEPS; ++step) {
            const unsigned d = (4 * step + group) * K_UNIT;
            const unsigned offset = (d / X * args.block_size + slot) * 16 + d % X * SIZE;
            keys[step] = *(const KUnit *)(head_block + offset);
        }
    }

    __device__ void load_values(Values &values, const Places &places, unsigned unit) const {
        const Place &at = places.v[unit];
        const char *head_block = (const char *)args.v_pool + at.head_block;
        for (unsigned d_tile = 0; d_tile < D_TILES; ++d_tile) {
            const unsigned offset = (at.slot / X * HEAD_DIM + d_tile * 16 + column) * 16;
            values[d_tile] = *(const Unit *)(head_block + offset);
        }
    }

    // S^T of one product.
    __device__ f32x4 score(const Keys &keys) const {
        f32x4 score = {};
        for (unsigned step = 0; step < K_STEPS; ++step) {
            for (unsigned i = 0; i < K_FRAGMENTS; ++i) {
                if constexpr (FP8_QUERY) {
                    const Fragment key = {keys[step][2 * i], keys[step][2 * i + 1]};
                    score = Fp8Products<Kv>::multiply_add(key, query[step][i], score);
                } else {
                    const Fragment key = Stored<Q, Kv>::fragment(keys[step], i);
                    score = Matrix<Q>::multiply_add(key, query[step][i], score);
                }
            }
        }
        return score;
    }

    // The position of this lane's first score of a product.
    __device__ int first_of(int tile, unsigned product) const {
        return tile + (int)(product / V_FRAGMENTS * 4 * X + group * X + product % V_FRAGMENTS * 4);
    }

    // Scores to logits in base 2.
    __device__ void logits(f32x4 (&scores)[4], const Places &places, int tile) const {
        const float scale = args.scale * args.k_scales[kv_head] * (FP8_QUERY ? query_scale : 1.0f);
        const bool is_plain = args.soft_cap == 0.0f && !args.alibi_slopes;
        const float first_scale = is_plain ? scale * LOG2_E : scale;
        for (unsigned product = 0; product < 4; ++product) {
            scores[product] *= first_scale;
            if (args.k_token_scales) {
                scores[product] *= token_scales(args.k_token_scales, places, product);
            }
        }
        if (!is_plain) {
            const float slope = args.alibi_slopes ? args.alibi_slopes[head] : 0.0f;
            for (unsigned product = 0; product < 4; ++product) {
                const int distance = first_of(tile, product) - position;
                for (int i = 0; i < 4; ++i) {
                    const float capped = args.soft_cap == 0.0f ? scores[product][i] : cap(scores[product][i]);
                    scores[product][i] = fmaf(slope, (float)(distance + i), capped) * LOG2_E;
                }
            }
        }
        if (tile < common_low || tile + TILE - 1 > common_high) {
            for (unsigned product = 0; product < 4; ++product) {
                const int from = first_of(tile, product);
                for (int i = 0; i < 4; ++i) {
                    const bool is_attended = from + i >= first && from + i <= position;
                    scores[product][i] = is_attended ? scores[product][i] : -INFINITY;
                }
            }
        }
    }

    // soft_cap * tanh(x / soft_cap): 1 - 2 / (e^2y + 1), whose error is of units of 1.
    __device__ float cap(float x) const {
        const float power = exp2_of(x / args.soft_cap * (2.0f * LOG2_E));
        return args.soft_cap * (1.0f - 2.0f * __builtin_amdgcn_rcpf(power + 1.0f));
    }

    __device__ f32x4 token_scales(const float *scales, const Places &places, unsigned product) const {
        const Place &at = places.v[product / V_FRAGMENTS];
        return *(const f32x4 *)(scales + at.token_scale + at.slot + product % V_FRAGMENTS * 4);
    }

    // Logits to weights, rounded; the partial sum becomes relative to the new maximum, and by what is returned the partial
    // result has to.
    __device__ float weigh(f32x4 (&logits)[4], Fragment (&weights)[4], Partial<HEAD_DIM> &partial, const Places &places,
                          int tile) const {
        float maximum = partial.maximum;
        for (const f32x4 &some : logits) {
            maximum = largest(largest(maximum, some[0], some[1]), some[2], some[3]);
        }
        maximum = fmaxf(maximum, __shfl_xor(maximum, 16, WAVE_SIZE));
        maximum = fmaxf(maximum, __shfl_xor(maximum, 32, WAVE_SIZE));
        const float base = base_of(maximum);
        const float shrink = exp2_of(partial.maximum - base);
        partial.maximum = maximum;
        float sum = 0.0f;
        for (unsigned product = 0; product < 4; ++product) {
            f32x4 &some = logits[product];
            for (int i = 0; i < 4; ++i) {
                some[i] = exp2_of(some[i] - base);
                sum += some[i];
            }
            if (args.v_token_scales) {
                const f32x4 scales = token_scales(args.v_token_scales, places, product);
                const int from = first_of(tile, product);
                for (int i = 0; i < 4; ++i) {
                    // An unattended slot's scale may be NaN.
                    const bool is_attended = from + i >= first && from + i <= position;
                    some[i] = is_attended ? some[i] * scales[i] : 0.0f;
                }
            }
            weights[product] = {Matrix<Q>::round(some[0], some[1]), Matrix<Q>::round(some[2], some[3])};
        }
        partial.sum = fmaf(partial.sum, shrink, sum);
        return shrink;
    }

    __device__ static void rescale(Partial<HEAD_DIM> &partial, float shrink) {
        for (f32x4 &out : partial.out) {
            out *= shrink;
        }
    }

    // O^T += V^T P^T for the products of one unit. Values of positions that nobody attends may be NaN, and are made 0.
    __device__ void add_values(const Values &values, const Fragment (&weights)[4], Partial<HEAD_DIM> &partial, int tile,
                               unsigned unit) const {
        // Where registers are short, one way for all tiles is better than two.
        if (!IS_WHOLE || tile < low || tile + TILE - 1 > high) {
            Fragment masks[V_FRAGMENTS];
            for (unsigned i = 0; i < V_FRAGMENTS; ++i) {
                const int from = first_of(tile, unit * V_FRAGMENTS + i);
                const auto mask = [&](int j) { return from + j >= low && from + j <= high ? 0xffffu : 0u; };
                masks[i] = {mask(0) | mask(1) << 16, mask(2) | mask(3) << 16};
            }
            add_products(values, weights, partial, unit, [&](Fragment value, unsigned i) { return value & masks[i]; });
        } else {
            add_products(values, weights, partial, unit, [](Fragment value, unsigned) { return value; });
        }
    }

    template <typename Masked>
    __device__ void add_products(const Values &values, const Fragment (&weights)[4], Partial<HEAD_DIM> &partial,
                                 unsigned unit, Masked masked) const {
        for (unsigned i = 0; i < V_FRAGMENTS; ++i) {
            if (!IS_WHOLE) {
                __builtin_amdgcn_sched_barrier(0);
            }
            for (unsigned d_tile = 0; d_tile < D_TILES; ++d_tile) {
                const Fragment value = masked(Stored<Q, Kv>::fragment(values[d_tile], i), i);
                partial.out[d_tile] =
                    Matrix<Q>::multiply_add(value, weights[unit * V_FRAGMENTS + i], partial.out[d_tile]);
            }
        }
    }

    // What a tile's loads wait in: all of it where there are registers for a tile's values beside its keys and for the
    // next tile's keys beside the values, else one product's keys and one unit's values.
    static constexpr bool IS_WHOLE = HEAD_DIM <= 128;

    __device__ void load_tile_keys(Keys (&keys)[4], const Places &places) const {
        for (unsigned product = 0; IS_WHOLE && product < 4; ++product) {
            load_keys(keys[product], places, product);
        }
    }

    __device__ void load_tile_values(Values (&values)[V_UNITS], const Places &places) const {
        for (unsigned unit = 0; IS_WHOLE && unit < V_UNITS; ++unit) {
            load_values(values[unit], places, unit);
        }
    }

    // Tiles `tile` to `last_tile`, from pages to registers. `end` is given each partition's result.
    template <typename End> __device__ void walk(int tile, int last_tile, End end) const {
        Keys keys[4];
        Values values[V_UNITS];
        Places at = places(tile);
        load_tile_keys(keys, at);
        Partial<HEAD_DIM> partial;
        for (; tile <= last_tile; tile += TILE) {
            load_tile_values(values, at);
            f32x4 logits[4];
            for (unsigned product = 0; product < 4; ++product) {
                if (!IS_WHOLE) {
                    // The compiler would move all loads up, and run out of registers.
                    __builtin_amdgcn_sched_barrier(0);
                    load_keys(keys[0], at, product);
                }
                logits[product] = score(keys[IS_WHOLE ? product : 0]);
            }
            const Places now = at;
            if (IS_WHOLE && tile < last_tile) {
                at = places(tile + TILE);
                load_tile_keys(keys, at);
            }
            this->logits(logits, now, tile);
            Fragment weights[4];
            rescale(partial, weigh(logits, weights, partial, now, tile));
            for (unsigned unit = 0; unit < V_UNITS; ++unit) {
                if (!IS_WHOLE) {
                    __builtin_amdgcn_sched_barrier(0);
                    load_values(values[0], now, unit);
                }
                add_values(values[IS_WHOLE ? unit : 0], weights, partial, tile, unit);
            }
            if (!IS_WHOLE && tile < last_tile) {
                at = places(tile + TILE);
            }
            if ((tile + TILE) % PARTITION == 0 || tile == last_tile) {
                partial.sum += __shfl_xor(partial.sum, 16, WAVE_SIZE);
                partial.sum += __shfl_xor(partial.sum, 32, WAVE_SIZE);
                end(tile / PARTITION, partial);
                partial = Partial<HEAD_DIM>();
            }
        }
    }

    __device__ void store(const Partial<HEAD_DIM> &total) const {
        if (!is_column) {
            return;
        }
        const Finish finish(args, head, kv_head, total.maximum, total.sum);
        const unsigned long out_head = (unsigned long)row * args.num_qo_heads + head;
        auto *out = (Fragment *)((unsigned short *)args.out + out_head * HEAD_DIM + group * 4);
        for (unsigned d_tile = 0; d_tile < D_TILES; ++d_tile) {
            const f32x4 some = total.out[d_tile] * finish.factor;
            out[d_tile * 4] = {rounded(some[0], some[1]), rounded(some[2], some[3])};
        }
        if (args.lse && group == 0) {
            args.lse[out_head] = finish.lse;
        }
    }

    // As Q::store, which keeps NaN.
    __device__ static unsigned rounded(float low, float high) {
        return (unsigned)__builtin_bit_cast(unsigned short, Q::store(low)) |
               (unsigned)__builtin_bit_cast(unsigned short, Q::store(high)) << 16;
    }
};

template <unsigned HEAD_DIM>
__device__ inline void fold_into(Partial<HEAD_DIM> &total, const Partial<HEAD_DIM> &partial) {
    const Fold fold(total.maximum, partial.maximum);
    total.maximum = fold.maximum;
    total.sum = fold(total.sum, partial.sum);
    for (unsigned i = 0; i < HEAD_DIM / 16; ++i) {
        for (int j = 0; j < 4; ++j) {
            total.out[i][j] = fold(total.out[i][j], partial.out[i][j]);
        }
    }
}

// Kernels `NAME__<q>_<kv>_d<head_dim>`, all that there are: src/ops/attention/shape.rs has the same list. Every size for
// the formats of most models, the usual two for the rest.
#define ATTENTION_MFMA_KERNELS(KERNEL)                                                                                 \
    ATTENTION_MFMA_EVERY_HEAD(KERNEL, bf16, Bf16, bf16, Bf16)                                                          \
    ATTENTION_MFMA_EVERY_HEAD(KERNEL, f16, F16, f16, F16)                                                              \
    ATTENTION_MFMA_EVERY_HEAD(KERNEL, bf16, Bf16, e4m3fnuz, Fp8E4m3)                                                   \
    ATTENTION_MFMA_USUAL_HEADS(KERNEL, bf16, Bf16, e5m2fnuz, Fp8E5m2)                                                  \
    ATTENTION_MFMA_USUAL_HEADS(KERNEL, f16, F16, e4m3fnuz, Fp8E4m3)                                                    \
    ATTENTION_MFMA_USUAL_HEADS(KERNEL, f16, F16, e5m2fnuz, Fp8E5m2)

// Those whose cache is of FP8.
#define ATTENTION_MFMA_FP8_KERNELS(KERNEL)                                                                             \
    ATTENTION_MFMA_EVERY_HEAD(KERNEL, bf16, Bf16, e4m3fnuz, Fp8E4m3)                                                   \
    ATTENTION_MFMA_USUAL_HEADS(KERNEL, bf16, Bf16, e5m2fnuz, Fp8E5m2)                                                  \
    ATTENTION_MFMA_USUAL_HEADS(KERNEL, f16, F16, e4m3fnuz, Fp8E4m3)                                                    \
    ATTENTION_MFMA_USUAL_HEADS(KERNEL, f16, F16, e5m2fnuz, Fp8E5m2)

#define ATTENTION_MFMA_USUAL_HEADS(KERNEL, q, Q, kv, Kv)                                                               \
    KERNEL(q, Q, kv, Kv, 64)                                                                                           \
    KERNEL(q, Q, kv, Kv, 128)

#define ATTENTION_MFMA_EVERY_HEAD(KERNEL, q, Q, kv, Kv)                                                                \
    ATTENTION_MFMA_USUAL_HEADS(KERNEL, q, Q, kv, Kv)                                                                   \
    KERNEL(q, Q, kv, Kv, 96)                                                                                           \
    KERNEL(q, Q, kv, Kv, 192)                                                                                          \
    KERNEL(q, Q, kv, Kv, 256)
