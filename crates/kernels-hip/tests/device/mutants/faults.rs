//! The faults.

use crate::patch::source;

/// A patch, and which tests it must not pass.
#[derive(Clone, Copy)]
pub struct Fault {
    /// Whose place the mutant takes.
    pub variant: &'static str,
    /// What is wrong.
    pub name: &'static str,
    /// The header that is patched; none: the variant's own file.
    pub header: &'static str,
    /// What is replaced.
    pub find: &'static str,
    /// What by.
    pub replace: &'static str,
    /// The tests of the op.
    pub tests: &'static str,
    /// Whether they run sanitized: for what a result alone cannot show.
    pub sanitized: bool,
}

pub(super) const fn fault(
    [variant, tests]: [&'static str; 2],
    name: &'static str,
    header: &'static str,
    find: &'static str,
    replace: &'static str,
) -> Fault {
    Fault { variant, name, header, find, replace, tests, sanitized: false }
}

impl Fault {
    /// The file that is patched, below `kernels/`.
    pub fn file(&self) -> String {
        match self.header {
            "" => source(self.variant),
            header => format!("include/{header}"),
        }
    }
}

const QUANTIZE_V1: [&str; 2] = ["fp8_quantize_v1_naive", "fp8_quantize::"];
const QUANTIZE_V2: [&str; 2] = ["fp8_quantize_v2_registers", "fp8_quantize::"];
const QUANTIZE_V3: [&str; 2] = ["fp8_quantize_v3_one_launch", "fp8_quantize::"];
const CONVERT: [&str; 2] = ["fp8_convert_v1_naive", "fp8_convert::"];
const CONVERT_V2: [&str; 2] = ["fp8_convert_v2_vectors", "fp8_convert::"];
const NORM_V1: [&str; 2] = ["rms_norm_fp8_quantize_v1_naive", "fused_fp8::normalized"];
const NORM_V2: [&str; 2] = ["rms_norm_fp8_quantize_v2_registers", "fused_fp8::normalized"];
const SILU_V1: [&str; 2] = ["silu_mul_fp8_quantize_v1_naive", "fused_fp8::activated"];
const SILU_V2: [&str; 2] = ["silu_mul_fp8_quantize_v2_registers", "fused_fp8::activated"];
const SAMPLE: [&str; 2] = ["sample_v1_naive", "sample::"];
const GEMM_FP8_V1: [&str; 2] = ["gemm_fp8_v1_naive", "gemm_fp8::"];
const GEMM_FP8_V2: [&str; 2] = ["gemm_fp8_v2_mfma", "gemm_fp8::"];
const GEMM_FP8_V3: [&str; 2] = ["gemm_fp8_v3_mfma_skinny", "gemm_fp8::"];
const GEMM_INT4: [&str; 2] = ["gemm_int4_v1_naive", "gemm_int4::"];

const KV_WRITE_ROPE: [&str; 2] = ["kv_write_rope_v1_naive", "kv_paths::"];
const KV_READ: [&str; 2] = ["kv_read_v1_naive", "kv_paths::"];
const KV_COPY: [&str; 2] = ["kv_copy_v1_vectors", "kv_paths::"];

/// All of them.
pub const FAULTS: &[Fault] = &[
    fault(
        QUANTIZE_V1,
        "the scale is ignored",
        "row_quantize.h",
        "i += ROW_WORKGROUP) {\n        out[i] = to_fp8<Format>(value(i) / scale);",
        "i += ROW_WORKGROUP) {\n        out[i] = to_fp8<Format>(value(i));",
    ),
    fault(
        QUANTIZE_V1,
        "the reciprocal of the scale is rounded first",
        "row_quantize.h",
        "i += ROW_WORKGROUP) {\n        out[i] = to_fp8<Format>(value(i) / scale);",
        "i += ROW_WORKGROUP) {\n        out[i] = to_fp8<Format>(value(i) * (1.0f / scale));",
    ),
    fault(
        QUANTIZE_V1,
        "the last column is dropped",
        "row_quantize.h",
        "i < num_cols; i += ROW_WORKGROUP) {\n        out[i]",
        "i + 1 < num_cols; i += ROW_WORKGROUP) {\n        out[i]",
    ),
    fault(
        QUANTIZE_V1,
        "a group begins one column late",
        "row_quantize.h",
        "        for (unsigned i = group * SCALE_GROUP + lane; i < end; i += WAVE_SIZE) {\n            maximum",
        "        for (unsigned i = group * SCALE_GROUP + lane + 1; i < end; i += WAVE_SIZE) {\n            maximum",
    ),
    fault(
        QUANTIZE_V1,
        "NaN counts for the maximum",
        "row_quantize.h",
        "        // fmaxf leaves NaN out.\n        maximum = fmaxf(maximum, fabsf(value(i)));",
        "        maximum = fabsf(value(i)) <= maximum ? maximum : fabsf(value(i));",
    ),
    fault(
        QUANTIZE_V1,
        "NaN has the code of OCP's",
        "fp8_fnuz.h",
        "constexpr unsigned NAN_CODE = 0x80;",
        "constexpr unsigned NAN_CODE = 0x7f;",
    ),
    fault(
        QUANTIZE_V1,
        "what is too large does not saturate",
        "fp8_fnuz.h",
        "const float limited = fminf(fmaxf(x, -Format::MAX), Format::MAX);",
        "const float limited = x;",
    ),
    fault(
        QUANTIZE_V1,
        "codes are cut, not rounded",
        "fp8_fnuz.h",
        "const unsigned code = Format::convert(limited);",
        "const unsigned code = Format::convert(__builtin_bit_cast(float, __builtin_bit_cast(unsigned, limited) & 0xfff00000));",
    ),
    fault(
        QUANTIZE_V1,
        "the largest number is OCP's",
        "fp8_fnuz.h",
        "static constexpr float MAX = 240.0f;",
        "static constexpr float MAX = 448.0f;",
    ),
    fault(
        QUANTIZE_V1,
        "rows of zeros have scale 0",
        "fp8_fnuz.h",
        "return maximum == 0.0f ? 1.0f : ",
        "return ",
    ),
    fault(
        QUANTIZE_V1,
        "the last row's maximum is the tensor's",
        "",
        "atomicMax((unsigned *)maximum, __builtin_bit_cast(unsigned, of_row));",
        "*maximum = of_row;",
    ),
    Fault {
        sanitized: true,
        ..fault(
            QUANTIZE_V1,
            "waves do not wait for each other",
            "wave.h",
            "    __syncthreads();\n",
            "",
        )
    },
    fault(
        QUANTIZE_V2,
        "the edge of a row is dropped",
        "row_registers.h",
        "    if (cut.has_edge()) {\n        out[cut.edge]",
        "    if (threadIdx.x > 1024) {\n        out[cut.edge]",
    ),
    fault(
        QUANTIZE_V2,
        "the edge does not count for the maximum",
        "row_registers.h",
        "float maximum = fmaxf(0.0f, fabsf(edge));",
        "float maximum = 0.0f;",
    ),
    fault(
        QUANTIZE_V2,
        "a group's maximum is that of its half",
        "row_registers.h",
        "unsigned offset = SCALE_GROUP / V / 2;",
        "unsigned offset = SCALE_GROUP / V / 4;",
    ),
    fault(
        QUANTIZE_V2,
        "neighbours change places",
        "row_registers.h",
        "to_fp8_pair<Format>(values[2 * e] / scale, values[2 * e + 1] / scale)",
        "to_fp8_pair<Format>(values[2 * e + 1] / scale, values[2 * e] / scale)",
    ),
    fault(
        QUANTIZE_V3,
        "the last vectors have no registers",
        "",
        "N = MAX_ELEMENTS / V / WORKGROUP;",
        "N = MAX_ELEMENTS / V / WORKGROUP - 1;",
    ),
    fault(
        CONVERT,
        "negative zero becomes NaN",
        "",
        "return {magnitude == 0 ? 0 : code, false};",
        "return {code, false};",
    ),
    fault(
        CONVERT,
        "infinity becomes a number",
        "",
        "using E5m2ToFnuz = ToFnuz<0x7b, 0x7c>;",
        "using E5m2ToFnuz = ToFnuz<0x7c, 0x100>;",
    ),
    fault(
        CONVERT,
        "32768 becomes infinity",
        "",
        "using E5m2FromFnuz = FromFnuz<0x7b, 0x7e>;",
        "using E5m2FromFnuz = FromFnuz<0x7c, 0x7e>;",
    ),
    fault(CONVERT, "a wave counts once", "", "(unsigned)__popcll(lanes)", "(unsigned)(lanes != 0)"),
    fault(
        CONVERT_V2,
        "negative zero becomes NaN",
        "",
        "const unsigned signs = codes & at_least(magnitudes, 1);",
        "const unsigned signs = codes & SIGNS;",
    ),
    fault(
        CONVERT_V2,
        "the rest of the codes is left out",
        "",
        "for (unsigned long i = first; i < n; ++i) {",
        "for (unsigned long i = first; i + 1 < n; ++i) {",
    ),
    fault(NORM_V1, "eps is ignored", "rms_row.h", "sqrtf(mean + eps)", "sqrtf(mean + 0.0f * eps)"),
    fault(NORM_V1, "the sum is not stored", "", "                x[i] += delta[i];\n", ""),
    fault(
        NORM_V2,
        "the sum is not stored",
        "",
        "                *reinterpret_cast<Vector *>(x + column_of(first + n)) = kept[first + n];\n",
        "",
    ),
    fault(
        NORM_V2,
        "the weight is ignored",
        "",
        "values[e] = kept[n][e] * inverse * weights[n][e];",
        "values[e] = kept[n][e] * inverse;",
    ),
    fault(
        NORM_V2,
        "columns are summed in another order",
        "",
        "sum = fmaf(kept[n][e], kept[n][e], sum);",
        "sum = fmaf(kept[n][3 - e], kept[n][3 - e], sum);",
    ),
    fault(
        SILU_V1,
        "up is activated",
        "",
        "return silu(load(gate[i])) * load(up[i]);",
        "return load(gate[i]) * silu(load(up[i]));",
    ),
    fault(
        SILU_V2,
        "up is the next row's gate",
        "",
        "gate_up + row + width + i);",
        "gate_up + row + i);",
    ),
    fault(
        SAMPLE,
        "one round less",
        "philox.h",
        "constexpr int NUM_ROUNDS = 10;",
        "constexpr int NUM_ROUNDS = 9;",
    ),
    fault(
        SAMPLE,
        "the position is ignored",
        "philox.h",
        "{first_pair + idx / 2, position, stream[0], stream[1]}",
        "{first_pair + idx / 2, 0 * position, stream[0], stream[1]}",
    ),
    fault(
        SAMPLE,
        "operations of e^x are fused",
        "exact_math.h",
        "__device__ inline float exp_nonpositive(float x) {\n#pragma clang fp contract(off)",
        "__device__ inline float exp_nonpositive(float x) {\n#pragma clang fp contract(fast)",
    ),
    fault(
        SAMPLE,
        "the temperature is ignored",
        "",
        "exp_nonpositive((logits[i] - max) / temperature)",
        "exp_nonpositive((logits[i] - max) / (temperature > 0.0f ? 1.0f : 2.0f))",
    ),
    fault(
        SAMPLE,
        "of equals the last is the likeliest",
        "",
        "(other_time == time && other_idx < idx)",
        "(other_time == time && other_idx > idx)",
    ),
    fault(
        SAMPLE,
        "equals of the k-th go",
        "",
        "weights[i] = weights[i] >= threshold ? weights[i] : 0.0f;",
        "weights[i] = weights[i] > threshold ? weights[i] : 0.0f;",
    ),
    fault(
        SAMPLE,
        "top_p keeps one equal more",
        "",
        "(bits == last.bits && before >= to_keep)",
        "(bits == last.bits && before > to_keep)",
    ),
    fault(
        SAMPLE,
        "the second heat draws the first's numbers",
        "",
        "SECOND_HEAT + start / 2, len",
        "0 * SECOND_HEAT + start / 2, len",
    ),
    fault(
        GEMM_FP8_V1,
        "x has the scale of the weight's row",
        "",
        "* args.x_scales[m] * args.weight_scales[n];",
        "* args.weight_scales[n] * args.weight_scales[n];",
    ),
    fault(
        GEMM_FP8_V1,
        "blocks of weights are 64 rows",
        "",
        "(unsigned long)(n / SCALE_BLOCK) * num_blocks + block",
        "(unsigned long)(n / 2 / SCALE_BLOCK) * num_blocks + block",
    ),
    fault(
        GEMM_FP8_V2,
        "halves of 16 codes meet each other",
        "gemm_fp8_mfma.h",
        "x.at[half / 2][m][half % 2]",
        "x.at[half / 2][m][1 - half % 2]",
    ),
    fault(
        GEMM_FP8_V2,
        "the last 16 k are dropped",
        "gemm_fp8_mfma.h",
        "at[step][tile] = k < in_features ?",
        "at[step][tile] = k + LANE_K < in_features ?",
    ),
    fault(
        GEMM_FP8_V2,
        "a block has the scale of the first",
        "gemm_fp8_mfma.h",
        "args.x_scales[(unsigned long)row * num_blocks + block]",
        "args.x_scales[(unsigned long)row * num_blocks]",
    ),
    fault(
        GEMM_FP8_V2,
        "rows past the end are read",
        "gemm_fp8_mfma.h",
        "(row < num_rows ? row : num_rows - 1)",
        "(row)",
    ),
    fault(
        GEMM_FP8_V2,
        "rows and columns of the result change places",
        "gemm_fp8_mfma.h",
        "const unsigned row = m(m_tile);",
        "const unsigned row = m(n_tile);",
    ),
    fault(
        GEMM_FP8_V2,
        "the bias is ignored",
        "gemm_fp8.h",
        "return bias ? sum + bias[n] : sum;",
        "return bias && n == ~0u ? sum + bias[n] : sum;",
    ),
    fault(
        GEMM_FP8_V2,
        "the last segment is left out",
        "",
        "segment < NUM_SEGMENTS; ++segment",
        "segment + 1 < NUM_SEGMENTS; ++segment",
    ),
    fault(
        GEMM_FP8_V3,
        "segments are added in another order",
        "",
        "sum += shared[segment][wave][lane];",
        "sum += shared[NUM_SEGMENTS - segment][wave][lane];",
    ),
    fault(
        GEMM_FP8_V3,
        "the second tile is the first",
        "",
        "args, sum, 0, wave);",
        "args, sum, 0, 0 * wave);",
    ),
    Fault {
        sanitized: true,
        ..fault(GEMM_FP8_V3, "waves do not wait for each other", "", "    __syncthreads();\n", "")
    },
    fault(
        GEMM_INT4,
        "nibbles are read from the top",
        "gemm_int4.h",
        "return word >> (4 * place) & 15;",
        "return word >> (28 - 4 * place) & 15;",
    ),
    fault(
        GEMM_INT4,
        "AWQ's order is GPTQ's",
        "gemm_int4.h",
        "return n % PACK / 2 + n % 2 * (PACK / 2);",
        "return n % PACK;",
    ),
    fault(GEMM_INT4, "zero points are as stored", "", " + packed.zero_offset;", ";"),
    fault(
        GEMM_INT4,
        "the order of the groups is ignored",
        "gemm_int4.h",
        "= g_idx ? g_idx[k] : k / group_size;",
        "= k / group_size;",
    ),
    fault(
        GEMM_INT4,
        "a group has the scale of the next feature",
        "",
        "(float)packed.scales[at] *",
        "(float)packed.scales[at ^ 1] *",
    ),
    fault(
        KV_WRITE_ROPE,
        "the second of a pair turns the other way",
        "rope.h",
        "fmaf(b, cos, a * sin)",
        "fmaf(b, cos, -(a * sin))",
    ),
    fault(
        KV_WRITE_ROPE,
        "pairs are always apart",
        "rope.h",
        "const unsigned i = interleaved ? d / 2 : d % half;",
        "const unsigned i = d % half;",
    ),
    fault(
        KV_WRITE_ROPE,
        "all tokens have the angles of the first",
        "",
        "angles + (unsigned long)blockIdx.x * rotary_dim,",
        "angles + 0ul * blockIdx.x * rotary_dim,",
    ),
    fault(
        KV_READ,
        "token scales are ignored",
        "",
        "* source.head_scales[kv_head] * token_scale;",
        "* source.head_scales[kv_head] * (token_scale > 0.0f ? 1.0f : 2.0f);",
    ),
    fault(KV_READ, "keys have the order of values", "", "IS_K ? Places::k", "!IS_K ? Places::k"),
    fault(
        KV_READ,
        "a slot of -1 is the first",
        "",
        "        float value = 0.0f;\n        if (is_inside) {",
        "        float value = 0.0f;\n        if (is_inside || slot < 0) {",
    ),
    fault(
        KV_COPY,
        "the last vector stays",
        "",
        "if (i < block_vectors) {",
        "if (i + 1 < block_vectors) {",
    ),
];
