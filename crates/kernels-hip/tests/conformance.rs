//! The backend against the oracle, and bit for bit against itself: the suite that every backend passes.
//!
//! Run with `--nocapture` to see each op's largest error. In the emulator the whole table takes minutes, so that the
//! independence of rows in f16, which is that of bf16 but for one instruction, waits for `KVASIR_LONG=1`.
#![forbid(unsafe_code)]

#[path = "support/device.rs"]
mod support;

use engine_core::device::{Device as _, KvCacheShape, OpError};
use engine_core::dtype::DType;
use engine_core::formats::Fp8Format;
use engine_core::kv_check::check_kv_format;
use engine_core::kv_dtype::KvDType;
use engine_core::kv_scales::KvScales;
use kernels_hip::variant::Choices;
use kernels_hip::{Error, KernelsHip};
use reference_cpu::conformance;

const DTYPES: [DType; 2] = [DType::BF16, DType::F16];

/// Formats of the cache beside weights of `dtype`.
fn kv_dtypes(dtype: DType) -> [KvDType; 3] {
    let fp8 = [Fp8Format::E4m3Fnuz, Fp8Format::E5m2Fnuz].map(KvDType::Fp8);
    [dtype.into(), fp8[0], fp8[1]]
}

fn backend(dtype: DType) -> Option<KernelsHip> {
    let (device, _) = support::device()?;
    let choices = Choices::new(&[], Box::new(|_| ())).unwrap();
    Some(KernelsHip::new(&device, dtype, choices).unwrap_or_else(|error| panic!("{error}")))
}

fn close_to_the_oracle(dtype: DType) {
    if backend(dtype).is_none() {
        return;
    }
    let reports = conformance::run(|| backend(dtype).unwrap(), &kv_dtypes(dtype))
        .unwrap_or_else(|failure| panic!("{dtype}: {failure}"));
    println!("{dtype}\n{}", conformance::Table(&reports));
}

#[test]
fn bf16_is_close_to_the_oracle() {
    close_to_the_oracle(DType::BF16);
}

#[test]
fn f16_is_close_to_the_oracle() {
    close_to_the_oracle(DType::F16);
}

fn rows_are_independent(dtype: DType) {
    let Some(backend) = backend(dtype) else { return };
    conformance::row_independence(&mut [backend], &kv_dtypes(dtype)[..2])
        .unwrap_or_else(|failure| panic!("{dtype}: {failure}"));
}

#[test]
fn bf16_rows_are_independent() {
    rows_are_independent(DType::BF16);
}

#[test]
fn f16_rows_are_independent() {
    if std::env::var_os("KVASIR_LONG").is_none() {
        return;
    }
    rows_are_independent(DType::F16);
}

#[test]
fn caches_hold_what_is_written_to_them() {
    for dtype in DTYPES {
        let Some(mut backend) = backend(dtype) else { return };
        for (kv_dtype, (block_size, num_kv_heads, head_dim)) in
            kv_dtypes(dtype).into_iter().zip([(16, 3, 64), (7, 1, 96), (128, 2, 128)])
        {
            let shape = KvCacheShape {
                num_layers: 2,
                num_blocks: 9,
                block_size,
                num_kv_heads,
                head_dim,
                dtype: kv_dtype,
            };
            if let Err(error) = check_kv_format(&mut backend, shape) {
                panic!("{dtype}, {kv_dtype}: {error}");
            }
        }
    }
}

#[test]
fn what_the_device_has_not_is_refused() {
    let Some((device, _)) = support::device() else { return };
    let choices = Choices::new(&[], Box::new(|_| ())).unwrap();
    let Err(error @ Error::ComputeDType { .. }) = KernelsHip::new(&device, DType::F32, choices)
    else {
        panic!("f32 is no format of matrix inputs");
    };
    assert!(error.to_string().contains("bfloat16 or float16"), "{error}");
    let mut backend = backend(DType::BF16).unwrap();
    let shape = KvCacheShape {
        num_layers: 1,
        num_blocks: 2,
        block_size: 16,
        num_kv_heads: 1,
        head_dim: 64,
        dtype: DType::BF16.into(),
    };
    for shape in [
        KvCacheShape { dtype: DType::F32.into(), ..shape },
        KvCacheShape { dtype: DType::F16.into(), ..shape },
        KvCacheShape { dtype: KvDType::Fp8(Fp8Format::E4m3), ..shape },
        KvCacheShape { head_dim: 40, ..shape },
    ] {
        let refused = backend.alloc_kv_cache(shape, &KvScales::ones(1, 1)).err();
        assert!(matches!(refused, Some(OpError::Unsupported { .. })), "{shape:?}: {refused:?}");
    }
    let huge = KvCacheShape { num_blocks: 1 << 40, ..shape };
    let refused = backend.alloc_kv_cache(huge, &KvScales::ones(1, 1)).err();
    assert!(matches!(refused, Some(OpError::OutOfMemory { .. })), "{refused:?}");
}

#[test]
fn the_numerics_id_says_how_sums_are_made() {
    let Some(backend) = backend(DType::F16) else { return };
    let id = backend.numerics_id();
    for part in ["kernels-hip", "gfx942", "float16", "gemm: mfma 16x16x16", "paged_attention: "] {
        assert!(id.contains(part), "{id}");
    }
}
