// prefill_attention_v1_naive: attention of a chunk's rows over their sequences' pages, their own included.
//
// Source: what it computes stands in include/attention_args.h; the order of elements in pages in include/kv_layout.h.
//
// Idea: the plain port, in include/attention_naive.h: the same as paged_attention_v1_naive, so that rows of a chunk have
// the bits that they would have as decodes.
// Mapping: one wave per row and query head.
// Reduction class: that of paged_attention_v1_naive.
// Cost: as there. K and V are read once per row and query head.
// Measured: not on hardware. Executed in the emulator, bit-equal to paged_attention_v1_naive.
// Lost to: nothing yet.

#include <hip/hip_runtime.h>

#include "attention_naive.h"

ATTENTION_NAIVE_KERNELS(prefill_attention_v1_naive)
