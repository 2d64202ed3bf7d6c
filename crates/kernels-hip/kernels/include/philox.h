// Uniform random numbers by counter: engine_core::sampling's, bit for bit.
//
// Philox4x32-10 of Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3 (SC 2011).
#pragma once

#include <hip/hip_runtime.h>

struct PhiloxWords {
    unsigned at[4];
};

__device__ inline PhiloxWords philox4x32(PhiloxWords counter, unsigned key0, unsigned key1) {
    constexpr unsigned MULTIPLIER_0 = 0xd2511f53, MULTIPLIER_1 = 0xcd9e8d57;
    constexpr unsigned KEY_STEP_0 = 0x9e3779b9, KEY_STEP_1 = 0xbb67ae85;
    constexpr int NUM_ROUNDS = 10;
    auto &[w0, w1, w2, w3] = counter.at;
    for (int round = 0; round < NUM_ROUNDS; ++round) {
        const unsigned long product0 = (unsigned long)w0 * MULTIPLIER_0;
        const unsigned long product1 = (unsigned long)w2 * MULTIPLIER_1;
        w0 = (unsigned)(product1 >> 32) ^ w1 ^ key0;
        w1 = (unsigned)product1;
        w2 = (unsigned)(product0 >> 32) ^ w3 ^ key1;
        w3 = (unsigned)product0;
        key0 += KEY_STEP_0;
        key1 += KEY_STEP_1;
    }
    return counter;
}

// Whose random numbers: a seed, a stream of it, and the token's position.
struct SampleKey {
    unsigned seed[2];
    unsigned stream[2];
    unsigned position;

    // Number `idx` in (0, 1), of those that pair 0 begins: the middle of one of 2^52 equal parts.
    __device__ double uniform(unsigned first_pair, unsigned idx) const {
        const PhiloxWords words =
            philox4x32({first_pair + idx / 2, position, stream[0], stream[1]}, seed[0], seed[1]);
        const bool is_second = idx % 2;
        const unsigned high = is_second ? words.at[2] : words.at[0], low = is_second ? words.at[3] : words.at[1];
        const unsigned long word = (unsigned long)high << 32 | low;
        // Exact: 52 bits and a half.
        return ((double)(word >> 12) + 0.5) * 0x1p-52;
    }
};
