//! An engine with an 8-bit KV cache: what it is started with, and scales measured on texts.

use std::path::PathBuf;

use engine::{
    Backend, CalibrateProgress, DType, Fp8Flavour, KvCacheDType, Llm, LlmBuilder, SamplingParams,
};

fn builder(family: &str) -> LlmBuilder {
    let families = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/families");
    Llm::builder(families.join(family)).max_model_len(128)
}

fn texts() -> Vec<Vec<u32>> {
    (0..3).map(|text| (0..70).map(|i| (i * 37 + text * 11 + i * i) % 97).collect()).collect()
}

fn answer(llm: &mut Llm) -> Vec<u32> {
    let params = SamplingParams {
        max_tokens: 12,
        temperature: 0.0,
        ignore_eos: true,
        ..SamplingParams::default()
    };
    let outputs = llm.generate(&[vec![3_u32, 14, 15, 9, 2, 6]], &params).unwrap();
    outputs[0].outputs[0].token_ids.clone()
}

#[test]
fn every_format_flavour_and_backend_answers() {
    for backend in [Backend::Cpu, Backend::Reference] {
        for dtype in [DType::F32, DType::BF16] {
            for name in KvCacheDType::NAMES {
                for flavour in [Fp8Flavour::Ocp, Fp8Flavour::Fnuz] {
                    let kv_cache_dtype: KvCacheDType = name.parse().unwrap();
                    let builder = builder("llama").backend(backend).dtype(dtype);
                    let builder = builder.kv_cache_dtype(kv_cache_dtype).fp8_flavour(flavour);
                    let mut llm = builder.build().unwrap();
                    assert_eq!(answer(&mut llm).len(), 12, "{name} {flavour:?}");
                    assert_eq!(llm.warnings().len(), usize::from(name.starts_with("fp8")));
                }
            }
        }
    }
}

#[test]
fn the_numerics_id_tells_formats_flavours_and_scales_apart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scales.safetensors");
    let model = engine::weights::open(&builder_path("llama")).unwrap();
    let calibration = builder("llama").calibrate(&texts(), &mut |_| {}).unwrap();
    engine::write_kv_scales(&model, &calibration.scales, &file).unwrap();
    let fp8 = || builder("llama").kv_cache_dtype(KvCacheDType::Fp8E4m3);
    let builders = [
        builder("llama"),
        builder("llama").kv_cache_dtype(DType::F16),
        builder("llama").kv_cache_dtype(KvCacheDType::Fp8E5m2),
        fp8(),
        fp8().fp8_flavour(Fp8Flavour::Fnuz),
        fp8().kv_cache_scales(&file),
        fp8().kv_cache_scales(&file).fp8_flavour(Fp8Flavour::Fnuz),
    ];
    let mut ids: Vec<String> =
        builders.map(|builder| builder.build().unwrap().numerics_id()).to_vec();
    // OCP is the CPU's flavour.
    assert_eq!(fp8().fp8_flavour(Fp8Flavour::Ocp).build().unwrap().numerics_id(), ids[3]);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 7, "{ids:?}");
}

fn builder_path(family: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/families").join(family)
}

#[test]
fn calibration_measures_the_texts_and_nothing_else() {
    for family in ["llama", "qwen3", "mistral_sliding"] {
        let measured = |texts: &[Vec<u32>], backend: Backend| {
            let mut seen = Vec::new();
            let mut progress = |progress: CalibrateProgress| seen.push(progress);
            let calibration =
                builder(family).dtype(DType::F32).backend(backend).calibrate(texts, &mut progress);
            let last = seen.last().map(|progress| (progress.done_tokens, progress.total_tokens));
            (calibration.unwrap(), last)
        };
        let texts = texts();
        let (all, last) = measured(&texts, Backend::Cpu);
        assert_eq!((all.num_tokens, last), (210, Some((210, 210))));
        assert!(!all.scales.is_ones());
        let largest = all.largest_key.max(all.largest_value);
        let scale = all.scales.values().fold(0.0, f32::max);
        assert_eq!(scale, 2.0 * largest / 448.0, "half of the largest number of e4m3");
        // The order of texts does not matter, another backend finds the same, and each scale is that of
        // one of the texts.
        let reversed: Vec<_> = texts.iter().rev().cloned().collect();
        assert_eq!(measured(&reversed, Backend::Cpu).0.scales, all.scales);
        let oracle = measured(&texts, Backend::Reference).0;
        for (found, expected) in all.scales.values().zip(oracle.scales.values()) {
            assert!((found / expected - 1.0).abs() < 1e-4, "{found} {expected}");
        }
        let alone =
            texts.iter().map(|text| measured(std::slice::from_ref(text), Backend::Cpu).0.scales);
        let alone: Vec<Vec<f32>> = alone.map(|scales| scales.values().collect()).collect();
        for (i, scale) in all.scales.values().enumerate() {
            let largest = alone.iter().map(|scales| scales[i]).fold(0.0, f32::max);
            assert_eq!(scale, largest, "{family}: scale {i}");
        }
    }
}

#[test]
fn calibration_without_tokens_is_refused() {
    let refused = |texts: &[Vec<u32>]| {
        builder("llama").calibrate(texts, &mut |_| {}).unwrap_err().to_string()
    };
    assert!(refused(&[]).contains("no token"));
    assert!(refused(&[Vec::new()]).contains("no token"));
    assert!(refused(&[vec![1, 1_000_000]]).contains("1000000"));
}

#[test]
fn scales_that_would_have_no_effect_are_refused() {
    let error = builder("llama").kv_cache_scales("anything").build().err().unwrap().to_string();
    assert!(error.contains("no effect"), "{error}");
}
