// paged_attention_v5_mfma_work_list: paged_attention_v4_mfma_split, with a list of work for each of as many work-groups
// as the device runs at once.
//
// Source: what it computes stands in include/attention_args.h; the order of elements in pages in include/kv_layout.h.
//
// Idea: v4 gives every work-group as many partitions, so that in a batch of one long and many short sequences most have
// less, or nothing, to do, and the last round is not full. Here the host knows all lengths and deals partitions out
// (src/ops/attention/work.rs): neighbouring ones of a KV head stay together, and no work-group has more to do than the
// average, one partition and two starts. Partitions begin at fixed positions, so the deal changes no bit.
// Mapping: one wave per work-group; one after the other, its items, each 16 packed queries of a KV head and some
// partitions. There are no counters that work-groups share, and nobody waits for another.
// Reduction class: attention_mfma16_p512, include/attention_mfma.h.
// Cost: as v4, and a list of 20 bytes per item and 4 per work-group, which the host makes and copies where it copies the
// batch, and only if it is another than before: a sequence changes its part at every 64th token. Model, by the host's plan: 37 KB
// for 64 sequences of 8192 tokens with 8 KV heads, 0.002 % of their keys and values in bf16; 3 KB for one of them.
// Code object: 16-byte loads, MFMA, 1 wave per SIMD.
// Measured: not on hardware. Executed in the emulator, bit-equal to v3. Emulated, sequences of 8192 tokens and 32 query
// and 8 KV heads of 128: 1.019 times the least bytes miss L2 in bf16, 1.038 in FP8, which is 0.51 of bf16's; four waves,
// which is what a CU has, wait with 54 KiB of loads under way on average, FP8 29 (tests/design_targets.rs). By the cost
// model, a sequence of 65536 tokens and 63 of 1000 to 4100 take 1.08 times the time of a perfect deal, v4's 1.35 times;
// beside 63 of 64 to 498 tokens 1.42 and 1.73, for there is little more than a partition for each wave.
// Lost to: v3 where no sequence is longer than a partition: there is nothing to deal, and no second launch.

#include <hip/hip_runtime.h>

#include "attention_work.h"

#define KERNEL(q, Q, kv, Kv, D)                                                                                        \
    extern "C" __global__ void __launch_bounds__(WAVE_SIZE)                                                            \
    paged_attention_v5_mfma_work_list__##q##_##kv##_d##D(AttentionArgs args, AttentionSplit split,                     \
                                                         AttentionWork work) {                                         \
        do_items<MfmaWave<Q, Kv, D>>(args, split, work);                                                               \
    }

ATTENTION_MFMA_KERNELS(KERNEL)
