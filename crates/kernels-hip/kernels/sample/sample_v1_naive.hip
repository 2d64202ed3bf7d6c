// sample_v1_naive: a token from each row of logits: temperature, min_p, top_k, top_p, and a race by random numbers that
// are a function of (seed, stream, position). engine_core::sampling says what each of them means; the token is the one
// that it picks, for every row and key.
//
// That holds by construction, not by luck: weights come from include/exact_math.h, whose bits are the host's; what the
// filters sum is integers (weights in units of 2^-40), so that any order will do; the sums of the race's groups have the
// host's order; and minima and maxima, of equals the first, have none. NaN never wins, and has weight 0. A row whose
// largest is not finite has no token: 2^32 - 1.
//
// Idea: the plain port. The host sorts the members of one bin; here a bin is cut into finer ones until one has a single
// value, which needs no memory that grows with the row.
// Mapping: one work-group of 256 work-items (4 waves) per row; work-items stride over the row. Weights of a row lie in
// `weights`, as many as its logits.
// Reduction class: that of engine_core::sampling.
// Cost: a row read twice and its weights written once and read 1 (no filter) to 9 times: 4 bytes each.
// Measured: not on hardware. Executed in the emulator, equal to the host's tokens.
// Lost to: nothing yet. A row keeps one CU busy, and loads are of one element.

#include <hip/hip_runtime.h>

#include "exact_math.h"
#include "philox.h"
#include "wave.h"

constexpr unsigned WORKGROUP_SIZE = 256;
constexpr unsigned NUM_WAVES = WORKGROUP_SIZE / WAVE_SIZE;
constexpr unsigned NONE = 0xffffffff;
constexpr float GREEDY_BELOW = 1e-5f;
constexpr float LOWEST_TEMPERATURE = 0.01f;
// Weights below are out; all sums are in these units.
constexpr float UNIT = 0x1p-40f;
constexpr float UNITS_PER_ONE = 0x1p40f;

// Tokens that race as one in the first heat, and the first pair of random numbers of the second.
constexpr unsigned GROUP_SIZE = 64;
constexpr unsigned SECOND_HEAT = 1u << 31;
// Partial sums of a group, as the host's vectors have them.
constexpr unsigned SUM_LANES = 16;

// The first cut of the weights' bits, from 1 down to UNIT, and then of what falls into one bin, twice.
constexpr unsigned BIN_SHIFT = 18;
constexpr unsigned NUM_BINS = ((127 - 87) << 23 >> BIN_SHIFT) + 1;
constexpr unsigned FINE_BITS = BIN_SHIFT / 2;
constexpr unsigned ONE_BITS = 0x3f800000;

// How one row is sampled. `Row` in src/ops/sample.rs says the same.
struct SampleRow {
    SampleKey key;
    float temperature;
    float top_p;
    float min_p;
    // 0: all.
    unsigned top_k;
};
static_assert(sizeof(SampleRow) == 36 && offsetof(SampleRow, temperature) == 20 && offsetof(SampleRow, top_k) == 32,
              "the layout of Row in src/ops/sample.rs");

// What the row's work-group shares.
struct Shared {
    unsigned long bins[NUM_BINS];
    double times[NUM_WAVES];
    unsigned idxs[NUM_WAVES];
    unsigned long taken;
    unsigned bin;
};

// The least time, of equals the lowest index; everyone gets the index.
__device__ inline unsigned first_of(double time, unsigned idx, Shared &shared) {
    const auto take = [&](double other_time, unsigned other_idx) {
        if (other_time < time || (other_time == time && other_idx < idx)) {
            time = other_time;
            idx = other_idx;
        }
    };
    for (int offset = WAVE_SIZE / 2; offset > 0; offset /= 2) {
        take(__shfl_xor(time, offset, WAVE_SIZE), __shfl_xor(idx, offset, WAVE_SIZE));
    }
    __syncthreads();
    if (threadIdx.x % WAVE_SIZE == 0) {
        shared.times[threadIdx.x / WAVE_SIZE] = time;
        shared.idxs[threadIdx.x / WAVE_SIZE] = idx;
    }
    __syncthreads();
    for (unsigned wave = 0; wave < NUM_WAVES; ++wave) {
        take(shared.times[wave], shared.idxs[wave]);
    }
    return idx;
}

// Where the largest logit is; NONE if there is none but NaN and negative infinities.
__device__ inline unsigned argmax(const float *logits, unsigned num_logits, Shared &shared) {
    double least = __builtin_inf();
    unsigned idx = NONE;
    for (unsigned i = threadIdx.x; i < num_logits; i += WORKGROUP_SIZE) {
        // A comparison with NaN is false.
        if (-(double)logits[i] < least) {
            least = -(double)logits[i];
            idx = i;
        }
    }
    return first_of(least, idx, shared);
}

__device__ inline unsigned long to_units(float weight) { return (unsigned long)(long)(weight * UNITS_PER_ONE); }

// The weight's place in the order of weights, largest first.
__device__ inline unsigned rank_of(float weight) { return ONE_BITS - __builtin_bit_cast(unsigned, weight); }

// Empties the bins and fills them with what each measures.
template <typename Measure>
__device__ inline void fill_bins(Shared &shared, unsigned num_bins, const float *weights, unsigned n, Measure measure) {
    __syncthreads();
    for (unsigned bin = threadIdx.x; bin < num_bins; bin += WORKGROUP_SIZE) {
        shared.bins[bin] = 0;
    }
    __syncthreads();
    for (unsigned i = threadIdx.x; i < n; i += WORKGROUP_SIZE) {
        if (weights[i] > 0.0f) {
            measure(weights[i]);
        }
    }
    __syncthreads();
}

// Goes through the bins until `limit` is reached, from `taken` on: that bin, and what was taken before it. NONE if it is
// not reached.
__device__ inline unsigned find_bin(Shared &shared, unsigned num_bins, unsigned long &taken, unsigned long limit) {
    if (threadIdx.x == 0) {
        shared.bin = NONE;
        unsigned long sum = taken;
        for (unsigned bin = 0; bin < num_bins; ++bin) {
            if (sum + shared.bins[bin] >= limit) {
                shared.bin = bin;
                break;
            }
            sum += shared.bins[bin];
        }
        shared.taken = sum;
    }
    __syncthreads();
    taken = shared.taken;
    return shared.bin;
}

struct Last {
    // The bits of the last weight that is taken; 0 if all are.
    unsigned bits;
    // What was taken before the first of this weight.
    unsigned long taken_before;
    unsigned long limit;
};

// Takes weights from the largest down until they measure `limit(what all measure)`.
template <typename Measure, typename Limit>
__device__ inline Last last_taken(Shared &shared, const float *weights, unsigned n, Measure measure, Limit limit_of) {
    const auto add = [&](unsigned bin, float weight) {
        atomicAdd((unsigned long long *)&shared.bins[bin], (unsigned long long)measure(weight));
    };
    fill_bins(shared, NUM_BINS, weights, n, [&](float weight) { add(rank_of(weight) >> BIN_SHIFT, weight); });
    unsigned long total = 0;
    for (unsigned bin = 0; bin < NUM_BINS; ++bin) {
        total += shared.bins[bin];
    }
    const unsigned long limit = limit_of(total);
    unsigned long taken = 0;
    unsigned rank = find_bin(shared, NUM_BINS, taken, limit);
    if (rank == NONE) {
        return {0, 0, limit};
    }
    for (unsigned shift = FINE_BITS; shift < 2 * FINE_BITS + 1; shift += FINE_BITS) {
        const unsigned below = BIN_SHIFT - shift;
        fill_bins(shared, 1 << FINE_BITS, weights, n, [&](float weight) {
            if (rank_of(weight) >> (below + FINE_BITS) == rank) {
                add(rank_of(weight) >> below & ((1 << FINE_BITS) - 1), weight);
            }
        });
        rank = rank << FINE_BITS | find_bin(shared, 1 << FINE_BITS, taken, limit);
    }
    return {ONE_BITS - rank, taken, limit};
}

__device__ inline void keep_from(float *weights, unsigned n, float threshold) {
    for (unsigned i = threadIdx.x; i < n; i += WORKGROUP_SIZE) {
        weights[i] = weights[i] >= threshold ? weights[i] : 0.0f;
    }
}

__device__ inline void top_k(Shared &shared, float *weights, unsigned n, unsigned k) {
    const Last last = last_taken(
        shared, weights, n, [](float) { return 1ul; }, [&](unsigned long) { return (unsigned long)k; });
    if (last.bits) {
        keep_from(weights, n, __builtin_bit_cast(float, last.bits));
    }
}

// Of weights as large as the last, those with the lower index stay, as many as it takes.
__device__ inline void top_p(Shared &shared, float *weights, unsigned n, float p) {
    const Last last = last_taken(shared, weights, n, to_units, [&](unsigned long total) {
        const unsigned long limit = (unsigned long)ceil((double)p * (double)total);
        return limit < total ? limit : total;
    });
    if (!last.bits) {
        return;
    }
    const unsigned long each = to_units(__builtin_bit_cast(float, last.bits));
    unsigned long to_keep = (last.limit - last.taken_before + each - 1) / each;
    for (unsigned first = 0; first < n; first += WORKGROUP_SIZE) {
        const unsigned i = first + threadIdx.x;
        const unsigned bits = i < n ? __builtin_bit_cast(unsigned, weights[i]) : 0;
        const unsigned long equals = __ballot(bits == last.bits);
        __syncthreads();
        if (threadIdx.x % WAVE_SIZE == 0) {
            shared.idxs[threadIdx.x / WAVE_SIZE] = __popcll(equals);
        }
        __syncthreads();
        unsigned before = __popcll(equals & ((1ul << threadIdx.x % WAVE_SIZE) - 1)), all = 0;
        for (unsigned wave = 0; wave < NUM_WAVES; ++wave) {
            before += wave < threadIdx.x / WAVE_SIZE ? shared.idxs[wave] : 0;
            all += shared.idxs[wave];
        }
        if (i < n && (bits < last.bits || (bits == last.bits && before >= to_keep))) {
            weights[i] = 0.0f;
        }
        to_keep -= to_keep < all ? to_keep : all;
    }
}

// The sum of a group in the host's order.
__device__ inline double group_sum(const float *weights, unsigned n) {
    double sum = 0.0;
    for (unsigned lane = 0; lane < SUM_LANES; ++lane) {
        double of_lane = 0.0;
        for (unsigned i = lane; i < n; i += SUM_LANES) {
            of_lane += (double)weights[i];
        }
        sum += of_lane;
    }
    return sum;
}

// The winner of a race of `n`, NONE without a weight above 0.
template <typename Weight>
__device__ inline unsigned heat(Shared &shared, const SampleKey &key, unsigned first_pair, unsigned n, Weight weight_of) {
    double least = __builtin_inf();
    unsigned winner = NONE;
    for (unsigned i = threadIdx.x; i < n; i += WORKGROUP_SIZE) {
        const double weight = weight_of(i);
        if (weight > 0.0) {
            const double time = -ln_of_fraction(key.uniform(first_pair, i)) / weight;
            if (time < least) {
                least = time;
                winner = i;
            }
        }
    }
    return first_of(least, winner, shared);
}

__device__ inline unsigned race(Shared &shared, const SampleKey &key, const float *weights, unsigned n) {
    const unsigned num_groups = (n + GROUP_SIZE - 1) / GROUP_SIZE;
    const unsigned group = heat(shared, key, 0, num_groups, [&](unsigned i) {
        const unsigned len = n - i * GROUP_SIZE < GROUP_SIZE ? n - i * GROUP_SIZE : GROUP_SIZE;
        return group_sum(weights + i * GROUP_SIZE, len);
    });
    if (group == NONE) {
        return NONE;
    }
    const unsigned start = group * GROUP_SIZE;
    const unsigned len = n - start < GROUP_SIZE ? n - start : GROUP_SIZE;
    return start + heat(shared, key, SECOND_HEAT + start / 2, len, [&](unsigned i) { return (double)weights[start + i]; });
}

__device__ inline unsigned sample(Shared &shared, const SampleRow &row, const float *logits, float *weights, unsigned n) {
    const unsigned best = argmax(logits, n, shared);
    if (best == NONE || !__builtin_isfinite(logits[best])) {
        return NONE;
    }
    if (row.temperature < GREEDY_BELOW) {
        return best;
    }
    const float max = logits[best];
    const float temperature = fmaxf(row.temperature, LOWEST_TEMPERATURE);
    for (unsigned i = threadIdx.x; i < n; i += WORKGROUP_SIZE) {
        const float weight = exp_nonpositive((logits[i] - max) / temperature);
        weights[i] = weight >= UNIT ? weight : 0.0f;
    }
    // Until the next barrier each work-item sees its own alone.
    if (row.min_p > 0.0f) {
        keep_from(weights, n, row.min_p);
    }
    if (row.top_k > 0) {
        top_k(shared, weights, n, row.top_k);
    }
    if (row.top_p < 1.0f) {
        top_p(shared, weights, n, row.top_p);
    }
    __syncthreads();
    const unsigned winner = race(shared, row.key, weights, n);
    return winner == NONE ? best : winner;
}

extern "C" __global__ void __launch_bounds__(WORKGROUP_SIZE)
sample_v1_naive(unsigned *__restrict__ tokens, float *__restrict__ weights, const float *__restrict__ logits,
                const SampleRow *__restrict__ rows, unsigned long logits_stride, unsigned num_logits) {
    __shared__ Shared shared;
    const unsigned long row = blockIdx.x;
    const unsigned token =
        sample(shared, rows[row], logits + row * logits_stride, weights + row * num_logits, num_logits);
    if (threadIdx.x == 0) {
        tokens[row] = token;
    }
}
