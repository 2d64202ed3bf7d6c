//! The CPU kernels at SmolLM2's shapes, per ISA path: FLOP/s of dense layers and attention, bytes/s
//! of the one-row layer that decoding is bound by. `cargo bench --bench ops`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engine_core::batch::Batch;
use engine_core::checkpoint::RowSource;
use engine_core::device::{Device, KvCacheShape};
use engine_core::dtype::DType;
use engine_core::formats::Fp8Format;
use engine_core::kv_dtype::KvDType;
use engine_core::kv_scales::KvScales;
use engine_core::ops::{Attention, Cols, KvWrite, Linear, Ops, Out};
use kernels_cpu::{CpuIsa, KernelsCpu};

const HEAD_DIM: usize = 64;
const NUM_QO_HEADS: usize = 9;
const NUM_KV_HEADS: usize = 3;
const BLOCK_SIZE: usize = 16;

/// A matrix of small numbers that differ.
struct Pattern {
    rows: usize,
    cols: usize,
}

impl RowSource for Pattern {
    fn num_rows(&self) -> usize {
        self.rows
    }
    fn num_cols(&self) -> usize {
        self.cols
    }
    fn read_row(&self, row: usize, out: &mut [f32]) {
        out.iter_mut().enumerate().for_each(|(col, x)| *x = wave(row * 31 + col));
    }
}

fn wave(i: usize) -> f32 {
    (i * 2_654_435_761 % 4096) as f32 / 4096.0 - 0.5
}

fn backends() -> impl Iterator<Item = (String, KernelsCpu)> {
    let paths = CpuIsa::ALL.into_iter().filter(|isa| isa.is_available());
    let pairs = paths.flat_map(|isa| [DType::BF16, DType::F32].map(|dtype| (isa, dtype)));
    pairs.map(|(isa, dtype)| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let backend = KernelsCpu::new(isa, dtype, threads).expect("the path is available");
        (format!("{}/{dtype}", isa.name()), backend)
    })
}

/// Each path and dtype with a cache of its own format and with FP8.
fn attention_backends() -> impl Iterator<Item = (String, KvDType, KernelsCpu)> {
    let fp8 = KvDType::Fp8(Fp8Format::E4m3);
    let own = backends().map(|(path, ops)| (path, ops.compute_dtype().into(), ops));
    own.chain(backends().map(move |(path, ops)| (format!("{path}, {fp8} cache"), fp8, ops)))
}

fn dense_layers(criterion: &mut Criterion) {
    for (out_features, in_features) in [(3072, 576), (576, 1536)] {
        for num_rows in [1, 32, 512] {
            let name = format!("linear {num_rows}x{in_features} · {in_features}x{out_features}");
            let mut group = criterion.benchmark_group(name);
            let multiply_adds = num_rows * out_features * in_features;
            group.throughput(Throughput::Elements(2 * multiply_adds as u64));
            for (path, mut ops) in backends() {
                let source = Pattern { rows: out_features, cols: in_features };
                let weight = ops.load_matrix(&[&source]).expect("there is memory");
                let data: Vec<_> = (0..num_rows * in_features).map(wave).collect();
                let mut x = ops.alloc_act(data.len()).expect("there is memory");
                ops.write_act(&data, &mut x).expect("it fits");
                let mut out = ops.alloc(num_rows * out_features).expect("there is memory");
                group.bench_function(BenchmarkId::from_parameter(path), |bencher| {
                    bencher.iter(|| {
                        let (x, weight, out) = (&x, &weight, Out::Store(&mut out));
                        ops.linear(Linear { x, weight, bias: None, num_rows, out })
                            .expect("shapes fit");
                    });
                });
            }
        }
    }
}

/// One sequence whose last `num_rows` of `seq_len` tokens are computed.
fn one_sequence(num_rows: usize, seq_len: usize) -> Batch {
    let positions = seq_len - num_rows..seq_len;
    Batch {
        token_ids: vec![0; num_rows],
        positions: positions.clone().map(|p| p as u32).collect(),
        slot_mapping: positions.map(|p| p as i64).collect(),
        cu_seqlens_q: vec![0, num_rows as u32],
        seq_lens: vec![seq_len as u32],
        block_tables: (0..seq_len.div_ceil(BLOCK_SIZE) as u32).collect(),
        max_num_blocks: seq_len.div_ceil(BLOCK_SIZE),
    }
}

fn attention(criterion: &mut Criterion) {
    for (num_rows, seq_len) in [(1, 512), (1, 8192), (512, 512), (512, 8192)] {
        let mut group = criterion.benchmark_group(format!("attention {num_rows} of {seq_len}"));
        let attended = num_rows * (2 * seq_len - num_rows + 1) / 2;
        group.throughput(Throughput::Elements((4 * NUM_QO_HEADS * HEAD_DIM * attended) as u64));
        for (path, kv_dtype, mut ops) in attention_backends() {
            let stride = (NUM_QO_HEADS + 2 * NUM_KV_HEADS) * HEAD_DIM;
            let shape = KvCacheShape {
                num_layers: 1,
                num_blocks: seq_len.div_ceil(BLOCK_SIZE),
                block_size: BLOCK_SIZE,
                num_kv_heads: NUM_KV_HEADS,
                head_dim: HEAD_DIM,
                dtype: kv_dtype,
            };
            let scales = KvScales::ones(1, NUM_KV_HEADS);
            let mut kv_cache = ops.alloc_kv_cache(shape, &scales).expect("there is memory");
            let mut qkv = ops.alloc(seq_len * stride).expect("there is memory");
            let data: Vec<_> = (0..seq_len * stride).map(wave).collect();
            ops.write_f32(&data, &mut qkv).expect("it fits");
            let cols = |head: usize| Cols { buffer: &qkv, first_col: head * HEAD_DIM, stride };
            let mut batch = Batch::default();
            ops.upload_batch(&one_sequence(seq_len, seq_len), &mut batch).expect("it is sound");
            let (k, v) = (cols(NUM_QO_HEADS), cols(NUM_QO_HEADS + NUM_KV_HEADS));
            ops.kv_write(KvWrite { batch: &batch, k, v, kv_cache: &mut kv_cache, layer_idx: 0 })
                .expect("shapes fit");
            ops.upload_batch(&one_sequence(num_rows, seq_len), &mut batch).expect("it is sound");
            let mut out =
                ops.alloc_act(num_rows * NUM_QO_HEADS * HEAD_DIM).expect("there is memory");
            group.bench_function(BenchmarkId::from_parameter(path), |bencher| {
                bencher.iter(|| {
                    ops.attention(Attention {
                        batch: &batch,
                        q: cols(0),
                        kv_cache: &kv_cache,
                        layer_idx: 0,
                        num_qo_heads: NUM_QO_HEADS,
                        scale: 0.125,
                        window: None,
                        out: &mut out,
                    })
                    .expect("shapes fit");
                });
            });
        }
    }
}

criterion_group!(benches, dense_layers, attention);
criterion_main!(benches);
