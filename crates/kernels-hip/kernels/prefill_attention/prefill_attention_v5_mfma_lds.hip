// prefill_attention_v5_mfma_lds: attention of 128 packed queries of a KV head by four waves that share K and V in LDS.
//
// Source: what it computes stands in include/attention_args.h; the order of elements in pages in include/kv_layout.h.
//
// Idea: a tile of K and one of V are in LDS for 128 packed queries; while the waves multiply with one, the next of the
// other is on its way to registers. Of heads up to 96 a wave has 32 queries, so that one read of LDS feeds two matrix
// instructions; of larger ones, and of FP8, which is widened before it is multiplied, the registers of a SIMD's second
// wave are worth more. In LDS the slots of every second unit change places, so that lanes that read together read from
// different banks (include/attention_mfma_lds.h).
// Mapping: four waves of 32 packed queries of a KV head and sequence, or eight of 16; which die and which first as
// prefill_attention_v3_ping_pong.
// Reduction class: attention_mfma16_p512, include/attention_mfma.h: the bits of prefill_attention_v2_mfma_direct.
// Cost: K and V once per 128 packed queries from L2; a tile of both from LDS per wave.
// Code object: 16-byte loads, MFMA, 2 waves per SIMD.
// Measured: not on hardware. Executed in the emulator, bit-equal to v2. Emulated, bf16, nothing masked, per 2048 cycles of
// matrix instructions: 3300 of vector ones for heads of 64 (v2: 4388), and LDS has 320 cycles of work where the matrix
// units of a compute unit have 512; for heads of 128, 1896 (v2: 2255, v3: 2002) and 576 of 512. No bank conflicts, for
// heads of any size. A chunk of 192 packed queries of 128 loads 1.7 MB and misses L2 for 10 thousand lines, where v2 loads
// 7.8 MB, twice what L1 delivers while its waves multiply, and misses 15 thousand. The model of time has v5 before v2.
// Lost to: v3 for heads of 128 without scales of tokens: the model has the two within 3 %, but does not know that only v3
// makes matrix and vector work overlap. v2 for up to 64 packed queries, where half of the waves would have nothing to do.

#include <hip/hip_runtime.h>

#include "attention_mfma_lds.h"

constexpr unsigned WORKGROUP_COLUMNS = 128;

// Sets of 16 queries of a wave: two where there are registers for both. src/ops/attention/mapping.rs has the same rule.
template <typename Kv> __host__ __device__ constexpr unsigned num_sets(unsigned head_dim) {
    return head_dim <= 96 && sizeof(typename Kv::Bits) == 2 ? 2 : 1;
}
template <typename Kv> __host__ __device__ constexpr unsigned num_threads(unsigned head_dim) {
    return WORKGROUP_COLUMNS / COLUMNS / num_sets<Kv>(head_dim) * WAVE_SIZE;
}

// All of a wave's tiles.
template <typename Copy, typename Tile, typename Wave, typename... Waves>
__device__ inline void walk(Copy &copy, Tile &shared, Wave &first, Waves &...others) {
    const int last_tile = copy.span.last_tile();
    int tile = copy.span.first_tile();
    copy.load_keys(tile);
    copy.store_keys(shared);
    copy.load_values(tile);
    __syncthreads();
    for (; tile <= last_tile; tile += TILE) {
        // After the last tile nobody needs what is copied.
        const int next_tile = min(tile + TILE, last_tile);
        // This tile's keys are there, and nobody reads values any more.
        copy.store_values(shared, tile);
        copy.load_keys(next_tile);
        Wave::score(shared, first, others...);
        first.weigh(tile);
        (others.weigh(tile), ...);
        __syncthreads();
        // Its values are there, and nobody reads keys any more.
        copy.store_keys(shared);
        copy.load_values(next_tile);
        Wave::add_values(shared, first, others...);
        if (next_tile % PARTITION == 0 || tile == last_tile) {
            first.fold();
            (others.fold(), ...);
        }
        __syncthreads();
    }
    first.wave.store(first.total);
    (others.wave.store(others.total), ...);
}

template <typename Q, typename Kv, unsigned HEAD_DIM> __device__ inline void attend(AttentionArgs args) {
    __shared__ LdsTile<Q, Kv, HEAD_DIM> shared;
    if constexpr (sizeof(typename Kv::Bits) == 2) {
        // Only caches of FP8 have scales of tokens; known here, they take no registers.
        args.k_token_scales = args.v_token_scales = nullptr;
    }
    const Queries<WORKGROUP_COLUMNS> queries(args);
    const auto [seq_idx, kv_head, first_column, num_columns] = queries;
    if (first_column >= num_columns) {
        return;
    }
    constexpr unsigned SETS = num_sets<Kv>(HEAD_DIM);
    const unsigned wave_idx = __builtin_amdgcn_readfirstlane(threadIdx.x / WAVE_SIZE);
    const unsigned column = first_column + wave_idx * SETS * COLUMNS;
    LdsWave<Q, Kv, HEAD_DIM> first(args, seq_idx, kv_head, column, num_columns);
    TileCopy<Q, Kv, HEAD_DIM, num_threads<Kv>(HEAD_DIM)> copy(args, first.wave.table, kv_head, queries.span(args), wave_idx);
    if constexpr (SETS == 2) {
        LdsWave<Q, Kv, HEAD_DIM> second(args, seq_idx, kv_head, column + COLUMNS, num_columns);
        walk(copy, shared, first, second);
    } else {
        walk(copy, shared, first);
    }
}

#define KERNEL(q, Q, kv, Kv, D)                                                                                        \
    extern "C" __global__ void __launch_bounds__(num_threads<Kv>(D), 2)                                                    \
    prefill_attention_v5_mfma_lds__##q##_##kv##_d##D(AttentionArgs args) {                                             \
        attend<Q, Kv, D>(args);                                                                                        \
    }

ATTENTION_MFMA_KERNELS(KERNEL)
