//! What it costs that a row's bits depend on that row alone: our dense layer, whose sums have one
//! order for any number of rows, beside a library that chooses blocks, and with them the order, by
//! shape and threads (the `gemm` crate, built with AVX-512). Float32, all cores, SmolLM2's shapes;
//! only the ratio in one run counts. `cargo bench -p kernels-cpu --bench fixed_order`.
//!
//! Before it measures, it shows that the two differ in what the bench is about: the first row is
//! computed alone and among 512, and the elements whose bits changed are counted.
//!
//! Measured on a Xeon with AVX-512, 2 threads, nothing else running, ours over the library's time:
//! 0.35, 0.23, 0.64 and 0.99 for 1, 8, 64 and 512 rows of 576x3072, and 0.25, 0.06, 0.29 and 0.76 of
//! 1536x576. Our weights are packed at load and the library's are not; a fixed order costs nothing
//! that this could show. 2,495 of 3,072 and 481 of 576 elements of the library's changed.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engine_core::checkpoint::RowSource;
use engine_core::device::Device;
use engine_core::dtype::DType;
use engine_core::ops::{Linear, Ops, Out};
use gemm::Parallelism;
use kernels_cpu::{CpuIsa, KernelsCpu};

/// Output and input features of SmolLM2-135M's up-and-gate and down projections.
const LAYERS: [(usize, usize); 2] = [(3072, 576), (576, 1536)];
const NUM_ROWS: [usize; 4] = [1, 8, 64, 512];

/// `[out_features, in_features]`, row-major.
struct Weight<'a> {
    data: &'a [f32],
    in_features: usize,
}

impl RowSource for Weight<'_> {
    fn num_rows(&self) -> usize {
        self.data.len() / self.in_features
    }
    fn num_cols(&self) -> usize {
        self.in_features
    }
    fn read_row(&self, row: usize, out: &mut [f32]) {
        out.copy_from_slice(&self.data[row * self.in_features..][..self.in_features]);
    }
}

/// Numbers whose sums round.
fn noise(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i * 2_654_435_761 % 4099) as f32 / 4099.0 - 0.5).collect()
}

/// One dense layer, both ways.
struct Layer {
    ops: KernelsCpu,
    matrix: <KernelsCpu as Ops>::Matrix,
    weight: Vec<f32>,
    x: Vec<f32>,
    x_device: <KernelsCpu as Device>::Buffer,
    out_device: <KernelsCpu as Device>::Buffer,
    out: Vec<f32>,
    out_features: usize,
    in_features: usize,
    threads: usize,
}

impl Layer {
    fn new(out_features: usize, in_features: usize, max_num_rows: usize) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut ops =
            KernelsCpu::new(CpuIsa::detect(), DType::F32, threads).expect("the path is available");
        let weight = noise(out_features * in_features);
        let source = Weight { data: &weight, in_features };
        let matrix = ops.load_matrix(&[&source]).expect("there is memory");
        let x = noise(max_num_rows * in_features);
        let mut x_device = ops.alloc_act(x.len()).expect("there is memory");
        ops.write_act(&x, &mut x_device).expect("it fits");
        let out = vec![0.0; max_num_rows * out_features];
        let out_device = ops.alloc(out.len()).expect("there is memory");
        Layer {
            ops,
            matrix,
            weight,
            x,
            x_device,
            out_device,
            out,
            out_features,
            in_features,
            threads,
        }
    }

    fn fixed(&mut self, num_rows: usize) {
        let Layer { ops, matrix: weight, x_device: x, out_device, .. } = self;
        let out = Out::Store(out_device);
        ops.linear(Linear { x, weight, bias: None, num_rows, out }).expect("shapes fit");
    }

    fn free(&mut self, num_rows: usize) {
        let (n, k) = (self.out_features, self.in_features);
        let (x, weight) = (&self.x[..num_rows * k], &self.weight[..n * k]);
        let out = &mut self.out[..num_rows * n];
        // SAFETY: the slices above are as long as rows and strides say: `out` and `x` are row-major
        // with `num_rows` rows, and `weight`, `[n, k]` row-major, is read as its transpose.
        unsafe {
            gemm::gemm(
                num_rows,
                n,
                k,
                out.as_mut_ptr(),
                1,
                n as isize,
                false,
                x.as_ptr(),
                1,
                k as isize,
                weight.as_ptr(),
                k as isize,
                1,
                0.0,
                1.0,
                false,
                false,
                false,
                Parallelism::Rayon(self.threads),
            );
        }
    }

    /// The first row of the product as bits, ours and the library's.
    fn first_rows(&mut self, num_rows: usize) -> [Vec<u32>; 2] {
        let mut fixed = vec![0.0; self.out_features];
        self.fixed(num_rows);
        self.ops.read_f32(&self.out_device, &mut fixed).expect("it fits");
        self.free(num_rows);
        let free = &self.out[..self.out_features];
        [&fixed[..], free].map(|row| row.iter().map(|x| x.to_bits()).collect())
    }
}

fn num_different(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).filter(|(a, b)| a != b).count()
}

fn fixed_and_free(criterion: &mut Criterion) {
    let max_num_rows = NUM_ROWS[NUM_ROWS.len() - 1];
    for (out_features, in_features) in LAYERS {
        let mut layer = Layer::new(out_features, in_features, max_num_rows);
        let [alone, among] = [layer.first_rows(1), layer.first_rows(max_num_rows)];
        let [fixed, free] = [0, 1].map(|way| num_different(&alone[way], &among[way]));
        assert_eq!(fixed, 0, "the order of our sums depends on the number of rows");
        println!(
            "{in_features}x{out_features}: row 0 alone and among {max_num_rows}: {fixed} of \
             {out_features} elements differ with the fixed order, {free} with the free one"
        );
        for num_rows in NUM_ROWS {
            let name = format!("linear {num_rows}x{in_features} · {in_features}x{out_features}");
            let mut group = criterion.benchmark_group(name);
            let multiply_adds = num_rows * out_features * in_features;
            group.throughput(Throughput::Elements(2 * multiply_adds as u64));
            group.bench_function(BenchmarkId::from_parameter("fixed order"), |bencher| {
                bencher.iter(|| layer.fixed(num_rows));
            });
            group.bench_function(BenchmarkId::from_parameter("free order"), |bencher| {
                bencher.iter(|| layer.free(num_rows));
            });
        }
    }
}

criterion_group!(benches, fixed_and_free);
criterion_main!(benches);
