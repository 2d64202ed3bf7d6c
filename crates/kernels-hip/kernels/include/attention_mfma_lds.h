// The variants of reduction class attention_mfma16_p512 whose work-group shares K and V through LDS.
//
// What is computed is MfmaWave's, in its order (include/attention_mfma.h). This file adds the way of a tile of 64
// positions from pages to LDS, and from LDS to the operands.
//
// In LDS a tile has units of 16 bytes in the order of pages, [unit of d][slot] of K and [unit of slots][d] of V, so that
// a page's lines are copied as they are. The four slots that follow each other in a product's rows, and the next four of
// them a unit of slots further, would lie in the same banks: of every second unit of slots, halves change places.
#pragma once

#include "attention_mfma.h"

template <typename Q, typename Kv, unsigned HEAD_DIM> struct LdsTile {
    using Wave = MfmaWave<Q, Kv, HEAD_DIM>;
    static constexpr unsigned K_UNITS = HEAD_DIM / Wave::X * TILE, V_UNITS = TILE / Wave::X * HEAD_DIM;
    u32x4 keys[K_UNITS];
    u32x4 values[V_UNITS];

    // Where the unit of K of a slot is among those of its part of d.
    __device__ static unsigned key_place(unsigned slot) { return slot ^ slot / Wave::X % 2 * 4; }

    // Where a lane reads half a unit of K, half of the slots have the halves the other way round, or all lanes would read
    // from half of the banks.
    static constexpr bool HAS_HALVES = sizeof(typename Wave::KUnit) == 8;
    __device__ static bool is_turned(unsigned slot) { return HAS_HALVES && slot / (2 * Wave::X) % 2 == 1; }
};

constexpr unsigned NUM_XCDS = 8;

// What a work-group does: the tile of queries of a pair of sequence and KV head.
struct Work {
    unsigned pair, tile;
};

// Work-groups are dealt to the dies one by one. Whole pairs go to a die, so that its L2 has their K and V alone; of the
// pairs that are left over each die has a part in one piece.
__device__ inline Work work_of(unsigned idx, unsigned num_tiles, unsigned num_pairs) {
    const unsigned num_even = num_pairs / NUM_XCDS * NUM_XCDS;
    const unsigned die = idx % NUM_XCDS, turn = idx / NUM_XCDS;
    if (turn < num_even / NUM_XCDS * num_tiles) {
        return {turn / num_tiles * NUM_XCDS + die, turn % num_tiles};
    }
    const unsigned rest = (num_pairs - num_even) * num_tiles, at = turn - num_even / NUM_XCDS * num_tiles;
    const unsigned each = rest / NUM_XCDS, more = rest % NUM_XCDS;
    const unsigned left = die * each + min(die, more) + at;
    return {num_even + left / num_tiles, left % num_tiles};
}

// The positions that a work-group's queries attend.
struct Span {
    int low, high;
    __device__ int first_tile() const { return low / TILE * TILE; }
    __device__ int last_tile() const { return high / TILE * TILE; }
    // The nearest 16 positions some of which are attended: other kv_blocks may not exist.
    __device__ int nearest(int position) const { return min(max(position & -16, low & -16), high & -16); }
};

// A work-group's part of a launch: up to NUM_COLUMNS packed queries.
template <unsigned NUM_COLUMNS> struct Queries {
    unsigned seq_idx, kv_head, first_column, num_columns;

    __device__ explicit Queries(const AttentionArgs &args) {
        const unsigned idx = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
        const Work work = work_of(idx, gridDim.x, gridDim.y * gridDim.z);
        seq_idx = work.pair / args.num_kv_heads;
        kv_head = work.pair % args.num_kv_heads;
        const unsigned num_rows = args.cu_seqlens_q[seq_idx + 1] - args.cu_seqlens_q[seq_idx];
        num_columns = num_rows * (args.num_qo_heads / args.num_kv_heads);
        // The last queries, which attend most, come first: what is left to the end is short.
        first_column = (gridDim.x - 1 - work.tile) * NUM_COLUMNS;
    }

    // What they attend.
    __device__ Span span(const AttentionArgs &args) const {
        const unsigned heads = args.num_qo_heads / args.num_kv_heads;
        const int before = (int)(args.seq_lens[seq_idx] - num_columns / heads);
        const unsigned last_column = min(first_column + NUM_COLUMNS, num_columns) - 1;
        const int first_position = before + (int)(first_column / heads);
        return {args.window ? max(first_position + 1 - (int)args.window, 0) : 0, before + (int)(last_column / heads)};
    }
};

// What copies a tile of K or of V to LDS: NUM_THREADS of the work-group, through registers.
template <typename Q, typename Kv, unsigned HEAD_DIM, unsigned NUM_THREADS> struct TileCopy {
    using Tile = LdsTile<Q, Kv, HEAD_DIM>;
    using Wave = MfmaWave<Q, Kv, HEAD_DIM>;
    static constexpr unsigned X = Wave::X, SIZE = Wave::SIZE;
    // Pieces are a unit a lane.
    static constexpr unsigned NUM_WAVES = NUM_THREADS / WAVE_SIZE, NUM_PIECES = Tile::K_UNITS / WAVE_SIZE;
    static constexpr unsigned NUM_UNITS = (NUM_PIECES + NUM_WAVES - 1) / NUM_WAVES;
    static_assert(Tile::K_UNITS == Tile::V_UNITS && Tile::K_UNITS % WAVE_SIZE == 0);

    const AttentionArgs &args;
    const unsigned *table;
    const unsigned kv_head, block_shift, wave_idx, lane;
    const Span span;
    u32x4 units[NUM_UNITS];

    __device__ TileCopy(const AttentionArgs &args, const unsigned *table, unsigned kv_head, const Span &span,
                        unsigned wave_idx)
        : args(args), table(table), kv_head(kv_head), block_shift(__builtin_ctz(args.block_size)), wave_idx(wave_idx),
          lane(threadIdx.x % WAVE_SIZE), span(span) {}

    // The kv_block of 16 positions, its first element in bytes.
    __device__ unsigned long head_block(int position) const {
        const unsigned long block = table[(unsigned)position >> block_shift];
        return (block * args.num_kv_heads + kv_head) * ((unsigned long)args.block_size * (HEAD_DIM * SIZE));
    }

    __device__ unsigned slot_of(int nearest, int position) const {
        return ((unsigned)nearest & (args.block_size - 1)) + ((unsigned)position & 15);
    }

    // The pieces of a wave are every NUM_WAVES-th; if they do not come out even, some waves have one less.
    __device__ unsigned piece(unsigned i) const { return i * NUM_WAVES + wave_idx; }
    __device__ bool has(unsigned i) const { return NUM_PIECES % NUM_WAVES == 0 || piece(i) < NUM_PIECES; }

    // A piece of K is a unit of d, a lane has a slot.
    __device__ void load_keys(int tile) {
        const int position = tile + (int)lane, from = span.nearest(position);
        const unsigned slot = slot_of(from, position);
        const char *at = (const char *)args.k_pool + head_block(from) + (slot + wave_idx * args.block_size) * 16;
        for (unsigned i = 0; i < NUM_UNITS; ++i) {
            if (has(i)) {
                units[i] = *(const u32x4 *)(at + i * NUM_WAVES * args.block_size * 16);
            }
        }
    }

    __device__ void store_keys(Tile &to) const {
        for (unsigned i = 0; i < NUM_UNITS; ++i) {
            if (has(i)) {
                const u32x4 unit = units[i];
                to.keys[piece(i) * TILE + Tile::key_place(lane)] = Tile::is_turned(lane) ? unit.zwxy : unit;
            }
        }
    }

    // Where a lane's unit of V lies: a unit of slots, the same for a wave where it can be, and an element of d.
    __device__ unsigned slots_unit(unsigned i) const {
        constexpr bool IS_SAME = HEAD_DIM % WAVE_SIZE == 0;
        return IS_SAME ? piece(i) / (HEAD_DIM / WAVE_SIZE + !IS_SAME) : (piece(i) * WAVE_SIZE + lane) / HEAD_DIM;
    }
    __device__ unsigned element(unsigned i) const {
        return piece(i) * WAVE_SIZE + lane - slots_unit(i) * HEAD_DIM;
    }

    __device__ void load_values(int tile) {
        for (unsigned i = 0; i < NUM_UNITS; ++i) {
            if (has(i)) {
                const int position = tile + (int)(slots_unit(i) * X), from = span.nearest(position);
                const unsigned offset = (slot_of(from, position) / X * HEAD_DIM + element(i)) * 16;
                units[i] = *(const u32x4 *)((const char *)args.v_pool + head_block(from) + offset);
            }
        }
    }

    // Values of positions that nobody attends may be NaN, and are made 0.
    __device__ void store_values(Tile &to, int tile) {
        const bool is_whole = tile >= span.low && tile + TILE - 1 <= span.high;
        for (unsigned i = 0; i < NUM_UNITS; ++i) {
            if (has(i)) {
                if (!is_whole) {
                    mask(units[i], tile + (int)(slots_unit(i) * X));
                }
                to.values[piece(i) * WAVE_SIZE + lane] = units[i];
            }
        }
    }

    __device__ void mask(u32x4 &unit, int first) const {
        constexpr int PER_WORD = 4 / SIZE;
        constexpr unsigned ELEMENT = SIZE == 2 ? 0xffff : 0xff;
        for (int word = 0; word < 4; ++word) {
            unsigned bits = 0;
            for (int i = 0; i < PER_WORD; ++i) {
                const int position = first + word * PER_WORD + i;
                bits |= position >= span.low && position <= span.high ? ELEMENT << i * 8 * SIZE : 0;
            }
            unit[word] &= bits;
        }
    }
};

// Sixteen packed queries of a wave.
template <typename Q, typename Kv, unsigned HEAD_DIM> struct LdsWave {
    using Wave = MfmaWave<Q, Kv, HEAD_DIM>;
    using Tile = LdsTile<Q, Kv, HEAD_DIM>;
    static constexpr unsigned X = Wave::X, V_FRAGMENTS = Wave::V_FRAGMENTS;

    Wave wave;
    Partial<HEAD_DIM> partial, total;
    f32x4 scores[4];
    Fragment weights[4];
    // What the partial result is to be multiplied with before they are used.
    float shrink;

    __device__ LdsWave(const AttentionArgs &args, unsigned seq_idx, unsigned kv_head, unsigned first_column,
                       unsigned num_columns)
        : wave(args, seq_idx, kv_head, min(first_column, num_columns - 1)) {
        // A wave that has none computes the last one too, with the others, and does not store it.
        wave.is_column &= first_column < num_columns;
    }

    // S^T of all of a wave's queries: what one read of LDS gives is used for each.
    template <typename... Waves> __device__ static void score(const Tile &tile, Waves &...waves) {
        const unsigned column = threadIdx.x % COLUMNS, group = threadIdx.x % WAVE_SIZE / COLUMNS;
        for (unsigned product = 0; product < 4; ++product) {
            const unsigned slot =
                4 * X * (product / V_FRAGMENTS) + column / 4 * X + product % V_FRAGMENTS * 4 + column % 4;
            const unsigned place = Tile::key_place(slot);
            ((waves.scores[product] = f32x4{}), ...);
            for (unsigned step = 0; step < Wave::K_STEPS; ++step) {
                const unsigned d = (4 * step + group) * Wave::K_UNIT;
                const unsigned byte = d % X * Wave::SIZE ^ (Tile::is_turned(slot) ? 8 : 0);
                const char *at = (const char *)&tile.keys[d / X * TILE + place] + byte;
                const auto unit = *(const typename Wave::KUnit *)at;
                for (unsigned i = 0; i < Wave::K_FRAGMENTS; ++i) {
                    const Fragment key = Stored<Q, Kv>::fragment(unit, i);
                    ((waves.scores[product] =
                          Matrix<Q>::multiply_add(key, waves.wave.query[step][i], waves.scores[product])),
                     ...);
                }
            }
        }
    }

    // Scores to weights; the tile begins at position `first`.
    __device__ void weigh(int first) {
        typename Wave::Places places = {};
        if (wave.args.k_token_scales || wave.args.v_token_scales) {
            places = wave.places(first);
        }
        wave.logits(scores, places, first);
        shrink = wave.weigh(scores, weights, partial, places, first);
    }

    // O^T += V^T P^T, as S^T.
    template <typename... Waves> __device__ static void add_values(const Tile &tile, Waves &...waves) {
        const unsigned column = threadIdx.x % COLUMNS, group = threadIdx.x % WAVE_SIZE / COLUMNS;
        (Wave::rescale(waves.partial, waves.shrink), ...);
        for (unsigned unit = 0; unit < Wave::V_UNITS; ++unit) {
            for (unsigned d_tile = 0; d_tile < Wave::D_TILES; ++d_tile) {
                const u32x4 values = tile.values[(4 * unit + group) * HEAD_DIM + d_tile * 16 + column];
                for (unsigned i = 0; i < V_FRAGMENTS; ++i) {
                    const Fragment value = Stored<Q, Kv>::fragment(values, i);
                    ((waves.partial.out[d_tile] = Matrix<Q>::multiply_add(
                          value, waves.weights[unit * V_FRAGMENTS + i], waves.partial.out[d_tile])),
                     ...);
                }
            }
        }
    }

    // The end of a partition.
    __device__ void fold() {
        partial.sum += __shfl_xor(partial.sum, 16, WAVE_SIZE);
        partial.sum += __shfl_xor(partial.sum, 32, WAVE_SIZE);
        fold_into(total, partial);
        partial = Partial<HEAD_DIM>();
    }
};
