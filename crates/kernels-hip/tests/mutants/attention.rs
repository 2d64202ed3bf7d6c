//! Faults of attention.

use engine_core::dtype::DType;
use engine_core::formats::Fp8Format;
use engine_core::kv_dtype::KvDType;
use kernels_hip::ops::Attention;
use kernels_hip::{Device, Error, Stream};
use mutation::Edit;

use crate::Mutant;
use crate::bench::{Bar, Data, Fixture, Problem, run, verdict};
use crate::patch::Patch;

const V1: &str = "paged_attention_v1_naive";
const V2: &str = "paged_attention_v2_wave";
const V3: &str = "paged_attention_v3_mfma_one_shot";
const V4: &str = "paged_attention_v4_mfma_split";
const V5: &str = "paged_attention_v5_mfma_work_list";
const V6: &str = "paged_attention_v6_mfma_fp8";
const PREFILL: &str = "prefill_attention_v2_mfma_direct";
const PING_PONG: &str = "prefill_attention_v3_ping_pong";
const LDS_PREFILL: &str = "prefill_attention_v5_mfma_lds";
const FP8_PREFILL: &str = "prefill_attention_v4_mfma_fp8";
const MERGE: &str = "attention_merge_v1_in_order";
const REPACK: &str = "attention_repack_v1_naive";

const ARGS: &str = "include/attention_args.h";
const NAIVE: &str = "include/attention_naive.h";
const MFMA: &str = "include/attention_mfma.h";
const LDS: &str = "include/attention_mfma_lds.h";
const PING_PONG_FILE: &str = "prefill_attention/prefill_attention_v3_ping_pong.hip";
const LDS_FILE: &str = "prefill_attention/prefill_attention_v5_mfma_lds.hip";
const SPLIT: &str = "include/attention_split.h";
const WORK: &str = "include/attention_work.h";
const WAVE: &str = "paged_attention/paged_attention_v2_wave.hip";
const REPACK_FILE: &str = "attention_repack/attention_repack_v1_naive.hip";

/// Kernels for one format of each kind.
pub(super) fn narrow(variant: &str) -> Option<(&'static str, &'static str)> {
    match variant {
        V1 => Some((
            "ATTENTION_NAIVE_KERNELS(paged_attention_v1_naive)",
            "ATTENTION_NAIVE(paged_attention_v1_naive, bf16, Bf16, bf16, Bf16)\n\
             ATTENTION_NAIVE(paged_attention_v1_naive, bf16, Bf16, e4m3fnuz, Fp8E4m3)",
        )),
        V2 => Some((
            "ATTENTION_NAIVE_FORMATS(KERNEL, paged_attention_v2_wave)",
            "KERNEL(paged_attention_v2_wave, bf16, Bf16, bf16, Bf16)\n\
             KERNEL(paged_attention_v2_wave, bf16, Bf16, e4m3fnuz, Fp8E4m3)",
        )),
        V6 | FP8_PREFILL => Some((
            "ATTENTION_MFMA_FP8_KERNELS(KERNEL)",
            "KERNEL(bf16, Bf16, e4m3fnuz, Fp8E4m3, 64)\nKERNEL(bf16, Bf16, e5m2fnuz, Fp8E5m2, 64)",
        )),
        V3 | V4 | V5 | PREFILL => Some((
            "ATTENTION_MFMA_KERNELS(KERNEL)",
            "KERNEL(bf16, Bf16, bf16, Bf16, 64)\nKERNEL(bf16, Bf16, e4m3fnuz, Fp8E4m3, 64)",
        )),
        LDS_PREFILL => Some((
            "ATTENTION_MFMA_KERNELS(KERNEL)",
            "KERNEL(bf16, Bf16, bf16, Bf16, 64)\nKERNEL(bf16, Bf16, e4m3fnuz, Fp8E4m3, 96)",
        )),
        PING_PONG => Some((
            "KERNEL(f16, F16, f16, F16, 128)\n\
             KERNEL(bf16, Bf16, e4m3fnuz, Fp8E4m3, 128)\n\
             KERNEL(bf16, Bf16, e5m2fnuz, Fp8E5m2, 128)\n\
             KERNEL(f16, F16, e4m3fnuz, Fp8E4m3, 128)\n\
             KERNEL(f16, F16, e5m2fnuz, Fp8E5m2, 128)\n",
            "KERNEL(bf16, Bf16, e4m3fnuz, Fp8E4m3, 128)\n",
        )),
        _ => None,
    }
}

/// Those that the variant serves.
fn problems_of(variant: &str) -> [Problem; 9] {
    problems().map(|problem| match variant {
        PING_PONG => {
            // Long chunks, and more than one work-group of some.
            let mut seqs = problem.seqs;
            seqs[0].num_rows = 66;
            Problem { head_dim: 128, token_scales: false, seqs, ..problem }
        }
        LDS_PREFILL => {
            let mut seqs = problem.seqs;
            seqs[0].num_rows = 66;
            let head_dim = if problem.kv_dtype.fp8().is_some() { 96 } else { 64 };
            Problem { head_dim, seqs, ..problem }
        }
        _ => problem,
    })
}

fn problems() -> [Problem; 9] {
    let fp8 = KvDType::Fp8(Fp8Format::E4m3Fnuz);
    // Longer than a partition each, for a variant that splits serves nothing else.
    let plain = Problem::new(&[(1, 530), (3, 40), (0, 7), (1, 1)]);
    [
        Problem { fixture: Fixture::Fingerprint, num_qo_heads: 6, ..plain.clone() },
        plain.clone(),
        Problem {
            window: Some(33),
            soft_cap: Some(2.0),
            alibi: true,
            sinks: true,
            token_scales: true,
            kv_dtype: fp8,
            ..plain.clone()
        },
        Problem {
            sinks: true,
            fixture: Fixture::Peaked,
            block_size: 32,
            ..Problem::new(&[(20, 1100)])
        },
        // kv_blocks past 16 bits, and elements past 32.
        Problem { first_block: Some(65_535), ..Problem::new(&[(1, 520)]) },
        Problem {
            first_block: Some((1 << 32) / 32_768 - 2),
            kv_dtype: fp8,
            block_size: 256,
            ..Problem::new(&[(1, 700)])
        },
        Problem { kv_dtype: fp8, fixture: Fixture::Fingerprint, ..plain.clone() },
        // kv_blocks that are repacked, or are no multiple of what a load takes.
        Problem {
            block_size: 24,
            window: Some(300),
            token_scales: true,
            kv_dtype: fp8,
            ..Problem::new(&[(1, 530), (2, 70)])
        },
        Problem { block_size: 40, ..Problem::new(&[(1, 530), (0, 3), (2, 70)]) },
    ]
}

/// The checks of `tests/attention`, few enough to be done for each fault.
pub(super) fn check(on: (&Device, &Stream), variant: &str, object: &[u8]) -> Result<(), String> {
    let is_served = |problem: &Problem| match variant {
        V2 => (problem.block_size * problem.kv_dtype.size_bytes()).is_multiple_of(16),
        V6 | FP8_PREFILL => problem.kv_dtype.fp8().is_some(),
        _ => true,
    };
    for problem in problems_of(variant).into_iter().filter(is_served) {
        let data = Data::new(&problem);
        let of_problem = |error: String| format!("{error} ({problem:?})");
        let with = |name: &str, object: &[u8]| {
            let mut attention = Attention::from_code_object(on.0, name, object)?;
            run(&mut attention, on, &problem, &data)
        };
        let got = match with(variant, object) {
            Ok(got) => got,
            Err(Error::Pin { reason, .. }) => return Err(of_problem(reason)),
            Err(error) => return Err(of_problem(error.to_string())),
        };
        // Who has the same bits.
        let (bar, twin) = match variant {
            V1 | V2 => (Bar::NAIVE, V1),
            V6 | FP8_PREFILL => (Bar::mfma(DType::BF16, true), FP8_PREFILL),
            _ => (Bar::mfma(DType::BF16, false), V3),
        };
        verdict(&problem, &data, &got, bar).map_err(of_problem)?;
        let file = kernels_hip::registry::code_object(twin, "gfx942").map_err(|e| e.to_string())?;
        let want = with(twin, file.bytes).map_err(|error| error.to_string())?;
        if want.bits() != got.bits() {
            return Err(of_problem(format!("other bits than {twin}")));
        }
    }
    Ok(())
}

const fn text(
    variant: &'static str,
    name: &'static str,
    file: &'static str,
    find: &'static str,
    replace: &'static str,
) -> Mutant {
    Mutant { variant, name, patch: Patch::Text(Edit { file, find, replace }) }
}

pub(super) const MUTANTS: &[Mutant] = &[
    text(
        V2,
        "a load too few",
        WAVE,
        "min(first + i, num_units - 1)",
        "min(first + i, num_units - 2)",
    ),
    text(
        V2,
        "the slot before",
        WAVE,
        "shape.head_block(block, kv_head)) + slot;",
        "shape.head_block(block, kv_head)) + (slot ? slot - 1 : 0);",
    ),
    text(
        V2,
        "values of half a unit's positions",
        WAVE,
        "(unsigned)from % args.block_size;",
        "(unsigned)(from & ~31) % args.block_size;",
    ),
    text(
        V2,
        "values that nobody attends",
        WAVE,
        "if (position < low || position > high) {",
        "if (position > high) {",
    ),
    text(
        V2,
        "weights of the position before",
        WAVE,
        "weights[position - (int)tile]",
        "weights[max(position - (int)tile - 1, 0)]",
    ),
    text(
        V2,
        "sums not rescaled",
        WAVE,
        "fmaf(sums[i], shrink, tile_sums[i])",
        "fmaf(sums[i], 1.0f, tile_sums[i])",
    ),
    text(
        V2,
        "elements of the first lanes twice",
        WAVE,
        "threadIdx.x + i * WAVE_SIZE, args.head_dim - 1",
        "threadIdx.x % 32 + i * WAVE_SIZE, args.head_dim - 1",
    ),
    text(V1, "q.k ignored", NAIVE, "float logit = dot *", "float logit = 0.0f * dot *"),
    text(
        V1,
        "keys shifted by one",
        NAIVE,
        "Places::k(shape.padded(), slot, d)",
        "Places::k(shape.padded(), slot ^ 1, d)",
    ),
    text(
        V1,
        "values of the next element",
        NAIVE,
        "Places::v(args.head_dim, slot, d)",
        "Places::v(args.head_dim, slot, d ^ 1)",
    ),
    text(
        V1,
        "wrong kv head",
        NAIVE,
        "const unsigned kv_head = head / (args.num_qo_heads / args.num_kv_heads);",
        "const unsigned kv_head = head % args.num_kv_heads;",
    ),
    text(
        V1,
        "last token dropped",
        NAIVE,
        "position >= place.first && position <= place.position;",
        "position >= place.first && (position < place.position || position == 0);",
    ),
    text(V1, "scale of keys ignored", NAIVE, "(args.scale * args.k_scales[kv_head])", "args.scale"),
    text(V1, "scale of values ignored", NAIVE, "args.v_scales[kv_head] * shrink", "shrink"),
    text(V1, "token scales of keys ignored", NAIVE, "if (args.k_token_scales) {", "if (false) {"),
    text(V1, "token scales of values ignored", NAIVE, "if (args.v_token_scales) {", "if (false) {"),
    text(
        V1,
        "fnuz read as fn",
        "include/fp8_fnuz.h",
        "return __builtin_amdgcn_cvt_f32_fp8((int)code, 0);",
        "return 2.0f * __builtin_amdgcn_cvt_f32_fp8((int)code, 0);",
    ),
    text(
        V1,
        "e4m3 read as e5m2",
        "include/fp8_fnuz.h",
        "return __builtin_amdgcn_cvt_f32_fp8((int)code, 0);",
        "return __builtin_amdgcn_cvt_f32_bf8((int)code, 0);",
    ),
    text(
        V1,
        "16-bit block id",
        NAIVE,
        "return args.block_tables[",
        "return (unsigned short)args.block_tables[",
    ),
    text(
        V1,
        "32-bit offset",
        "include/kv_layout.h",
        "return (block * num_kv_heads + kv_head) * ((unsigned long)head_dim * padded());",
        "return (unsigned)(block * num_kv_heads + kv_head) * (head_dim * padded());",
    ),
    text(
        V1,
        "window off by one",
        ARGS,
        "max(position + 1 - (int)args.window, 0)",
        "max(position - (int)args.window, 0)",
    ),
    text(V1, "soft-cap ignored", NAIVE, "if (args.soft_cap != 0.0f) {", "if (false) {"),
    text(V1, "linear bias ignored", NAIVE, "if (args.alibi_slopes) {", "if (false) {"),
    text(V1, "sink dropped", NAIVE, "if (args.sinks) {", "if (false) {"),
    text(V1, "lse without its maximum", NAIVE, "maximum + logf(weight_sum)", "logf(weight_sum)"),
    text(
        V1,
        "maximum not updated",
        NAIVE,
        "        maximum = new_maximum;\n        __syncthreads();",
        "        __syncthreads();",
    ),
    text(
        V1,
        "truncating bf16 store",
        "include/bf16.h",
        "const unsigned rounded = bits + 0x7fff + (bits >> 16 & 1);",
        "const unsigned rounded = bits;",
    ),
    text(
        V1,
        "the sequence after",
        ARGS,
        "args.cu_seqlens_q[middle] <= row ?",
        "args.cu_seqlens_q[middle] < row ?",
    ),
    text(V3, "values not masked", MFMA, "return value & masks[i];", "return value;"),
    text(
        V3,
        "truncating weights",
        MFMA,
        "return bits + (bits >> 16 & 1) + 0x7fff;",
        "return bits;",
    ),
    text(V3, "sums not rescaled", MFMA, "            out *= shrink;", "            out *= 1.0f;"),
    text(
        V3,
        "lanes left out of the sum",
        MFMA,
        "                partial.sum += __shfl_xor(partial.sum, 32, WAVE_SIZE);\n",
        "",
    ),
    text(
        V3,
        "maximum of half the lanes",
        MFMA,
        "        maximum = fmaxf(maximum, __shfl_xor(maximum, 32, WAVE_SIZE));\n",
        "",
    ),
    text(
        V3,
        "tables read past what is attended",
        MFMA,
        "min(max(first_of_unit & -16, low & -16), high & -16)",
        "first_of_unit & -16",
    ),
    text(
        V3,
        "scale of a masked token not masked",
        MFMA,
        "some[i] = is_attended ? some[i] * scales[i] : 0.0f;",
        "some[i] = some[i] * scales[i];",
    ),
    text(
        V3,
        "upper pair of codes lost",
        MFMA,
        "Format::template widen_pair<true>(unit[idx])",
        "Format::template widen_pair<false>(unit[idx])",
    ),
    text(V3, "sink in base e", MFMA, "args.sinks[head] * LOG2_E", "args.sinks[head]"),
    text(
        V3,
        "block offset of 32 bits",
        MFMA,
        "head_idx * ((unsigned long)args.block_size * (HEAD_DIM * SIZE))",
        "(unsigned)head_idx * (args.block_size * (HEAD_DIM * SIZE))",
    ),
    text(
        V3,
        "columns of the row before",
        MFMA,
        "row = first_row + packed / heads;",
        "row = first_row + (packed + 1) / heads;",
    ),
    Mutant { variant: V3, name: "no waits", patch: Patch::NoWaits },
    text(
        V3,
        "partitions twice as long",
        MFMA,
        "(tile + TILE) % PARTITION == 0",
        "(tile + TILE) % (2 * PARTITION) == 0",
    ),
    text(
        V4,
        "a split too short",
        SPLIT,
        "min(wave.high / TILE * TILE, end - TILE)",
        "min(wave.high / TILE * TILE, end - 2 * TILE)",
    ),
    text(
        V5,
        "the first item alone",
        WORK,
        "work.bounds[blockIdx.x + 1]",
        "work.bounds[blockIdx.x] + 1",
    ),
    text(V5, "the last item left out", WORK, "idx < end; ++idx", "idx + 1 < end; ++idx"),
    text(V5, "the first KV head only", WORK, "uniform(item.kv_head)", "0 * uniform(item.kv_head)"),
    text(
        V5,
        "the first columns only",
        WORK,
        "uniform(item.first_column)",
        "0 * uniform(item.first_column)",
    ),
    text(
        V5,
        "an item's last partition",
        WORK,
        "uniform(item.end_partition) * PARTITION",
        "uniform(item.end_partition) * PARTITION - PARTITION",
    ),
    text(
        V5,
        "partial results that all columns share",
        SPLIT,
        "return out_head * max_num_partitions + partition;",
        "return out_head / 4 * 4 * max_num_partitions + partition;",
    ),
    text(
        V5,
        "the sum before the maximum",
        SPLIT,
        "{partial.maximum, partial.sum}",
        "{partial.sum, partial.maximum}",
    ),
    text(
        V6,
        "one scale for all rows",
        MFMA,
        "query_scale = fp8_scale<E4M3Fnuz>(largest);",
        "query_scale = fp8_scale<E4M3Fnuz>(4.0f);",
    ),
    text(
        V6,
        "the largest of one lane's elements",
        MFMA,
        "        largest = fmaxf(largest, __shfl_xor(largest, 32, WAVE_SIZE));\n",
        "",
    ),
    text(V6, "the query's scale ignored", MFMA, "(FP8_QUERY ? query_scale : 1.0f)", "1.0f"),
    text(V6, "codes in the wrong order", MFMA, "code << i % 4 * 8", "code << (i ^ 1) % 4 * 8"),
    text(
        V6,
        "the first half of each load twice",
        MFMA,
        "{keys[step][2 * i], keys[step][2 * i + 1]}",
        "{keys[step][0], keys[step][1]}",
    ),
    text(
        V6,
        "keys read as e5m2",
        MFMA,
        "__builtin_amdgcn_mfma_f32_16x16x32_fp8_fp8(",
        "__builtin_amdgcn_mfma_f32_16x16x32_bf8_fp8(",
    ),
    text(
        V6,
        "queries read as e5m2",
        MFMA,
        "__builtin_amdgcn_mfma_f32_16x16x32_fp8_fp8(",
        "__builtin_amdgcn_mfma_f32_16x16x32_fp8_bf8(",
    ),
    text(
        FP8_PREFILL,
        "columns one later",
        "prefill_attention/prefill_attention_v4_mfma_fp8.hip",
        "uniform(threadIdx.x / WAVE_SIZE)) * COLUMNS",
        "(uniform(threadIdx.x / WAVE_SIZE) ^ 1)) * COLUMNS + 1",
    ),
    text(
        FP8_PREFILL,
        "partitions not folded",
        "prefill_attention/prefill_attention_v4_mfma_fp8.hip",
        "fold_into(total, partial);",
        "total = partial;",
    ),
    text(
        REPACK,
        "one place for all sequences",
        REPACK_FILE,
        "(unsigned long)seq_idx * to.max_num_blocks",
        "0 * to.max_num_blocks",
    ),
    text(
        REPACK,
        "last token left out",
        REPACK_FILE,
        "position < seq_len;",
        "position + 1 < seq_len;",
    ),
    text(
        REPACK,
        "first token left out",
        REPACK_FILE,
        "position >= first &&",
        "position > first &&",
    ),
    text(
        REPACK,
        "the new slot in the old kv_block",
        REPACK_FILE,
        "Places::k(old_shape.padded(), slot, d)",
        "Places::k(old_shape.padded(), new_slot, d)",
    ),
    text(
        REPACK,
        "scales of keys for values",
        REPACK_FILE,
        "args.v_token_scales[old_scale]",
        "args.k_token_scales[old_scale]",
    ),
    text(
        PREFILL,
        "waves that share columns",
        "prefill_attention/prefill_attention_v2_mfma_direct.hip",
        "* NUM_WAVES + wave_idx) * COLUMNS",
        "* NUM_WAVES + (wave_idx & 2)) * COLUMNS",
    ),
    text(PING_PONG, "values not masked", LDS, "if (!is_whole) {", "if (false) {"),
    text(
        PING_PONG,
        "tables read past what is attended",
        LDS,
        "return min(max(position & -16, low & -16), high & -16);",
        "return position & -16;",
    ),
    text(
        PING_PONG,
        "block offset of 32 bits",
        LDS,
        "(block * args.num_kv_heads + kv_head) * ((unsigned long)args.block_size",
        "(unsigned)(block * args.num_kv_heads + kv_head) * (args.block_size",
    ),
    text(
        PING_PONG,
        "keys where they were not put",
        LDS,
        "place = Tile::key_place(slot);",
        "place = slot;",
    ),
    text(
        PING_PONG,
        "one partition for all",
        PING_PONG_FILE,
        "tile % PARTITION == 0 &&",
        "false &&",
    ),
    text(
        PING_PONG,
        "keys of the other tile",
        PING_PONG_FILE,
        "score(tiles[now ^ 1], wave)",
        "score(tiles[now], wave)",
    ),
    text(PING_PONG, "missing barrier", PING_PONG_FILE, "    __syncthreads();\n", ""),
    text(
        PING_PONG,
        "both groups at once",
        PING_PONG_FILE,
        "is_first_group ? 0 : -1",
        "is_first_group ? 0 : 0",
    ),
    text(
        PING_PONG,
        "dies that do the same",
        LDS,
        "die * each + min(die, more) + at",
        "die * each + at",
    ),
    text(
        PING_PONG,
        "waves that share columns",
        PING_PONG_FILE,
        "first_column + wave_idx * COLUMNS",
        "first_column + (wave_idx & 6) * COLUMNS",
    ),
    Mutant { variant: PING_PONG, name: "no waits", patch: Patch::NoWaits },
    text(
        LDS_PREFILL,
        "keys put where nobody looks",
        LDS,
        "TILE + Tile::key_place(lane)",
        "TILE + lane",
    ),
    text(
        LDS_PREFILL,
        "values taken before all have stored them",
        LDS_FILE,
        "(others.weigh(tile), ...);\n        __syncthreads();",
        "(others.weigh(tile), ...);",
    ),
    text(
        LDS_PREFILL,
        "values replaced before all have taken them",
        LDS_FILE,
        "        }\n        __syncthreads();\n    }",
        "        }\n    }",
    ),
    text(
        LDS_PREFILL,
        "one partition for all",
        LDS_FILE,
        "next_tile % PARTITION == 0 || tile",
        "tile",
    ),
    text(
        LDS_PREFILL,
        "a partition ends a tile late",
        LDS_FILE,
        "next_tile % PARTITION == 0",
        "tile % PARTITION == 0",
    ),
    text(
        LDS_PREFILL,
        "the same queries twice",
        LDS_FILE,
        "kv_head, column + COLUMNS, num_columns",
        "kv_head, column, num_columns",
    ),
    text(
        LDS_PREFILL,
        "the second queries masked as of the next tile",
        LDS_FILE,
        "(others.weigh(tile), ...);",
        "(others.weigh(tile + TILE), ...);",
    ),
    text(
        LDS_PREFILL,
        "a piece not copied",
        LDS,
        "piece(i) < NUM_PIECES",
        "piece(i) + 1 < NUM_PIECES",
    ),
    text(
        LDS_PREFILL,
        "values of the first lane's slots",
        LDS,
        "(piece(i) * WAVE_SIZE + lane) / HEAD_DIM",
        "piece(i) * WAVE_SIZE / HEAD_DIM",
    ),
    text(
        LDS_PREFILL,
        "the last query's own position left out",
        LDS,
        "before + (int)(last_column / heads)};",
        "before + (int)(last_column / heads) - 1};",
    ),
    text(
        LDS_PREFILL,
        "scales of the first tile's tokens",
        LDS,
        "places = wave.places(first);",
        "places = wave.places(0);",
    ),
    Mutant { variant: LDS_PREFILL, name: "no waits", patch: Patch::NoWaits },
    text(
        MERGE,
        "first partition skipped",
        "attention_merge/attention_merge_v1_in_order.hip",
        "int partition = place.first / PARTITION;",
        "int partition = place.first / PARTITION + 1;",
    ),
    text(
        MERGE,
        "last partition skipped",
        "attention_merge/attention_merge_v1_in_order.hip",
        "partition * PARTITION <= place.position",
        "(partition + 1) * PARTITION <= place.position",
    ),
    text(
        MERGE,
        "partitions not relative to one maximum",
        MFMA,
        "return fmaf(a, first, b * second);",
        "return fmaf(a, first, b);",
    ),
];
