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
};

// The positions that a work-group's queries attend.
struct Span {
    int low, high;
    __device__ int first_tile() const { return low / TILE * TILE; }
    __device__ int last_tile() const { return high / TILE * TILE; }
    // The nearest 16 positions some of which are attended: other kv_blocks may not exist.
    __device__ int nearest(int position) const { return min(max(position & -16, low & -16), high & -16); }
};

// What copies a tile of K or of V to LDS: NUM_THREADS of the work-group, through registers.
template <typename Q, typename Kv, unsigned HEAD_DIM, unsigned NUM_THREADS> struct TileCopy {
    using Tile = LdsTile<Q, Kv, HEAD_DIM>;
    using Wave = MfmaWave<Q, Kv, HEAD_DIM>;
    static constexpr unsigned X = Wave::X, SIZE = Wave::SIZE;
    static constexpr unsigned NUM_UNITS = Tile::K_UNITS / NUM_THREADS;
    static_assert(Tile::K_UNITS == Tile::V_UNITS && Tile::K_UNITS % NUM_THREADS == 0);
    static_assert(HEAD_DIM % WAVE_SIZE == 0, "a wave copies one unit of slots of V at a time");
    static constexpr unsigned WAVES_PER_V_UNIT = HEAD_DIM / WAVE_SIZE;

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

    // A lane has a slot, a wave every NUM_WAVES-th unit of d.
    __device__ void load_keys(int tile) {
        const int position = tile + (int)lane, from = span.nearest(position);
        const unsigned slot = slot_of(from, position);
        const char *at = (const char *)args.k_pool + head_block(from) + (slot + wave_idx * args.block_size) * 16;
        for (unsigned i = 0; i < NUM_UNITS; ++i) {
            units[i] = *(const u32x4 *)(at + i * (NUM_THREADS / WAVE_SIZE) * args.block_size * 16);
        }
    }

    __device__ void store_keys(Tile &to) const {
        for (unsigned i = 0; i < NUM_UNITS; ++i) {
            to.keys[(i * (NUM_THREADS / WAVE_SIZE) + wave_idx) * TILE + Tile::key_place(lane)] = units[i];
        }
    }

    // A wave has a unit of slots, a lane an element of d.
    __device__ unsigned slots_unit(unsigned i) const {
        return (i * (NUM_THREADS / WAVE_SIZE) + wave_idx) / WAVES_PER_V_UNIT;
    }
    __device__ unsigned element() const { return wave_idx % WAVES_PER_V_UNIT * WAVE_SIZE + lane; }

    __device__ void load_values(int tile) {
        for (unsigned i = 0; i < NUM_UNITS; ++i) {
            const int position = tile + (int)(slots_unit(i) * X), from = span.nearest(position);
            const unsigned offset = (slot_of(from, position) / X * HEAD_DIM + element()) * 16;
            units[i] = *(const u32x4 *)((const char *)args.v_pool + head_block(from) + offset);
        }
    }

    // Values of positions that nobody attends may be NaN, and are made 0.
    __device__ void store_values(Tile &to, int tile) {
        const bool is_whole = tile >= span.low && tile + TILE - 1 <= span.high;
        for (unsigned i = 0; i < NUM_UNITS; ++i) {
            const unsigned unit = slots_unit(i);
            if (!is_whole) {
                mask(units[i], tile + (int)(unit * X));
            }
            to.values[unit * HEAD_DIM + element()] = units[i];
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

// A wave's 16 packed queries.
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

    // S^T.
    __device__ void score(const Tile &tile) {
        for (unsigned product = 0; product < 4; ++product) {
            const unsigned slot = 4 * X * (product / V_FRAGMENTS) + wave.column / 4 * X + product % V_FRAGMENTS * 4 +
                                  wave.column % 4;
            const unsigned place = wave.group * TILE + Tile::key_place(slot);
            scores[product] = {};
            for (unsigned step = 0; step < Wave::K_STEPS; ++step) {
                const u32x4 unit = tile.keys[4 * step * TILE + place];
                for (unsigned i = 0; i < Wave::K_FRAGMENTS; ++i) {
                    const Fragment key = Stored<Q, Kv>::fragment(unit, i);
                    scores[product] = Matrix<Q>::multiply_add(key, wave.query[step][i], scores[product]);
                }
            }
        }
    }

    // Scores to weights; the tile begins at position `first`.
    __device__ void weigh(int first) {
        wave.logits(scores, {}, first);
        shrink = wave.weigh(scores, weights, partial, {}, first);
    }

    // O^T += V^T P^T.
    __device__ void add_values(const Tile &tile) {
        Wave::rescale(partial, shrink);
        for (unsigned unit = 0; unit < Wave::V_UNITS; ++unit) {
            for (unsigned d_tile = 0; d_tile < Wave::D_TILES; ++d_tile) {
                const u32x4 values = tile.values[(4 * unit + wave.group) * HEAD_DIM + d_tile * 16 + wave.column];
                for (unsigned i = 0; i < V_FRAGMENTS; ++i) {
                    const Fragment value = Stored<Q, Kv>::fragment(values, i);
                    partial.out[d_tile] =
                        Matrix<Q>::multiply_add(value, weights[unit * V_FRAGMENTS + i], partial.out[d_tile]);
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
