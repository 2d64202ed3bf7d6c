// Partial results of partitions in memory, between a kernel that splits sequences and the one that merges.
#pragma once

#include "attention_mfma.h"

// With P = max_num_partitions, for partition p of its sequence:
//
//   out   [num_tokens][num_qo_heads][P][head_dim]   weighted sum of values, relative to the maximum
//   sums  [num_tokens][num_qo_heads][P][2]          maximum (base 2), sum of weights
//
// Written for every partition that a row attends; what else there is may be anything.
struct AttentionSplit {
    float *out;
    float *sums;
    unsigned max_num_partitions;
    unsigned partitions_per_workgroup;

    __device__ unsigned long place(unsigned long out_head, unsigned partition) const {
        return out_head * max_num_partitions + partition;
    }
};

static_assert(__builtin_offsetof(AttentionSplit, out) == 0);
static_assert(__builtin_offsetof(AttentionSplit, sums) == 8);
static_assert(__builtin_offsetof(AttentionSplit, max_num_partitions) == 16);
static_assert(__builtin_offsetof(AttentionSplit, partitions_per_workgroup) == 20);
static_assert(sizeof(AttentionSplit) == 24);

// Some partitions of a wave's columns, from the one that begins at position `begin` to the one that ends at `end`: each
// one's result goes to its place. Columns that attend none of them have none.
template <typename Wave>
__device__ inline void walk_partitions(const Wave &wave, const AttentionSplit &split, int begin, int end) {
    const int first_tile = max(wave.low / TILE * TILE, begin);
    const int last_tile = min(wave.high / TILE * TILE, end - TILE);
    if (first_tile > last_tile) {
        return;
    }
    const unsigned long out_head = (unsigned long)wave.row * wave.args.num_qo_heads + wave.head;
    wave.walk(first_tile, last_tile, [&](int partition, const auto &partial) {
        if (!wave.is_column) {
            return;
        }
        const unsigned long place = split.place(out_head, (unsigned)partition);
        auto *out = (f32x4 *)(split.out + place * (Wave::D_TILES * 16) + wave.group * 4);
        for (unsigned d_tile = 0; d_tile < Wave::D_TILES; ++d_tile) {
            out[d_tile * 4] = partial.out[d_tile];
        }
        if (wave.group == 0) {
            *(f32x2 *)(split.sums + place * 2) = {partial.maximum, partial.sum};
        }
    });
}
