//! Every ISA path and compute dtype against the oracle, and bit for bit against itself.
//!
//! Run with `--nocapture` to see each op's largest error in ULPs.

use engine_core::dtype::DType;
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
        let reports = conformance::run(|| backend(isa, dtype, 2), &DTYPES)
            .unwrap_or_else(|failure| panic!("{} {dtype}: {failure}", isa.name()));
        println!("{} {dtype}\n{}", isa.name(), conformance::Table(&reports));
    }
}

fn rows_are_independent(isa: CpuIsa) {
    let Some(isa) = available(isa) else { return };
    for dtype in DTYPES {
        let mut backends = [backend(isa, dtype, 1), backend(isa, dtype, 3)];
        conformance::row_independence(&mut backends, &[dtype])
            .unwrap_or_else(|failure| panic!("{} {dtype}: {failure}", isa.name()));
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
            fn has_independent_rows() {
                rows_are_independent($isa);
            }
        }
    )*};
}

paths!(avx512: CpuIsa::Avx512, avx2: CpuIsa::Avx2, portable: CpuIsa::Portable);
