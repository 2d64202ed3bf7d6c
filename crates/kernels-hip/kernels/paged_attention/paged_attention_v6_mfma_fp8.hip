// paged_attention_v6_mfma_fp8: paged_attention_v5_mfma_work_list, with q.k in FP8.
//
// Source: what it computes stands in include/attention_args.h; the order of elements in pages in include/kv_layout.h.
//
// Idea: an FP8 cache's keys go to v_mfma_f32_16x16x32 as they are stored, without a conversion, if queries are FP8 too:
// each row and head is rounded to e4m3 with a scale of its own, when its wave begins. That is half of the instructions
// of q.k and none of those that widen keys; weights and values stay at 16 bits. Rounding queries moves a logit by up to
// 2^-4 of sum |q.k|: results differ visibly from those of every other variant. So it is taken by pin alone.
// Mapping: that of v5, for every length.
// Reduction class: attention_mfma16_p512 but for q.k: queries in e4m3, v_mfma_f32_16x16x32 over d in the order of loads.
// Cost: as v5.
// Code object: 16-byte loads, MFMA, 1 wave per SIMD.
// Measured: not on hardware. Executed in the emulator, within 1.5 units of its twin, which rounds queries and weights
// alike, and within the bound that reference_cpu derives from the exact result.
// Lost to: v5 wherever the engine may choose, for precision.

#include <hip/hip_runtime.h>

#include "attention_work.h"

#define KERNEL(q, Q, kv, Kv, D)                                                                                        \
    extern "C" __global__ void __launch_bounds__(WAVE_SIZE)                                                            \
    paged_attention_v6_mfma_fp8__##q##_##kv##_d##D(AttentionArgs args, AttentionSplit split, AttentionWork work) {     \
        do_items<MfmaWave<Q, Kv, D, true>>(args, split, work);                                                         \
    }

ATTENTION_MFMA_FP8_KERNELS(KERNEL)
