// Lists of work: what each work-group of a persistent kernel does, made by the host (src/ops/attention/work.rs).
#pragma once

#include "attention_split.h"

// Sixteen packed queries of a KV head of a sequence, and some neighbouring partitions.
struct AttentionItem {
    unsigned seq_idx;
    unsigned kv_head;
    unsigned first_column;
    unsigned first_partition;
    unsigned end_partition;
};

// Work-group w does items[bounds[w]] .. items[bounds[w + 1]].
struct AttentionWork {
    const unsigned *bounds;
    const AttentionItem *items;
};

static_assert(__builtin_offsetof(AttentionItem, kv_head) == 4);
static_assert(__builtin_offsetof(AttentionItem, first_column) == 8);
static_assert(__builtin_offsetof(AttentionItem, first_partition) == 12);
static_assert(__builtin_offsetof(AttentionItem, end_partition) == 16);
static_assert(sizeof(AttentionItem) == 20);
static_assert(__builtin_offsetof(AttentionWork, items) == 8);
static_assert(sizeof(AttentionWork) == 16);

// Does this work-group's items with waves of the type `Wave`.
template <typename Wave>
__device__ inline void do_items(const AttentionArgs &args, const AttentionSplit &split, const AttentionWork &work) {
    const unsigned end = uniform(work.bounds[blockIdx.x + 1]);
    for (unsigned idx = uniform(work.bounds[blockIdx.x]); idx < end; ++idx) {
        const AttentionItem &item = work.items[idx];
        const Wave wave(args, uniform(item.seq_idx), uniform(item.kv_head), uniform(item.first_column));
        const int begin = (int)uniform(item.first_partition) * PARTITION;
        walk_partitions(wave, split, begin, (int)uniform(item.end_partition) * PARTITION);
    }
}
