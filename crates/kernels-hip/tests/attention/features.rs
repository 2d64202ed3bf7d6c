//! Each feature, format and fixture alone and together.

use engine_core::dtype::DType;
use engine_core::formats::Fp8Format;
use engine_core::kv_dtype::KvDType;

use crate::bench::{Fixture, Problem};
use crate::support::device;
use crate::variants::check_all;

/// Every pair of formats that is served.
pub const FORMATS: [(DType, KvDType); 6] = [
    (DType::BF16, KvDType::Float(DType::BF16)),
    (DType::F16, KvDType::Float(DType::F16)),
    (DType::BF16, KvDType::Fp8(Fp8Format::E4m3Fnuz)),
    (DType::BF16, KvDType::Fp8(Fp8Format::E5m2Fnuz)),
    (DType::F16, KvDType::Fp8(Fp8Format::E4m3Fnuz)),
    (DType::F16, KvDType::Fp8(Fp8Format::E5m2Fnuz)),
];

pub const FIXTURES: [Fixture; 4] =
    [Fixture::Normal, Fixture::Peaked, Fixture::Needle, Fixture::Fingerprint];

#[test]
fn every_format_and_fixture() {
    let Some((device, stream)) = device() else { return };
    for (q_dtype, kv_dtype) in FORMATS {
        for fixture in FIXTURES {
            let seqs = [(1, 70), (2, 5), (0, 9), (1, 1), (3, 33)];
            let problem = Problem { q_dtype, kv_dtype, fixture, ..Problem::new(&seqs) };
            assert!(check_all((&device, &stream), &problem) > 0);
        }
    }
}

#[test]
fn every_head_size() {
    let Some((device, stream)) = device() else { return };
    for (q_dtype, kv_dtype) in FORMATS {
        for head_dim in [16, 48, 64, 80, 96, 128, 192, 256] {
            let seqs = [(1, 77), (2, 20)];
            let problem = Problem { q_dtype, kv_dtype, head_dim, ..Problem::new(&seqs) };
            assert!(check_all((&device, &stream), &problem) > 0);
        }
    }
}

#[test]
fn every_feature() {
    let Some((device, stream)) = device() else { return };
    let seqs = [(1, 90), (4, 40), (1, 3)];
    let plain = Problem::new(&seqs);
    let fp8 = KvDType::Fp8(Fp8Format::E4m3Fnuz);
    let problems = [
        Problem { window: Some(1), ..plain.clone() },
        Problem { window: Some(33), ..plain.clone() },
        Problem { window: Some(1000), ..plain.clone() },
        Problem { soft_cap: Some(1.5), ..plain.clone() },
        Problem { soft_cap: Some(50.0), fixture: Fixture::Peaked, ..plain.clone() },
        Problem { alibi: true, ..plain.clone() },
        Problem { sinks: true, ..plain.clone() },
        Problem { sinks: true, fixture: Fixture::Peaked, ..plain.clone() },
        Problem { token_scales: true, kv_dtype: fp8, ..plain.clone() },
        Problem {
            window: Some(17),
            soft_cap: Some(2.0),
            alibi: true,
            sinks: true,
            token_scales: true,
            kv_dtype: fp8,
            q_dtype: DType::F16,
            ..plain.clone()
        },
    ];
    for problem in problems {
        assert!(check_all((&device, &stream), &problem) > 0);
    }
}
