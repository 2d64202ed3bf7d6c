// paged_attention_v1_naive: attention of every row over its sequence's pages, for every format, head size and feature.
//
// Source: what it computes stands in include/attention_args.h; the order of elements in pages in include/kv_layout.h.
//
// Idea: the plain port, in include/attention_naive.h. Head size, block size, GQA, window and all else are run-time
// numbers, so that six kernels serve every shape and compile in a second.
// Mapping: one wave per row and query head, whatever the rows of a sequence are. In q.K a lane has a position, in p.V
// head elements.
// Reduction class: tiles of 64 positions at absolute borders, one after the other in f32: a dot product in the order of
// d; a tile's weights by a butterfly; p.V in position order. Weights are never rounded. A function of the row alone.
// Cost: K and V of a KV head are read once per row and query head, not once per KV head: num_qo_heads / num_kv_heads
// times the least. 4 flops per query head, position and head element.
// Measured: not on hardware. Executed in the emulator, within reference_cpu's bound.
// Lost to: paged_attention_v2_wave, which loads 16 bytes at a time.

#include <hip/hip_runtime.h>

#include "attention_naive.h"

ATTENTION_NAIVE_KERNELS(paged_attention_v1_naive)
