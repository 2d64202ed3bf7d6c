// Partial results of partitions in memory, between a kernel that splits sequences and the one that merges.
#pragma once

#include <hip/hip_runtime.h>

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
