// prefill_attention_v2_mfma_direct: attention of 64 packed queries of a KV head by four waves with matrix instructions.
//
// Source: what it computes stands in include/attention_args.h; the order of elements in pages in include/kv_layout.h.
//
// Idea: paged_attention_v3_mfma_one_shot with four neighbouring waves in a work-group, each with 16 columns of its own.
// They walk the same pages at about the same time, so three of four loads find the line in the compute unit's L1; there
// is no LDS and no barrier, and a wave whose rows end earlier stops earlier. The last columns, which attend most, come
// first, so that the longest work-groups do not begin last.
// Mapping: four waves per 64 packed queries of a KV head and sequence.
// Reduction class: attention_mfma16_p512, include/attention_mfma.h: rows of a chunk have the bits that they would have
// as decodes.
// Cost: K and V once per 16 packed queries from L1, once per 64 from L2 if the waves stay together.
// Code object: 16-byte loads, MFMA, 1 wave per SIMD.
// Measured: not on hardware. Executed in the emulator, bit-equal to paged_attention_v3_mfma_one_shot.
// Lost to: prefill_attention_v3_ping_pong for heads of 128 and more than 16 packed queries, and
// prefill_attention_v5_mfma_lds for others and more than 64: each wave of v2 fetches all of K and V from L1.

#include <hip/hip_runtime.h>

#include "attention_mfma.h"

constexpr unsigned NUM_WAVES = 4;

template <typename Q, typename Kv, unsigned HEAD_DIM> __device__ inline void direct(const AttentionArgs &args) {
    const unsigned seq_idx = blockIdx.z, kv_head = blockIdx.y;
    const unsigned wave_idx = __builtin_amdgcn_readfirstlane(threadIdx.x / WAVE_SIZE);
    const unsigned first_column = ((gridDim.x - 1 - blockIdx.x) * NUM_WAVES + wave_idx) * COLUMNS;
    const unsigned num_rows = args.cu_seqlens_q[seq_idx + 1] - args.cu_seqlens_q[seq_idx];
    if (first_column >= num_rows * (args.num_qo_heads / args.num_kv_heads)) {
        return;
    }
    const MfmaWave<Q, Kv, HEAD_DIM> wave(args, seq_idx, kv_head, first_column);
    Partial<HEAD_DIM> total;
    wave.walk(wave.low / TILE * TILE, wave.high / TILE * TILE,
              [&](int, const Partial<HEAD_DIM> &partial) { fold_into(total, partial); });
    wave.store(total);
}

#define KERNEL(q, Q, kv, Kv, D)                                                                                        \
    extern "C" __global__ void __launch_bounds__(NUM_WAVES *WAVE_SIZE, 1)                                              \
    prefill_attention_v2_mfma_direct__##q##_##kv##_d##D(AttentionArgs args) {                                          \
        direct<Q, Kv, D>(args);                                                                                        \
    }

ATTENTION_MFMA_KERNELS(KERNEL)
