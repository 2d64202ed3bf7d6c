// paged_attention_v3_mfma_one_shot: attention of 16 packed queries of a KV head by one wave with matrix instructions.
//
// Source: what it computes stands in include/attention_args.h; the order of elements in pages in include/kv_layout.h.
//
// Idea: the queries that share a KV head, those of all rows of a sequence, are columns of one matrix, so K and V are read
// once for all of them; a wave goes from the first position to the last and folds partitions in registers. Keys and
// values go from pages straight to the operands of v_mfma_f32_16x16x16: no LDS, no barrier (include/attention_mfma.h).
// Keys of the next tile are on their way during softmax and p.V, values during q.K; from head_dim 192 on there are no
// registers for that, and a product's keys and a unit's values come when they are needed.
// Mapping: one wave per 16 packed queries of a KV head and sequence.
// Reduction class: attention_mfma16_p512, include/attention_mfma.h.
// Cost: K and V once per 16 packed queries.
// Code object: 16-byte loads, MFMA, 1 wave per SIMD.
// Measured: not on hardware. Executed in the emulator, within reference_cpu's bound and 1.5 units of its twin.
// Lost to: paged_attention_v4_mfma_split where sequences are longer than a partition.

#include <hip/hip_runtime.h>

#include "attention_mfma.h"

template <typename Q, typename Kv, unsigned HEAD_DIM> __device__ inline void one_shot(const AttentionArgs &args) {
    const unsigned seq_idx = blockIdx.z, kv_head = blockIdx.y, first_column = blockIdx.x * COLUMNS;
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
    extern "C" __global__ void __launch_bounds__(WAVE_SIZE)                                                            \
    paged_attention_v3_mfma_one_shot__##q##_##kv##_d##D(AttentionArgs args) {                                          \
        one_shot<Q, Kv, D>(args);                                                                                      \
    }

ATTENTION_MFMA_KERNELS(KERNEL)
