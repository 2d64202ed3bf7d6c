//! Faults in the plain parts of a model's step: matrix products, norms, rotation, the cache.

use super::faults::{Fault, fault};

const GEMM_V1: [&str; 2] = ["gemm_v1_naive", "gemm::"];
const GEMM_V2: [&str; 2] = ["gemm_v2_mfma_lds", "gemm::every_variant"];
const GEMM_V3: [&str; 2] = ["gemm_v3_mfma_skinny", "gemm::every_variant"];
const GEMM_V4: [&str; 2] = ["gemm_v4_ping_pong", "gemm::every_variant"];
const INT4_WIDE: [&str; 2] = ["gemm_int4_v2_mfma", "gemm_int4::"];
const INT4_SKINNY: [&str; 2] = ["gemm_int4_v3_mfma_skinny", "gemm_int4::"];
const RMS_NORM: [&str; 2] = ["rms_norm_v1_naive", "rms_norm::"];
const ADD_RMS_NORM: [&str; 2] = ["add_rms_norm_v1_naive", "rms_norm::added"];
const ROPE: [&str; 2] = ["rope_v1_naive", "rows::interleaved"];
const CONVERT: [&str; 2] = ["convert_v1_naive", "rows::columns"];
const ROPE_CONVERT: [&str; 2] = ["rope_convert_v1_naive", "rows::queries"];
const ARGMAX: [&str; 2] = ["argmax_v1_naive", "rows::the_first"];
const GATHER: [&str; 2] = ["kv_gather_v1_naive", "kv_blocks::"];
const SCATTER: [&str; 2] = ["kv_scatter_v1_naive", "kv_blocks::"];
const KV_WRITE: [&str; 2] = ["kv_write_v1_naive", "kv_write::"];

/// For what a result alone cannot show.
const fn sanitized(fault: Fault) -> Fault {
    Fault { sanitized: true, ..fault }
}

/// All of them.
pub const FAULTS: &[Fault] = &[
    fault(GEMM_V1, "the last k is dropped", "", "k < in_features; ++k", "k + 1 < in_features; ++k"),
    fault(GEMM_V1, "the bias is ignored", "", "if (bias) {", "if (bias && !bias) {"),
    fault(GEMM_V1, "what was there is lost", "", "*at = add_to ? *at + sum : sum;", "*at = sum;"),
    sanitized(fault(
        GEMM_V2,
        "nobody waits for the tiles to be stored",
        "",
        "x_mover.store(x_lds);\n            __syncthreads();",
        "x_mover.store(x_lds);",
    )),
    sanitized(fault(
        GEMM_V2,
        "nobody waits for the tiles to be read",
        "",
        "__syncthreads();\n            w_mover.store(w_lds);",
        "w_mover.store(w_lds);",
    )),
    fault(
        GEMM_V2,
        "the last segment is dropped",
        "",
        "segment < NUM_SEGMENTS; ++segment",
        "segment + 1 < NUM_SEGMENTS; ++segment",
    ),
    fault(
        GEMM_V2,
        "segments have borders of their own",
        "gemm_mfma.h",
        "SEGMENT_GRANULE = 64;",
        "SEGMENT_GRANULE = 128;",
    ),
    fault(
        GEMM_V2,
        "rows past the end are read",
        "",
        "min(first_row + piece / PIECES, (unsigned long)num_rows - 1)",
        "first_row + piece / PIECES",
    ),
    fault(
        GEMM_V2,
        "the next row is read past the end of k",
        "gemm_mfma.h",
        "k < in_features ? *(const bits16x8 *)((const short *)row + k) : bits16x8{}",
        "k < in_features + 64 ? *(const bits16x8 *)((const short *)row + k) : bits16x8{}",
    ),
    fault(GEMM_V2, "tiles are exchanged", "", "wave / 2 * (SIDE / 2)", "wave % 2 * (SIDE / 2)"),
    sanitized(fault(
        GEMM_V3,
        "nobody waits for the segments",
        "",
        "    __syncthreads();\n\n    const unsigned long col",
        "    const unsigned long col",
    )),
    fault(
        GEMM_V3,
        "segments are added from the last",
        "",
        "value += segments[i][tile][threadIdx.x];",
        "value += segments[NUM_SEGMENTS - i][tile][threadIdx.x];",
    ),
    fault(
        GEMM_V3,
        "the second tile has the rows of the first",
        "",
        "min(first_row + tile * TILE + lane % TILE,",
        "min(first_row + lane % TILE,",
    ),
    fault(
        GEMM_V3,
        "halves of a step meet the wrong ones",
        "gemm_mfma.h",
        "(Format{}, w.lo, x.lo, sum)",
        "(Format{}, w.hi, x.lo, sum)",
    ),
    sanitized(fault(GEMM_V4, "nobody waits", "", "    __syncthreads();\n", "")),
    sanitized(fault(
        GEMM_V4,
        "both groups at once",
        "",
        "group == 0 ? 0 : -1",
        "group == 0 ? 0 : 0",
    )),
    fault(GEMM_V4, "one segment for all", "", "k % len == 0 && k != 0", "k > in_features"),
    fault(
        GEMM_V4,
        "pieces are not where they were put",
        "",
        "x_row + i * TILE + lane % TILE, piece)",
        "x_row + i * TILE + lane % TILE, piece ^ 1)",
    ),
    fault(
        GEMM_V4,
        "dies that do the same",
        "",
        "die * (num / NUM_XCDS) + min(die, num % NUM_XCDS) + idx",
        "die * (num / NUM_XCDS) + idx",
    ),
    fault(RMS_NORM, "eps is ignored", "", "sqrtf(mean + eps)", "sqrtf(mean)"),
    fault(RMS_NORM, "another row is taken", "", "rows.at[blockIdx.x]", "rows.at[blockIdx.x ^ 1]"),
    fault(
        RMS_NORM,
        "the last wave is left out",
        "wave.h",
        "i < NUM_WAVES; ++i",
        "i + 1 < NUM_WAVES; ++i",
    ),
    fault(ADD_RMS_NORM, "the sum is not kept", "", "x[row + i] = value;", "(void)value;"),
    fault(
        ADD_RMS_NORM,
        "the norm is of x alone",
        "",
        "fmaf(value, value, sum)",
        "fmaf(value - y[row + i], value, sum)",
    ),
    fault(
        ROPE,
        "heads lie as close as what turns",
        "",
        "(pair / half) * head_dim",
        "(pair / half) * rotary_dim",
    ),
    fault(
        ROPE,
        "it turns the other way",
        "rope.h",
        "fmaf(a, cos, -(b * sin))",
        "fmaf(a, cos, b * sin)",
    ),
    fault(ROPE, "pairs are always half a rotation apart", "", "interleaved ? 2 * i : i", "i"),
    fault(CONVERT, "bf16 is cut off", "bf16.h", "bits + 0x7fff + (bits >> 16 & 1)", "bits"),
    fault(CONVERT, "ties go up", "bf16.h", "bits + 0x7fff + (bits >> 16 & 1)", "bits + 0x8000"),
    fault(CONVERT, "rows are dense", "", "x[row * stride + i]", "x[row * width + i]"),
    fault(ROPE_CONVERT, "a head is the first", "", "row * stride + (i - d)", "row * stride"),
    fault(ROPE_CONVERT, "the second of a pair is lost", "rope.h", "fmaf(b, cos, a * sin)", "0.0f"),
    fault(ARGMAX, "the last of the largest is found", "", "b.idx < a.idx", "b.idx > a.idx"),
    fault(ARGMAX, "NaN wins", "", "b.value > a.value ||", "!(b.value <= a.value) ||"),
    fault(
        GATHER,
        "padding is not left out",
        "kv_blocks.h",
        "Places::k(shape.padded(), slot, d)",
        "Places::k(shape.block_size, slot, d)",
    ),
    fault(GATHER, "another head is read", "kv_blocks.h", "kv_head = blockIdx.y", "kv_head = 0"),
    fault(
        SCATTER,
        "values lie as keys",
        "kv_blocks.h",
        "Places::v(shape.head_dim, slot, d)",
        "Places::k(shape.padded(), slot, d)",
    ),
    fault(
        KV_WRITE,
        "the head's scale is ignored",
        "kv_write.h",
        "element(head, d) / head_scale / token_scale",
        "element(head, d) / token_scale",
    ),
    fault(
        KV_WRITE,
        "the scale of a token is that of keys",
        "kv_write.h",
        "half.token_scales[token_scale_idx] = token_scale;",
        "half.token_scales[token_scale_idx] = head_scale;",
    ),
    fault(
        KV_WRITE,
        "values lie as keys",
        "kv_write.h",
        "Places::v(shape.head_dim, offset, d)",
        "Places::k(shape.padded(), offset, d)",
    ),
    fault(
        KV_WRITE,
        "a slot of -1 is the first",
        "kv_write.h",
        "if (slot < 0 || slot >=",
        "if (slot >=",
    ),
    fault(
        KV_WRITE,
        "blocks have no padding",
        "kv_layout.h",
        "* ((unsigned long)head_dim * padded())",
        "* ((unsigned long)head_dim * block_size)",
    ),
    fault(
        KV_WRITE,
        "infinities become NaN",
        "fp8_fnuz.h",
        "fminf(fmaxf(x, -Format::MAX), Format::MAX)",
        "x",
    ),
    fault(
        INT4_WIDE,
        "AWQ's first columns for the second ones",
        "gemm_int4_mfma.h",
        "return word >> (4 * Awq::place(col));",
        "return word;",
    ),
    fault(
        INT4_WIDE,
        "zero points of the word's first columns",
        "gemm_int4_mfma.h",
        "nibble(word >> (4 * (col % PACK)), j)",
        "nibble(word, j)",
    ),
    fault(
        INT4_WIDE,
        "a group has the zero points of the first",
        "gemm_int4_mfma.h",
        "((unsigned long)group * packed.out_features + operand_col)",
        "(0 * packed.out_features + operand_col)",
    ),
    fault(
        INT4_WIDE,
        "groups end where segments do",
        "gemm_int4_mfma.h",
        "min(end, (group + 1) * packed.group_size)",
        "end",
    ),
    fault(
        INT4_WIDE,
        "the last group of a segment is lost",
        "gemm_int4_mfma.h",
        "add_scaled(sums, products, group);",
        "if (k < end) add_scaled(sums, products, group);",
    ),
    fault(
        INT4_WIDE,
        "the next 32 of k are these",
        "gemm_int4_mfma.h",
        "min(k + K_STEP, in_features - K_STEP)",
        "k",
    ),
    fault(INT4_WIDE, "segments are one", "", "segment == 0 ? sums", "true ? sums"),
    fault(
        INT4_WIDE,
        "waves share columns",
        "",
        "blockIdx.x * NUM_WAVES + wave_idx",
        "blockIdx.x * NUM_WAVES + (wave_idx & 2)",
    ),
    fault(
        INT4_SKINNY,
        "the second tile is the first",
        "",
        "first_row + tile * TILE + lane % TILE",
        "first_row + lane % TILE",
    ),
    fault(
        INT4_SKINNY,
        "the last segment is dropped",
        "",
        "segment < NUM_SEGMENTS; ++segment",
        "segment + 1 < NUM_SEGMENTS; ++segment",
    ),
    fault(
        INT4_SKINNY,
        "columns past the end are read",
        "gemm_int4_mfma.h",
        "min(first_col + lane % TILE * NUM_A, packed.out_features - NUM_A)",
        "first_col + lane % TILE * NUM_A",
    ),
    sanitized(fault(
        INT4_SKINNY,
        "nobody waits for the segments",
        "",
        "    __syncthreads();\n",
        "",
    )),
];
