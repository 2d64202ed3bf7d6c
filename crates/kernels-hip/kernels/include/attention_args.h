// What every attention kernel takes, by value. src/ops/attention/args.rs has the same struct; both sides assert every
// place.
//
// Row r of a sequence with n rows stands at position seq_len - n + r and attends positions max(0, p + 1 - window) ..= p,
// all of them read from pages. Of a block table only entries that hold attended positions are read, of a kv_block only
// attended slots matter.
//
//   logit(j) = cap(q . k[j] * scale * k_scale[kv_head] * k_token_scale[j]) + alibi_slope[head] * (j - p)
//   cap(x)   = soft_cap * tanh(x / soft_cap), or x if soft_cap is 0
//   out      = v_scale[kv_head] * sum_j e^logit(j) * v_token_scale[j] * v[j] / (e^sink[head] + sum_j e^logit(j))
//   lse      = ln(e^sink[head] + sum_j e^logit(j))
//
// A row that attends nothing has out 0 and, without a sink, lse -infinity.
#pragma once

#include <hip/hip_runtime.h>

#include "kv_layout.h"

struct AttentionArgs {
    const void *q;                 // [num_tokens] rows q_stride apart, [num_qo_heads][head_dim], 16 bits
    void *out;                     // [num_tokens][num_qo_heads][head_dim], as q
    float *lse;                    // [num_tokens][num_qo_heads], or null
    const void *k_pool;            // kv_layout.h
    const void *v_pool;            // kv_layout.h
    const float *k_scales;         // [num_kv_heads]
    const float *v_scales;         // [num_kv_heads]
    const float *k_token_scales;   // kv_layout.h, or null
    const float *v_token_scales;   // kv_layout.h; null where k_token_scales is
    const unsigned *block_tables;  // [num_seqs][max_num_blocks]
    const unsigned *cu_seqlens_q;  // [num_seqs + 1]
    const unsigned *seq_lens;      // [num_seqs], the rows of this step included
    const float *alibi_slopes;     // [num_qo_heads], or null
    const float *sinks;            // [num_qo_heads], or null
    unsigned long q_stride;        // elements
    unsigned num_tokens;
    unsigned num_seqs;
    unsigned num_qo_heads;
    unsigned num_kv_heads;         // divides num_qo_heads
    unsigned head_dim;             // a multiple of 16, at most 256
    unsigned block_size;
    unsigned max_num_blocks;
    unsigned window;               // 0: all
    float scale;
    float soft_cap;                // 0: none

    __device__ KvShape kv_shape() const { return {block_size, num_kv_heads, head_dim}; }
};

#define ATTENTION_ARG_AT(field, place) static_assert(__builtin_offsetof(AttentionArgs, field) == place, #field)
ATTENTION_ARG_AT(q, 0);
ATTENTION_ARG_AT(out, 8);
ATTENTION_ARG_AT(lse, 16);
ATTENTION_ARG_AT(k_pool, 24);
ATTENTION_ARG_AT(v_pool, 32);
ATTENTION_ARG_AT(k_scales, 40);
ATTENTION_ARG_AT(v_scales, 48);
ATTENTION_ARG_AT(k_token_scales, 56);
ATTENTION_ARG_AT(v_token_scales, 64);
ATTENTION_ARG_AT(block_tables, 72);
ATTENTION_ARG_AT(cu_seqlens_q, 80);
ATTENTION_ARG_AT(seq_lens, 88);
ATTENTION_ARG_AT(alibi_slopes, 96);
ATTENTION_ARG_AT(sinks, 104);
ATTENTION_ARG_AT(q_stride, 112);
ATTENTION_ARG_AT(num_tokens, 120);
ATTENTION_ARG_AT(num_seqs, 124);
ATTENTION_ARG_AT(num_qo_heads, 128);
ATTENTION_ARG_AT(num_kv_heads, 132);
ATTENTION_ARG_AT(head_dim, 136);
ATTENTION_ARG_AT(block_size, 140);
ATTENTION_ARG_AT(max_num_blocks, 144);
ATTENTION_ARG_AT(window, 148);
ATTENTION_ARG_AT(scale, 152);
ATTENTION_ARG_AT(soft_cap, 156);
static_assert(sizeof(AttentionArgs) == 160);
#undef ATTENTION_ARG_AT

// Where a row stands.
struct RowPlace {
    unsigned seq_idx;
    int first;     // the first position that it attends
    int position;  // its own, the last that it attends; less than `first` if it attends nothing
};

// The sequence that has `row`: the last one that begins at or before it and is not empty.
__device__ inline RowPlace place_of(const AttentionArgs &args, unsigned row) {
    unsigned low = 0, high = args.num_seqs;
    while (high - low > 1) {
        const unsigned middle = (low + high) / 2;
        (args.cu_seqlens_q[middle] <= row ? low : high) = middle;
    }
    const int position = (int)(args.seq_lens[low] + row - args.cu_seqlens_q[low + 1]);
    const int first = args.window ? max(position + 1 - (int)args.window, 0) : 0;
    return {low, first, position};
}
