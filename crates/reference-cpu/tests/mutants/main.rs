//! The suite sees: backends with one defect each, and the check that has to catch it.

mod attention;
mod backend;

use engine_core::device::KvCacheShape;
use engine_core::dtype::DType;
use engine_core::formats::Fp8Format;
use engine_core::kv_check::{KvCheckError, check_kv_format};
use engine_core::kv_dtype::KvDType;
use mutation::KillRate;
use reference_cpu::conformance::{self, Failure};

use backend::{Defect, Mutant};

/// The bounded check of one op, with the compute dtype and the KV formats it is run in.
fn bounded(op: &str, make: impl Fn() -> Mutant, kv_dtypes: &[KvDType]) -> Result<(), Failure> {
    let backend = make();
    let report = match op {
        "embed" => conformance::embed(backend),
        "linear" => conformance::linear(backend),
        "rms_norm" => conformance::rms_norm(backend),
        "head_norm" => conformance::head_norm(backend),
        "rope_angles" => conformance::rope_angles(backend),
        "rope" => conformance::rope(backend),
        "kv_write" => conformance::kv_write(backend, kv_dtypes),
        "attention" => conformance::attention(backend, kv_dtypes),
        "silu_mul" => conformance::silu_mul(backend),
        "kv_blocks" => conformance::kv_blocks(backend, kv_dtypes),
        "kv_run" => conformance::kv_run(backend, kv_dtypes),
        _ => panic!("{op} is no op"),
    };
    report.map(drop)
}

/// Every defect, the dtype in which it is looked for, and the op whose bounded check catches it.
const BOUNDED: &[(Defect, DType, &str)] = &[
    (Defect::WeightTruncated, DType::BF16, "embed"),
    (Defect::LastPartLost, DType::F32, "linear"),
    (Defect::OneElementOff, DType::F32, "linear"),
    (Defect::LastRowMissing, DType::F32, "linear"),
    (Defect::RowTooMany, DType::F32, "linear"),
    (Defect::OddTailDropped, DType::BF16, "linear"),
    (Defect::BiasIgnored, DType::BF16, "linear"),
    (Defect::AddStores, DType::BF16, "linear"),
    (Defect::ProductRounded, DType::BF16, "linear"),
    (Defect::OneElementOff, DType::F32, "rms_norm"),
    (Defect::EpsIgnored, DType::BF16, "rms_norm"),
    (Defect::RowsIgnored, DType::F32, "rms_norm"),
    (Defect::LastRowMissing, DType::F16, "rms_norm"),
    (Defect::ActUnrounded, DType::BF16, "rms_norm"),
    (Defect::ActTruncated, DType::BF16, "rms_norm"),
    (Defect::EpsIgnored, DType::F32, "head_norm"),
    (Defect::FirstColIgnored, DType::F32, "head_norm"),
    (Defect::AngleInF64, DType::F32, "rope_angles"),
    (Defect::AttentionFactorIgnored, DType::F32, "rope_angles"),
    (Defect::SineFlipped, DType::F32, "rope"),
    (Defect::FirstColIgnored, DType::F32, "rope"),
    (Defect::LastRowMissing, DType::F32, "rope"),
    (Defect::MinusOneWritten, DType::F32, "kv_write"),
    (Defect::KvUnrounded, DType::F32, "kv_write"),
    (Defect::LayerIgnored, DType::F32, "kv_write"),
    (Defect::KeysAndValuesSwapped, DType::F32, "kv_write"),
    (Defect::OneElementOff, DType::F32, "attention"),
    (Defect::LastRowMissing, DType::BF16, "attention"),
    (Defect::WrongKvHead, DType::BF16, "attention"),
    (Defect::WindowOneLess, DType::BF16, "attention"),
    (Defect::WindowOneMore, DType::BF16, "attention"),
    (Defect::WindowIgnored, DType::BF16, "attention"),
    (Defect::SelfUnseen, DType::BF16, "attention"),
    (Defect::FutureSeen, DType::BF16, "attention"),
    (Defect::ScaleIgnored, DType::BF16, "attention"),
    (Defect::BlockTableIgnored, DType::BF16, "attention"),
    (Defect::MaskedTimesZero, DType::BF16, "attention"),
    (Defect::MaximumIgnored, DType::BF16, "attention"),
    (Defect::QueryUnrounded, DType::F32, "attention"),
    (Defect::ProbabilitiesRounded, DType::F32, "attention"),
    (Defect::ActTruncated, DType::BF16, "silu_mul"),
    (Defect::OneElementOff, DType::F32, "silu_mul"),
    (Defect::GateAndUpSwapped, DType::BF16, "silu_mul"),
    (Defect::LastLayerNotCopied, DType::F32, "kv_blocks"),
    (Defect::BlockOrderIgnored, DType::F32, "kv_blocks"),
    (Defect::CopiedAsNumbers, DType::F32, "kv_blocks"),
    (Defect::BlocksUnchecked, DType::F32, "kv_blocks"),
    (Defect::RunFromBlockStart, DType::F32, "kv_run"),
    (Defect::RunByToken, DType::F32, "kv_run"),
    (Defect::RunOfWholeBlocks, DType::F32, "kv_run"),
    (Defect::RunUnchecked, DType::F32, "kv_run"),
];

/// Defects that an FP8 cache alone shows, and the op whose bounded check catches each.
const FP8: &[(Defect, &str)] = &[
    (Defect::OtherFlavour, "kv_write"),
    (Defect::OtherFlavour, "attention"),
    (Defect::NotSaturated, "kv_write"),
    (Defect::StoredUnscaled, "kv_write"),
    (Defect::StoredUnscaled, "attention"),
    (Defect::KeyScaleIgnored, "attention"),
    (Defect::ValueScaleIgnored, "attention"),
    (Defect::KeyScaleDoubled, "attention"),
    (Defect::KeyAndValueScalesSwapped, "attention"),
    (Defect::ScalesOfNextHead, "attention"),
    (Defect::ScalesOfFirstHead, "attention"),
];

/// Defects within every bound, which only the comparison of bits sees, and the op that has them.
const EXACT: &[(Defect, &str)] = &[
    (Defect::SumOrderByBatch, "linear"),
    (Defect::ScaledByBatch, "rms_norm"),
    (Defect::KeysFromChunk, "attention"),
    (Defect::SumsByBlock, "attention"),
];

#[test]
fn no_defect_passes_for_none() {
    for dtype in [DType::F32, DType::BF16] {
        let make = || Mutant::new(Defect::None, dtype);
        if let Err(failure) =
            conformance::run(make, &[DType::BF16.into(), KvDType::Fp8(Fp8Format::E4m3)])
        {
            panic!("{failure}");
        }
    }
}

#[test]
fn the_bounded_check_catches_each_defect_in_its_op() {
    let mut kill_rate = KillRate::default();
    for &(defect, dtype, op) in BOUNDED {
        let make = || Mutant::new(defect, dtype);
        let what = format!("{defect:?} of {op} in {dtype}");
        match bounded(op, make, &[DType::F32.into(), DType::BF16.into()]) {
            Err(failure) => kill_rate.killed(what, failure),
            Ok(()) => kill_rate.survived(what, "the bounded check passed"),
        }
    }
    kill_rate.require_all();
}

#[test]
fn each_fp8_format_shows_its_defects() {
    let mut kill_rate = KillRate::default();
    for format in Fp8Format::ALL {
        for &(defect, op) in FP8 {
            for dtype in [DType::F32, DType::BF16] {
                let make = || Mutant::new(defect, dtype);
                let what = format!("{defect:?} of {op} in {format:?} and {dtype}");
                match bounded(op, make, &[KvDType::Fp8(format)]) {
                    Err(failure) => kill_rate.killed(what, failure),
                    Ok(()) => kill_rate.survived(what, "the bounded check passed"),
                }
            }
        }
    }
    kill_rate.require_all();
}

#[test]
fn the_bitwise_check_catches_what_bounds_allow() {
    let mut kill_rate = KillRate::default();
    for &(defect, op) in EXACT {
        let make = || Mutant::new(defect, DType::F32);
        if let Err(failure) = bounded(op, make, &[DType::F32.into()]) {
            panic!("{defect:?} was meant to stay within the bounds: {failure}");
        }
        match conformance::row_independence(&mut [make()], &[DType::F32.into()]) {
            Err(failure @ Failure::Dependent { op: found, .. }) if found == op => {
                kill_rate.killed(format!("{defect:?} of {op}"), failure);
            }
            other => kill_rate.survived(format!("{defect:?} of {op}"), format!("{other:?}")),
        }
    }
    kill_rate.require_all();
}

#[test]
fn backends_that_disagree_within_bounds_are_caught() {
    let mut backends =
        [Mutant::new(Defect::None, DType::F32), Mutant::new(Defect::SumsInF32, DType::F32)];
    let result = conformance::row_independence(&mut backends, &[DType::F32.into()]);
    let Err(Failure::Dependent { op: "linear", case, .. }) = result else {
        panic!("two sums of one numerics id passed: {result:?}");
    };
    assert!(case.contains("backend 1"), "{case}");
}

#[test]
fn the_check_at_start_up_passes_sound_backends_and_sees_broken_ones() {
    let shape = |dtype| KvCacheShape {
        num_layers: 30,
        num_blocks: 1000,
        block_size: 16,
        num_kv_heads: 3,
        head_dim: 64,
        dtype,
    };
    for compute_dtype in [DType::F32, DType::F16, DType::BF16] {
        for dtype in KvDType::ALL {
            check_kv_format(&mut Mutant::new(Defect::None, compute_dtype), shape(dtype))
                .unwrap_or_else(|error| panic!("{compute_dtype}: {error}"));
        }
    }
    let defects = FP8.iter().map(|(defect, _)| *defect);
    for defect in defects.chain([Defect::KeysAndValuesSwapped, Defect::SelfUnseen]) {
        for dtype in Fp8Format::ALL.map(KvDType::Fp8) {
            let checked = check_kv_format(&mut Mutant::new(defect, DType::BF16), shape(dtype));
            match checked {
                Err(KvCheckError::Wrong { .. }) => {}
                other => panic!("{defect:?} in {dtype}: {other:?}"),
            }
        }
    }
}
