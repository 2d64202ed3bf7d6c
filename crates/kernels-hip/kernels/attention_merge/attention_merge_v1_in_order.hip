// attention_merge_v1_in_order: the partial results of a row's partitions to its result.
//
// Idea: log-sum-exp in f32, from the first partition to the last, each time relative to the larger maximum; the sink
// last. No epsilon, and no partition is normalised by itself.
// Mapping: one wave per row and query head; a lane has four head elements, and lanes past the head none.
// Reduction class: attention_mfma16_p512, include/attention_mfma.h: what paged_attention_v3_mfma_one_shot does in
// registers.
// Cost: 4 (head_dim + 2) bytes read per partition, 2 head_dim written.
// Measured: not on hardware. Executed in the emulator: with paged_attention_v4_mfma_split bit-equal to v3.
// Lost to: nothing yet. Partitions come one after the other.

#include <hip/hip_runtime.h>

#include "attention_split.h"

template <typename Q> __device__ inline void merge(const AttentionArgs &args, const AttentionSplit &split) {
    const unsigned row = blockIdx.x, head = blockIdx.y, lane = threadIdx.x;
    const unsigned kv_head = head / (args.num_qo_heads / args.num_kv_heads);
    const RowPlace place = place_of(args, row);
    const unsigned long out_head = (unsigned long)row * args.num_qo_heads + head;
    const unsigned d = min(lane * 4, args.head_dim - 4);
    float maximum = -INFINITY, sum = 0.0f;
    f32x4 out = {};
    for (int partition = place.first / PARTITION; partition * PARTITION <= place.position; ++partition) {
        const unsigned long at = split.place(out_head, (unsigned)partition);
        const f32x2 sums = *(const f32x2 *)(split.sums + at * 2);
        const f32x4 some = *(const f32x4 *)(split.out + at * args.head_dim + d);
        const Fold fold(maximum, sums[0]);
        maximum = fold.maximum;
        sum = fold(sum, sums[1]);
        for (int i = 0; i < 4; ++i) {
            out[i] = fold(out[i], some[i]);
        }
    }
    const Finish finish(args, head, kv_head, maximum, sum);
    if (lane * 4 < args.head_dim) {
        typename Q::Bits rounded[4];
        for (int i = 0; i < 4; ++i) {
            rounded[i] = Q::store(out[i] * finish.factor);
        }
        __builtin_memcpy((typename Q::Bits *)args.out + out_head * args.head_dim + d, rounded, sizeof(rounded));
    }
    if (args.lse && lane == 0) {
        args.lse[out_head] = finish.lse;
    }
}

extern "C" __global__ void __launch_bounds__(WAVE_SIZE)
attention_merge_v1_in_order__bf16(AttentionArgs args, AttentionSplit split) {
    merge<Bf16>(args, split);
}

extern "C" __global__ void __launch_bounds__(WAVE_SIZE)
attention_merge_v1_in_order__f16(AttentionArgs args, AttentionSplit split) {
    merge<F16>(args, split);
}
