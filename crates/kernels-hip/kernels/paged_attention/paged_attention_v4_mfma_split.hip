// paged_attention_v4_mfma_split: paged_attention_v3_mfma_one_shot, with a sequence's partitions dealt to several waves.
//
// Source: what it computes stands in include/attention_args.h; the order of elements in pages in include/kv_layout.h.
//
// Idea: a wave per sequence and KV head leaves most of 304 CUs idle unless the batch is large. Partitions begin at fixed
// positions and are merged in order by attention_merge, so how many a work-group takes changes nothing but the time; the
// host asks a cost model (src/ops/attention/split.rs). Partial results are f32: nothing is rounded or normalised twice.
// Mapping: one wave per 16 packed queries of a KV head and `partitions_per_workgroup` partitions.
// Reduction class: attention_mfma16_p512, include/attention_mfma.h.
// Cost: K and V once per 16 packed queries; and for each partition, row and query head 4 (head_dim + 2) bytes written and
// read again, of 512 tokens: 1.6 % of a bf16 cache's bytes at 4 query heads per KV head.
// Code object: 16-byte loads, MFMA, 1 wave per SIMD.
// Measured: not on hardware. Executed in the emulator, bit-equal to v3. Emulated, one KV head of 64 in bf16 and 2047
// tokens: 1.01 times the least bytes miss L2; FP8 0.51 times bf16's; a wave waits with 7.4 KiB of loads under way on
// average, 16 KiB at most, and two waves fit a SIMD.
// Lost to: v3 where no sequence is longer than a partition: there is nothing to split, and no second launch.

#include <hip/hip_runtime.h>

#include "attention_split.h"

template <typename Q, typename Kv, unsigned HEAD_DIM>
__device__ inline void split(const AttentionArgs &args, const AttentionSplit &split) {
    const unsigned num_column_tiles = gridDim.y / args.num_kv_heads;
    const unsigned seq_idx = blockIdx.z, kv_head = blockIdx.y / num_column_tiles;
    const unsigned first_column = blockIdx.y % num_column_tiles * COLUMNS;
    const unsigned num_rows = args.cu_seqlens_q[seq_idx + 1] - args.cu_seqlens_q[seq_idx];
    const int begin = (int)(blockIdx.x * split.partitions_per_workgroup) * PARTITION;
    if (first_column >= num_rows * (args.num_qo_heads / args.num_kv_heads) || begin >= (int)args.seq_lens[seq_idx]) {
        return;
    }
    const MfmaWave<Q, Kv, HEAD_DIM> wave(args, seq_idx, kv_head, first_column);
    walk_partitions(wave, split, begin, begin + (int)split.partitions_per_workgroup * PARTITION);
}

#define KERNEL(q, Q, kv, Kv, D)                                                                                        \
    extern "C" __global__ void __launch_bounds__(WAVE_SIZE)                                                            \
    paged_attention_v4_mfma_split__##q##_##kv##_d##D(AttentionArgs args, AttentionSplit partials) {                    \
        split<Q, Kv, D>(args, partials);                                                                               \
    }

ATTENTION_MFMA_KERNELS(KERNEL)
