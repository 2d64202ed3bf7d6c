// prefill_attention_v3_ping_pong: attention of 128 packed queries of a KV head of 128 by eight waves that take turns.
//
// Source: what it computes stands in include/attention_args.h; the order of elements in pages in include/kv_layout.h.
//
// Idea: a SIMD has a wave of each of two groups. While one group multiplies, Q K^T of a tile and P V of the tile before,
// the other makes weights of scores and fetches a tile for all: the first group K, the second V. A barrier turns them
// round, so that the matrix unit and the vector unit of a SIMD are busy with different waves. Two tiles of K and of V
// are in LDS (include/attention_mfma_lds.h), one read, one filled; what comes is on its way during softmax.
// Mapping: eight waves per 128 packed queries of a KV head and sequence, 16 a wave. All work-groups of a KV head go to one
// die, whose L2 then holds its K and V once (work_of). The last queries, which attend most, come first, so that what is
// left at the end is short.
// Reduction class: attention_mfma16_p512, include/attention_mfma.h: the bits of prefill_attention_v2_mfma_direct.
// Cost: K and V once per 128 packed queries from L2; 32 KiB of bf16 from LDS per wave and tile.
// Code object: 16-byte loads, MFMA, 2 waves per SIMD.
// Measured: not on hardware. Executed in the emulator, bit-equal to v2. Emulated, bf16, nothing masked, per 2048 cycles of
// matrix instructions: 2002 of vector ones, in all 0.92 of the 4424 of AITER's loop (v2: 0.97). Of these 4050 the two
// groups can overlap 2002. LDS has 576 cycles of work where the matrix units of a compute unit have 512, without bank
// conflicts: it is what limits, for each wave reads all of K and V for 16 queries; for 32 there are not enough registers
// beside a partition's result and the total.
// Lost to: v2 for chunks of no more than 16 packed queries, where seven waves would have nothing to do.

#include <hip/hip_runtime.h>

#include "attention_mfma_lds.h"

constexpr unsigned NUM_WAVES = 8, NUM_GROUPS = 2, GROUP_WAVES = NUM_WAVES / NUM_GROUPS;

__device__ inline void meet() {
    __builtin_amdgcn_sched_barrier(0);
    __syncthreads();
    __builtin_amdgcn_sched_barrier(0);
}

// All of a wave's tiles.
//
// In a turn a group has the vector unit or the matrix unit, the second group one turn after the first. All waves meet
// after every turn, at one instruction: before the first turn of the second group, and after the last of the first, there
// is nothing to do.
template <typename Wave, typename Copy, typename Tile>
__device__ inline void walk(Wave &wave, Copy &copy, Tile *tiles, bool is_first_group) {
    const int first_tile = copy.span.first_tile(), last_tile = copy.span.last_tile();
    const auto load = [&](int tile) { is_first_group ? copy.load_keys(tile) : copy.load_values(tile); };
    const auto store = [&](Tile &to, int tile) { is_first_group ? copy.store_keys(to) : copy.store_values(to, tile); };
    load(first_tile);
    store(tiles[0], first_tile);
    meet();
    Wave::score(tiles[0], wave);
    const int num_turns = 2 * ((last_tile - first_tile) / TILE + 1);
    int tile = first_tile;
    unsigned now = 0;
    for (int turn = is_first_group ? 0 : -1; turn <= num_turns - !is_first_group; ++turn) {
        if (turn > 0 && turn % 2 == 0 && tile % PARTITION == 0 && tile <= last_tile) {
            wave.fold();
        }
        if (turn >= 0 && turn < num_turns) {
            if (turn % 2 == 0) {
                // After the last tile nobody needs what is copied.
                const int next_tile = min(tile + TILE, last_tile);
                load(next_tile);
                wave.weigh(tile);
                store(tiles[now ^ 1], next_tile);
            } else {
                __builtin_amdgcn_s_setprio(1);
                Wave::add_values(tiles[now], wave);
                Wave::score(tiles[now ^ 1], wave);
                __builtin_amdgcn_s_setprio(0);
                tile += TILE;
                now ^= 1;
            }
        }
        meet();
    }
    wave.fold();
    wave.wave.store(wave.total);
}

template <typename Q, typename Kv, unsigned HEAD_DIM> __device__ inline void ping_pong(AttentionArgs args) {
    __shared__ LdsTile<Q, Kv, HEAD_DIM> tiles[2];
    // The variant refuses scales of tokens; known here, they take no registers.
    args.k_token_scales = args.v_token_scales = nullptr;
    const Queries<NUM_WAVES * COLUMNS> queries(args);
    const auto [seq_idx, kv_head, first_column, num_columns] = queries;
    if (first_column >= num_columns) {
        return;
    }
    const unsigned wave_idx = __builtin_amdgcn_readfirstlane(threadIdx.x / WAVE_SIZE);
    LdsWave<Q, Kv, HEAD_DIM> wave(args, seq_idx, kv_head, first_column + wave_idx * COLUMNS, num_columns);
    const Span span = queries.span(args);
    TileCopy<Q, Kv, HEAD_DIM, GROUP_WAVES * WAVE_SIZE> copy(args, wave.wave.table, kv_head, span,
                                                            wave_idx % GROUP_WAVES);
    walk(wave, copy, tiles, wave_idx < GROUP_WAVES);
}

#define KERNEL(q, Q, kv, Kv, D)                                                                                        \
    extern "C" __global__ void __launch_bounds__(NUM_WAVES *WAVE_SIZE)                                                 \
    prefill_attention_v3_ping_pong__##q##_##kv##_d##D(AttentionArgs args) {                                            \
        ping_pong<Q, Kv, D>(args);                                                                                     \
    }

KERNEL(bf16, Bf16, bf16, Bf16, 128)
KERNEL(f16, F16, f16, F16, 128)
KERNEL(bf16, Bf16, e4m3fnuz, Fp8E4m3, 128)
KERNEL(bf16, Bf16, e5m2fnuz, Fp8E5m2, 128)
KERNEL(f16, F16, e4m3fnuz, Fp8E4m3, 128)
KERNEL(f16, F16, e5m2fnuz, Fp8E5m2, 128)
