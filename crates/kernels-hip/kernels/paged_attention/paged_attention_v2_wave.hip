// paged_attention_v2_wave: paged_attention_v1_naive, with 16 bytes a load.
//
// Source: what it computes stands in include/attention_args.h; the order of elements in pages in include/kv_layout.h.
//
// Idea: in pages, 16 bytes are x elements of one key, or one element of x values. A lane has a position in q.K and takes
// x elements of its key at once; in p.V it has elements of the head, and takes x positions at once, which are x
// neighbouring slots of one kv_block. The order of every sum stays v1's, so the bits do; there is nothing for matrix
// instructions in one query at a time. Four loads are on their way before the first is used.
// Mapping: one wave per row and query head.
// Reduction class: that of paged_attention_v1_naive.
// Cost: K and V of a KV head are read once per row and query head, as in v1, by an eighth or a sixteenth of its loads.
// Code object: 16-byte loads, 4 waves per SIMD.
// Measured: not on hardware. Executed in the emulator, bit-equal to v1.
// Lost to: paged_attention_v3_mfma_one_shot, which reads K and V once for 16 queries; and kv_blocks whose slots are no
// multiple of x are left to v1.

#include <hip/hip_runtime.h>

#include "attention_naive.h"

// The body of NaiveRow with vectors; the same numbers in the same order.
template <typename Q, typename Kv> struct VectorRow : NaiveRow<Q, Kv> {
    using Row = NaiveRow<Q, Kv>;
    using Row::args, Row::kv_head, Row::place, Row::query, Row::shape, Row::weights;
    using KvBits = typename Kv::Bits;
    static constexpr unsigned X = 16 / sizeof(KvBits);
    // Loads that a lane has on their way.
    static constexpr unsigned AHEAD = 4;

    struct alignas(16) Unit {
        KvBits elements[X];
    };

    __device__ float dot(unsigned long block, unsigned slot) const {
        const auto *keys = (const Unit *)((const KvBits *)args.k_pool + shape.head_block(block, kv_head)) + slot;
        const unsigned num_units = args.head_dim / X;
        float dot = 0.0f;
        for (unsigned first = 0; first < num_units; first += AHEAD) {
            Unit units[AHEAD];
            for (unsigned i = 0; i < AHEAD; ++i) {
                units[i] = keys[min(first + i, num_units - 1) * shape.padded()];
            }
            for (unsigned i = 0; i < AHEAD && first + i < num_units; ++i) {
                for (unsigned j = 0; j < X; ++j) {
                    dot = fmaf(query[(first + i) * X + j], Kv::load(units[i].elements[j]), dot);
                }
            }
        }
        return dot;
    }

    // The sums over the tile's attended positions of weight times V elements lane, lane + 64, ...
    __device__ void add_values(unsigned tile, float shrink, float *sums) const {
        float tile_sums[NAIVE_PER_LANE] = {};
        const int low = max((int)tile, place.first), high = min((int)tile + WAVE_SIZE - 1, place.position);
        for (int from = low & -(int)X; from <= high; from += X) {
            // Some position of the unit is attended, so the kv_block is there.
            const unsigned slot = (unsigned)from % args.block_size;
            const unsigned long block = this->block_of((unsigned)from);
            const auto *values = (const Unit *)((const KvBits *)args.v_pool + shape.head_block(block, kv_head));
            values += slot / X * args.head_dim;
            Unit units[NAIVE_PER_LANE];
            for (unsigned i = 0; i < NAIVE_PER_LANE; ++i) {
                units[i] = values[min(threadIdx.x + i * WAVE_SIZE, args.head_dim - 1)];
            }
            for (unsigned j = 0; j < X; ++j) {
                const int position = from + (int)j;
                if (position < low || position > high) {
                    continue;
                }
                const float weight = weights[position - (int)tile];
                for (unsigned i = 0; i < NAIVE_PER_LANE; ++i) {
                    tile_sums[i] = fmaf(weight, Kv::load(units[i].elements[j]), tile_sums[i]);
                }
            }
        }
        for (unsigned i = 0; i < NAIVE_PER_LANE; ++i) {
            sums[i] = fmaf(sums[i], shrink, tile_sums[i]);
        }
    }
};

#define KERNEL(NAME, q, Q, kv, Kv)                                                                                     \
    extern "C" __global__ void __launch_bounds__(WAVE_SIZE) NAME##__##q##_##kv(AttentionArgs args) {                   \
        attention_naive<Q, Kv, VectorRow<Q, Kv>>(args);                                                                \
    }

ATTENTION_NAIVE_FORMATS(KERNEL, paged_attention_v2_wave)
