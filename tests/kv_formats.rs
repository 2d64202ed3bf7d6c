//! What an FP8 KV cache costs in quality: perplexity of the real model on fixed texts, against that
//! with a bfloat16 cache. Scales are measured on other texts, as a user would.
//!
//! Almost all of the cost is in the keys, and it grows with the square of the rounding error, which is
//! twice as large with two bits behind the point as with three. On prose of our own e4m3 keeps within
//! one percent, and e5m2 costs 5 %: no choice of scales changes that, for a floating-point grid looks the
//! same at any scale, up to where in an octave it begins. That alone moves the figures by a standard
//! error: with scales from two of the three golden prompts e4m3 costs 1.5 %. On a long technical text that
//! repeats itself, so that much depends on finding the right earlier token, both cost more. The bounds of
//! e5m2 and of the long text are what was measured and a margin; they are not a promise.
//!
//! Rise of perplexity over bfloat16, with the standard error of the mean (blocks of 100 tokens):
//!
//! | text | tokens | scales from | e4m3 | e5m2 | e5m2, scale 1 | keys alone, scale 1 |
//! |---|---|---|---|---|---|---|
//! | lighthouse | 1,854 | golden prompts | +0.63 ± 0.43 % | +4.76 ± 0.89 % | +5.14 ± 0.89 % | +5.86 ± 0.98 % |
//! | golden, the longest | 7,800 | lighthouse | +2.08 ± 0.26 % | +8.08 ± 0.58 % | +6.50 ± 0.61 % | +6.64 ± 0.52 % |

mod golden_model;

use std::path::{Path, PathBuf};

use engine::{
    DType, Fp8Flavour, KvCacheDType, Llm, LlmBuilder, Prompt, SamplingParams, convert_to_hf_dir,
};
use engine_core::kv_scales::KvScales;
use golden_model::{golden_rows, is_long, smollm2};
use half::bf16;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

/// Most that perplexity may rise.
struct Bounds {
    e4m3: f64,
    e5m2: f64,
}

/// For e4m3 what is promised, for e5m2 4.8 % and a standard error.
const PROSE: Bounds = Bounds { e4m3: 0.01, e5m2: 0.06 };
/// 2.1 % and 8.1 %, and two standard errors.
const TECHNICAL: Bounds = Bounds { e4m3: 0.027, e5m2: 0.093 };

const LIGHTHOUSE: &str = include_str!("texts/lighthouse.txt");

fn builder() -> LlmBuilder {
    Llm::builder(smollm2()).dtype(DType::BF16)
}

fn lighthouse() -> Vec<u32> {
    let llm = builder().max_model_len(2048).build().unwrap();
    llm.encode(&Prompt::from(LIGHTHOUSE)).unwrap()
}

fn golden_prompts() -> Vec<Vec<u32>> {
    golden_rows("smollm2-135m-long.json").into_iter().map(|row| row.prompt_token_ids).collect()
}

/// A text to be scored, and scales that were measured on others.
struct Trial {
    text: Vec<u32>,
    scales: KvScales,
    folder: tempfile::TempDir,
}

impl Trial {
    fn new(text: Vec<u32>, calibration_texts: &[Vec<u32>]) -> Trial {
        let scales = builder().calibrate(calibration_texts, &mut |_| {}).unwrap().scales;
        Trial { text, scales, folder: tempfile::tempdir().unwrap() }
    }

    /// A file with the scales times `factor`.
    fn scale_file(&self, factor: f32) -> PathBuf {
        let file = self.folder.path().join(format!("{factor}.safetensors"));
        if !file.exists() {
            write_scales(&self.scales, factor, &file);
        }
        file
    }

    fn bf16(&self) -> f64 {
        perplexity(builder(), &self.text)
    }

    /// With an FP8 cache of this flavour whose file of scales has them times `factor`.
    fn fp8(&self, dtype: KvCacheDType, flavour: Fp8Flavour, factor: f32) -> f64 {
        self.fp8_of(builder(), dtype, flavour, factor)
    }

    fn fp8_of(
        &self,
        model: LlmBuilder,
        dtype: KvCacheDType,
        flavour: Fp8Flavour,
        factor: f32,
    ) -> f64 {
        let scales = self.scale_file(factor);
        let fp8 = model.kv_cache_dtype(dtype).fp8_flavour(flavour).kv_cache_scales(scales);
        perplexity(fp8, &self.text)
    }

    fn flavours(&self, dtype: KvCacheDType) -> Flavours {
        Flavours {
            ocp: self.fp8(dtype, Fp8Flavour::Ocp, 1.0),
            fnuz: self.fp8(dtype, Fp8Flavour::Fnuz, 1.0),
        }
    }
}

fn write_scales(scales: &KvScales, factor: f32, file: &Path) {
    let times = |part: fn(&KvScales, usize) -> Vec<f32>| {
        let layers = (0..scales.num_layers()).flat_map(|layer_idx| part(scales, layer_idx));
        layers.map(|scale| scale * factor).collect()
    };
    let k = times(|scales, layer_idx| scales.layer(layer_idx).k.to_vec());
    let v = times(|scales, layer_idx| scales.layer(layer_idx).v.to_vec());
    let scales = KvScales::new(scales.num_kv_heads(), k, v).unwrap();
    let model = engine::weights::open(&smollm2()).unwrap();
    engine::write_kv_scales(&model, &scales, file).unwrap();
}

/// e to the mean of −ln p over all tokens of the text but the first, each with the true ones before it.
fn perplexity(builder: LlmBuilder, text: &[u32]) -> f64 {
    let mut llm = builder.build().unwrap_or_else(|e| panic!("{e}"));
    let params =
        SamplingParams { max_tokens: 1, prompt_logprobs: Some(0), ..SamplingParams::default() };
    let output = llm.generate(&[text.to_vec()], &params).unwrap_or_else(|e| panic!("{e}"));
    let scores = output[0].prompt_logprobs.as_ref().expect("they were asked for");
    assert!(text.len() >= 1500 && scores.len() == text.len(), "{} tokens", scores.len());
    let own = scores.iter().zip(text).skip(1).map(|(step, &token_id)| {
        let own = step.iter().flatten().find(|candidate| candidate.token_id == token_id);
        f64::from(own.expect("the prompt's own token is scored").logprob)
    });
    (-own.sum::<f64>() / (text.len() - 1) as f64).exp()
}

/// What a cache is read with if its scale is doubled on the reading side alone: q · 2k = 2q · k, and 2v is
/// twice what `o_proj` is given. Powers of two round nothing, so a model whose tensors of this name are
/// doubled attends just what such a reader would.
fn with_doubled(tensor: &str, folder: &Path) -> PathBuf {
    let model = folder.join(tensor);
    convert_to_hf_dir(
        &engine::weights::open(&smollm2()).unwrap(),
        &model,
        DType::BF16,
        &mut |_| {},
    )
    .unwrap();
    let path = model.join("model.safetensors");
    let file = std::fs::read(&path).unwrap();
    let mut tensors: Vec<(String, Vec<u8>, TensorView<'_>)> = Vec::new();
    for (name, view) in SafeTensors::deserialize(&file).unwrap().iter() {
        let is_doubled = name.ends_with(&format!("{tensor}.weight"));
        let data = if is_doubled { doubled(view.data()) } else { view.data().to_vec() };
        tensors.push((name.to_owned(), data, view));
    }
    assert_eq!(tensors.iter().filter(|(_, data, view)| data != view.data()).count(), 30, "layers");
    let views = tensors.iter().map(|(name, data, view)| {
        (name, TensorView::new(view.dtype(), view.shape().to_vec(), data).unwrap())
    });
    safetensors::serialize_to_file(views, None, &path).unwrap();
    model
}

fn doubled(codes: &[u8]) -> Vec<u8> {
    let twice = |code: &[u8]| bf16::from_le_bytes([code[0], code[1]]).to_f32() * 2.0;
    codes.chunks_exact(2).flat_map(|code| bf16::from_f32(twice(code)).to_le_bytes()).collect()
}

/// Perplexities of one format.
#[derive(Clone, Copy, Debug)]
struct Flavours {
    ocp: f64,
    fnuz: f64,
}

/// Fails unless both flavours keep within the bound and are the same to the bit: with scales that are
/// doubled for FNUZ, its codes stand for the very numbers that OCP's stand for, but for the ends of the
/// range, which scales keep clear of.
fn check(found: Flavours, bf16: f64, most: f64) -> Result<(), String> {
    let Flavours { ocp, fnuz } = found;
    let rise = ocp / bf16 - 1.0;
    println!("{ocp:.4} against {bf16:.4}, {:+.3} %", 100.0 * rise);
    if rise.is_nan() || rise > most {
        return Err(format!(
            "perplexity {ocp} is {rise:+} above {bf16}, at most {most} is allowed"
        ));
    }
    if ocp.to_bits() != fnuz.to_bits() {
        return Err(format!("FNUZ gives {fnuz} and OCP {ocp}"));
    }
    Ok(())
}

/// Checks both formats; what e4m3 gives.
fn check_formats(trial: &Trial, bf16: f64, bounds: &Bounds) -> Flavours {
    let [e4m3, e5m2] = [(KvCacheDType::Fp8E4m3, bounds.e4m3), (KvCacheDType::Fp8E5m2, bounds.e5m2)]
        .map(|(dtype, most)| {
            let found = trial.flavours(dtype);
            check(found, bf16, most).unwrap_or_else(|e| panic!("{dtype:?}: {e}"));
            found
        });
    assert!(e4m3.ocp < e5m2.ocp, "three bits are worth more than two");
    e4m3
}

#[test]
fn fp8_costs_little_on_prose() {
    let trial = Trial::new(lighthouse(), &golden_prompts());
    let bf16 = trial.bf16();
    let Flavours { ocp, .. } = check_formats(&trial, bf16, &PROSE);

    // The check sees: scales that are doubled once too often for FNUZ, or not at all,
    let e4m3 = KvCacheDType::Fp8E4m3;
    for factor in [2.0, 0.5] {
        let fnuz = trial.fp8(e4m3, Fp8Flavour::Fnuz, factor);
        let seen = check(Flavours { ocp, fnuz }, bf16, PROSE.e4m3);
        println!("FNUZ with scales times {factor}: {seen:?}");
        assert!(seen.is_err_and(|error| error.contains("FNUZ gives")), "times {factor}");
    }
    // and scales that are too small for the keys.
    let ocp = trial.fp8(e4m3, Fp8Flavour::Ocp, 0.125);
    let seen = check(Flavours { ocp, fnuz: ocp }, bf16, PROSE.e4m3);
    assert!(seen.is_err_and(|error| error.contains("is allowed")), "an eighth");
    // So does a reader that doubles the scale of K, or that of V.
    for tensor in ["self_attn.q_proj", "self_attn.o_proj"] {
        let model = Llm::builder(with_doubled(tensor, trial.folder.path())).dtype(DType::BF16);
        let ocp = trial.fp8_of(model, e4m3, Fp8Flavour::Ocp, 1.0);
        let seen = check(Flavours { ocp, fnuz: ocp }, bf16, PROSE.e4m3);
        assert!(seen.is_err_and(|error| error.contains("is allowed")), "{tensor}");
    }
}

/// With `KVASIR_LONG`: the longest golden prompt, with scales from the other text.
#[test]
fn fp8_costs_more_on_a_long_technical_text() {
    if is_long() {
        let text = golden_prompts().pop().expect("there are some");
        let trial = Trial::new(text, &[lighthouse()]);
        let bf16 = trial.bf16();
        check_formats(&trial, bf16, &TECHNICAL);
    }
}
