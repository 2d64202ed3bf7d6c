// prefill_attention_v4_mfma_fp8: prefill_attention_v2_mfma_direct, with q.k in FP8.
//
// Source: what it computes stands in include/attention_args.h; the order of elements in pages in include/kv_layout.h.
//
// Idea: the partner of paged_attention_v6_mfma_fp8, so that rows of a chunk have the bits that they would have as
// decodes. It is taken by pin alone, as that is, which says why.
// Mapping: four waves per 64 packed queries of a KV head and sequence, the last first.
// Reduction class: that of paged_attention_v6_mfma_fp8.
// Cost: as prefill_attention_v2_mfma_direct, with half of the matrix instructions of q.k.
// Code object: 16-byte loads, MFMA, 1 wave per SIMD.
// Measured: not on hardware. Executed in the emulator, bit-equal to paged_attention_v6_mfma_fp8.
// Lost to: prefill_attention_v2_mfma_direct wherever the engine may choose, for precision.

#include <hip/hip_runtime.h>

#include "attention_mfma.h"

constexpr unsigned NUM_WAVES = 4;

template <typename Wave> __device__ inline void direct(const AttentionArgs &args) {
    const unsigned seq_idx = blockIdx.z, kv_head = blockIdx.y;
    const unsigned first_column =
        ((gridDim.x - 1 - blockIdx.x) * NUM_WAVES + uniform(threadIdx.x / WAVE_SIZE)) * COLUMNS;
    const unsigned num_rows = args.cu_seqlens_q[seq_idx + 1] - args.cu_seqlens_q[seq_idx];
    if (first_column >= num_rows * (args.num_qo_heads / args.num_kv_heads)) {
        return;
    }
    const Wave wave(args, seq_idx, kv_head, first_column);
    Partial<Wave::D_TILES * 16> total;
    wave.walk(wave.low / TILE * TILE, wave.high / TILE * TILE,
              [&](int, const auto &partial) { fold_into(total, partial); });
    wave.store(total);
}

#define KERNEL(q, Q, kv, Kv, D)                                                                                        \
    extern "C" __global__ void __launch_bounds__(NUM_WAVES *WAVE_SIZE, 1)                                              \
    prefill_attention_v4_mfma_fp8__##q##_##kv##_d##D(AttentionArgs args) {                                             \
        direct<MfmaWave<Q, Kv, D, true>>(args);                                                                        \
    }

ATTENTION_MFMA_FP8_KERNELS(KERNEL)
