//! Every ISA path and compute dtype against the oracle, and bit for bit against itself.
//!
//! Run with `--nocapture` to see each op's largest error in ULPs.

use engine_core::device::KvCacheShape;
use engine_core::dtype::DType;
use engine_core::formats::Fp8Format;
use engine_core::kv_check::check_kv_format;
use engine_core::kv_dtype::KvDType;
use kernels_cpu::{CpuIsa, KernelsCpu};
use reference_cpu::conformance;

const DTYPES: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

fn backend(isa: CpuIsa, dtype: DType, num_threads: usize) -> KernelsCpu {
    KernelsCpu::new(isa, dtype, num_threads).expect("the path is available")
}

/// The path, unless this machine lacks it.
fn available(isa: CpuIsa) -> Option<CpuIsa> {
    let found = isa.require();
    if let Err(error) = found {
        println!("skipped: {error}");
    }
    found.ok()
}

fn close_to_the_oracle(isa: CpuIsa) {
    let Some(isa) = available(isa) else { return };
    for dtype in DTYPES {
        let reports = conformance::run(|| backend(isa, dtype, 2), &KvDType::ALL)
            .unwrap_or_else(|failure| panic!("{} {dtype}: {failure}", isa.name()));
        println!("{} {dtype}\n{}", isa.name(), conformance::Table(&reports));
    }
}

fn rows_are_independent(isa: CpuIsa) {
    let Some(isa) = available(isa) else { return };
    for dtype in DTYPES {
        let fp8 = [Fp8Format::E4m3, Fp8Format::E5m2Fnuz].map(KvDType::Fp8);
        let kv_dtypes = [dtype.into(), fp8[0], fp8[1]];
        let mut backends = [backend(isa, dtype, 1), backend(isa, dtype, 3)];
        conformance::row_independence(&mut backends, &kv_dtypes)
            .unwrap_or_else(|failure| panic!("{} {dtype}: {failure}", isa.name()));
    }
}

/// Blocks that hold a part of a tile's panel, one, several; heads of an odd number of panels.
fn passes_the_check_at_start_up(isa: CpuIsa) {
    let Some(isa) = available(isa) else { return };
    for (dtype, kv_dtype) in DTYPES.iter().flat_map(|d| KvDType::ALL.map(|kv_dtype| (*d, kv_dtype)))
    {
        for (block_size, num_kv_heads, head_dim) in [(16, 3, 64), (7, 1, 80), (128, 2, 128)] {
            let shape = KvCacheShape {
                num_layers: 2,
                num_blocks: 9,
                block_size,
                num_kv_heads,
                head_dim,
                dtype: kv_dtype,
            };
            if let Err(error) = check_kv_format(&mut backend(isa, dtype, 2), shape) {
                panic!("{} {dtype}, blocks of {block_size}: {error}", isa.name());
            }
        }
    }
}

macro_rules! paths {
    ($($module:ident: $isa:expr),*) => {$(
        mod $module {
            use super::*;

            #[test]
            fn is_close_to_the_oracle() {
                close_to_the_oracle($isa);
            }

            #[test]
            fn passes_the_check() {
                passes_the_check_at_start_up($isa);
            }

            #[test]
            fn has_independent_rows() {
                rows_are_independent($isa);
            }
        }
    )*};
}

paths!(avx512: CpuIsa::Avx512, avx2: CpuIsa::Avx2, portable: CpuIsa::Portable);
