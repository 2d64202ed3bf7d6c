//! The oracle as a backend passes its own suite: arguments, formats, bands and threads are right.

use std::num::NonZeroUsize;

use engine_core::dtype::DType;
use engine_core::formats::Fp8Format;
use engine_core::kv_dtype::KvDType;
use reference_cpu::ReferenceCpu;
use reference_cpu::conformance::{self, Table};

fn with_threads(dtype: DType, num_threads: usize) -> ReferenceCpu {
    ReferenceCpu::with_threads(dtype, NonZeroUsize::new(num_threads).expect("not 0"))
}

fn conforms(dtype: DType) {
    match conformance::run(|| with_threads(dtype, 2), &KvDType::ALL) {
        Ok(reports) => println!("{dtype}\n{}", Table(&reports)),
        Err(failure) => panic!("{failure}"),
    }
}

fn is_independent(dtype: DType) {
    let mut backends = [1, 2, 3].map(|num_threads| with_threads(dtype, num_threads));
    if let Err(failure) =
        conformance::row_independence(&mut backends, &[dtype.into(), KvDType::Fp8(Fp8Format::E4m3)])
    {
        panic!("{failure}");
    }
}

#[test]
fn float32_conforms() {
    conforms(DType::F32);
}

#[test]
fn float16_conforms() {
    conforms(DType::F16);
}

#[test]
fn bfloat16_conforms() {
    conforms(DType::BF16);
}

#[test]
fn float32_rows_are_independent() {
    is_independent(DType::F32);
}

#[test]
fn float16_rows_are_independent() {
    is_independent(DType::F16);
}

#[test]
fn bfloat16_rows_are_independent() {
    is_independent(DType::BF16);
}

#[test]
fn backends_with_other_numerics_are_not_compared() {
    let mut backends = [with_threads(DType::F32, 1), with_threads(DType::F16, 1)];
    let result = conformance::row_independence(&mut backends, &[DType::F32.into()]);
    assert!(matches!(result, Err(conformance::Failure::NumericsId { .. })), "{result:?}");
}
