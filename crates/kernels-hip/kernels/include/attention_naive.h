// Attention of one row and one query head by one wave, in plain loops: the body of the naive variants of both attention
// ops, and of those that only load in another way. Everything is known at run time but the formats.
//
// Reduction class: tiles of 64 positions at absolute borders, one after the other in f32: a dot product in the order of
// d; a tile's weights by a butterfly; p.V in position order. Weights are never rounded. A function of the row alone.
#pragma once

#include "attention_args.h"
#include "formats.h"
#include "wave.h"

// Whether a product and a sum are fused is part of the class, and not left to the compiler.
#pragma clang fp contract(off)

constexpr unsigned NAIVE_MAX_HEAD_DIM = 256;
// Head elements of a lane, at most.
constexpr unsigned NAIVE_PER_LANE = NAIVE_MAX_HEAD_DIM / WAVE_SIZE;

// Positions are taken in tiles of a wave, whose borders are multiples of WAVE_SIZE whatever is attended.
template <typename Q, typename Kv> struct NaiveRow {
    using KvBits = typename Kv::Bits;
    using Places = KvPlaces<KvBits>;

    const AttentionArgs &args;
    const KvShape shape;
    const RowPlace place;
    const unsigned head;
    const unsigned kv_head;
    float *const query;    // LDS, head_dim
    float *const weights;  // LDS, WAVE_SIZE

    __device__ unsigned long block_of(unsigned position) const {
        return args.block_tables[(unsigned long)place.seq_idx * args.max_num_blocks + position / args.block_size];
    }

    // q.k without its scale.
    __device__ float dot(unsigned long block, unsigned slot) const {
        const KvBits *key = (const KvBits *)args.k_pool + shape.head_block(block, kv_head);
        float dot = 0.0f;
        for (unsigned d = 0; d < args.head_dim; ++d) {
            dot = fmaf(query[d], Kv::load(key[Places::k(shape.padded(), slot, d)]), dot);
        }
        return dot;
    }

    // The sum over the tile's attended positions of weight times V element d.
    __device__ float weighted_values(unsigned tile, unsigned d) const {
        const int first = max((int)tile, place.first), last = min((int)tile + WAVE_SIZE - 1, place.position);
        float sum = 0.0f;
        for (int position = first; position <= last; ++position) {
            const unsigned slot = (unsigned)position % args.block_size;
            const unsigned long block = block_of(position);
            const KvBits *value = (const KvBits *)args.v_pool + shape.head_block(block, kv_head);
            sum = fmaf(weights[position - tile], Kv::load(value[Places::v(args.head_dim, slot, d)]), sum);
        }
        return sum;
    }

    // The tile's values to the sums of elements lane, lane + 64, ...
    __device__ void add_values(unsigned tile, float shrink, float *sums) const {
        for (unsigned i = 0; i < NAIVE_PER_LANE && threadIdx.x + i * WAVE_SIZE < args.head_dim; ++i) {
            sums[i] = fmaf(sums[i], shrink, weighted_values(tile, threadIdx.x + i * WAVE_SIZE));
        }
    }
};

template <typename Row> __device__ inline float naive_logit(const Row &row, unsigned position) {
    const AttentionArgs &args = row.args;
    const unsigned slot = position % args.block_size, kv_head = row.kv_head;
    const unsigned long block = row.block_of(position);
    const float dot = row.dot(block, slot);
    float logit = dot * (args.scale * args.k_scales[kv_head]);
    if (args.k_token_scales) {
        logit *= args.k_token_scales[row.shape.token_scale(block, kv_head, slot)];
    }
    if (args.soft_cap != 0.0f) {
        logit = args.soft_cap * tanhf(logit / args.soft_cap);
    }
    if (args.alibi_slopes) {
        logit = fmaf(args.alibi_slopes[row.head], (float)((int)position - row.place.position), logit);
    }
    return logit;
}

// What an attended position's weight is multiplied with when it meets values.
template <typename Row> __device__ inline float naive_value_scale(const Row &row, unsigned position) {
    const AttentionArgs &args = row.args;
    if (args.v_token_scales) {
        const unsigned slot = position % args.block_size;
        return args.v_token_scales[row.shape.token_scale(row.block_of(position), row.kv_head, slot)];
    }
    return 1.0f;
}

template <typename Q, typename Kv, typename Row = NaiveRow<Q, Kv>>
__device__ inline void attention_naive(const AttentionArgs &args) {
    __shared__ float query[NAIVE_MAX_HEAD_DIM];
    __shared__ float weights[WAVE_SIZE];
    const unsigned row = blockIdx.x, head = blockIdx.y, lane = threadIdx.x;
    const unsigned kv_head = head / (args.num_qo_heads / args.num_kv_heads);
    const Row body{args, args.kv_shape(), place_of(args, row), head, kv_head, query, weights};
    const RowPlace &place = body.place;
    const auto *q = (const typename Q::Bits *)args.q + row * args.q_stride + (unsigned long)head * args.head_dim;
    for (unsigned d = lane; d < args.head_dim; d += WAVE_SIZE) {
        query[d] = Q::load(q[d]);
    }
    __syncthreads();

    const auto larger = [](float a, float b) { return fmaxf(a, b); };
    const auto plus = [](float a, float b) { return a + b; };
    float maximum = -INFINITY, weight_sum = 0.0f, sums[NAIVE_PER_LANE] = {};
    for (int tile = place.first / WAVE_SIZE * WAVE_SIZE; tile <= place.position; tile += WAVE_SIZE) {
        const int position = tile + (int)lane;
        const bool is_attended = position >= place.first && position <= place.position;
        const float logit = is_attended ? naive_logit(body, position) : -INFINITY;
        const float new_maximum = fmaxf(maximum, wave_reduce(logit, larger));
        const float weight = is_attended ? __expf(logit - new_maximum) : 0.0f;
        const float shrink = __expf(maximum - new_maximum);
        weights[lane] = is_attended ? weight * naive_value_scale(body, position) : 0.0f;
        __syncthreads();
        weight_sum = fmaf(weight_sum, shrink, wave_reduce(weight, plus));
        body.add_values(tile, shrink, sums);
        maximum = new_maximum;
        __syncthreads();
    }

    float shrink = 1.0f;
    if (args.sinks) {
        const float sink = args.sinks[head], new_maximum = fmaxf(maximum, sink);
        shrink = __expf(maximum - new_maximum);
        weight_sum = fmaf(weight_sum, shrink, __expf(sink - new_maximum));
        maximum = new_maximum;
    }
    const unsigned long out_head = (unsigned long)row * args.num_qo_heads + head;
    auto *out = (typename Q::Bits *)args.out + out_head * args.head_dim;
    const float factor = weight_sum > 0.0f ? args.v_scales[kv_head] * shrink / weight_sum : 0.0f;
    for (unsigned i = 0; i < NAIVE_PER_LANE && lane + i * WAVE_SIZE < args.head_dim; ++i) {
        out[lane + i * WAVE_SIZE] = Q::store(sums[i] * factor);
    }
    if (args.lse && lane == 0) {
        args.lse[out_head] = weight_sum > 0.0f ? maximum + logf(weight_sum) : -INFINITY;
    }
}

// Kernels `NAME__<q>_<kv>` for every pair of formats: 16-bit caches are of the queries' format.
#define ATTENTION_NAIVE(NAME, q, Q, kv, Kv)                                                                            \
    extern "C" __global__ void __launch_bounds__(WAVE_SIZE) NAME##__##q##_##kv(AttentionArgs args) {                   \
        attention_naive<Q, Kv>(args);                                                                                  \
    }

#define ATTENTION_NAIVE_KERNELS(NAME) ATTENTION_NAIVE_FORMATS(ATTENTION_NAIVE, NAME)

#define ATTENTION_NAIVE_FORMATS(KERNEL, NAME)                                                                          \
    KERNEL(NAME, bf16, Bf16, bf16, Bf16)                                                                               \
    KERNEL(NAME, bf16, Bf16, e4m3fnuz, Fp8E4m3)                                                                        \
    KERNEL(NAME, bf16, Bf16, e5m2fnuz, Fp8E5m2)                                                                        \
    KERNEL(NAME, f16, F16, f16, F16)                                                                                   \
    KERNEL(NAME, f16, F16, e4m3fnuz, Fp8E4m3)                                                                          \
    KERNEL(NAME, f16, F16, e5m2fnuz, Fp8E5m2)
