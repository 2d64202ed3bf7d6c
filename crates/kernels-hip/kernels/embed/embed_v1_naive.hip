// embed_v1_naive: out[t, :] = table[token_ids[t], :], 16 bits to f32.
//
// Source: engine_core::ops::Ops::embed.
//
// Idea: the plain port.
// Mapping: one work-group of 256 work-items per token; work-items stride over the row.
// Reduction class: none.
// Cost: 2 bytes read and 4 written per element.
// Measured: not on hardware. Executed in the emulator, equal to the oracle.
// Lost to: nothing yet. It loads one element at a time.

#include <hip/hip_runtime.h>

#include "formats.h"

constexpr unsigned WORKGROUP_SIZE = 256;

template <typename Format>
__device__ inline void embed(float *__restrict__ out, const typename Format::Bits *__restrict__ table,
                             const unsigned *__restrict__ token_ids, unsigned vocab_size, unsigned hidden_size) {
    const unsigned token_id = token_ids[blockIdx.x];
    // The host refuses such tokens; this is what keeps the read inside the table whatever it does.
    if (token_id >= vocab_size) {
        return;
    }
    out += (unsigned long)blockIdx.x * hidden_size;
    table += (unsigned long)token_id * hidden_size;
    for (unsigned i = threadIdx.x; i < hidden_size; i += WORKGROUP_SIZE) {
        out[i] = Format::load(table[i]);
    }
}

#define EMBED(NAME, Format)                                                                                            \
    extern "C" __global__ void __launch_bounds__(WORKGROUP_SIZE)                                                       \
    embed_v1_naive__##NAME(float *__restrict__ out, const Format::Bits *__restrict__ table,                            \
                           const unsigned *__restrict__ token_ids, unsigned vocab_size, unsigned hidden_size) {        \
        embed<Format>(out, table, token_ids, vocab_size, hidden_size);                                                 \
    }

EMBED(bf16, Bf16)
EMBED(f16, F16)
