//! Small GGUF models of every architecture: the reader must see what the writer meant.

mod weights_support;

use engine::weights::gguf::{
    Gguf, MetadataError, OptionalKey, checkpoint_from_bytes, generation_config, model_config,
};
use engine::weights::{ConfigError, WeightsError};
use engine_core::checkpoint::Checkpoint;
use engine_core::config::{Architecture, ModelConfig, RopeScaling};
use weights_support::*;

fn open(model: &SmallModel) -> impl Checkpoint {
    checkpoint_from_bytes("small.gguf", model.file.to_bytes()).unwrap()
}

fn config(file: &GgufFile) -> Result<ModelConfig, ConfigError> {
    let bytes = file.to_bytes();
    model_config(&Gguf::from_bytes(&bytes).unwrap(), &bytes)
}

fn assert_tensors(model: &SmallModel) {
    let checkpoint = open(model);
    for (name, (shape, expected)) in &model.expected {
        assert_eq!(&read_all(&checkpoint, name, shape), expected, "{name}");
    }
}

#[test]
fn every_architecture_gives_hugging_face_names_and_row_order() {
    for arch in ["llama", "qwen2", "qwen3"] {
        assert_tensors(&small_model(arch));
        assert_tensors(&small_model(arch).tied());
    }
    // llama's biases on q and k are permuted like the rows; partial rotation permutes the turning part.
    assert_tensors(&small_model_with("llama", true, false, HEAD_DIM));
    assert_tensors(&small_model_with("llama", false, true, HEAD_DIM));
    assert_tensors(&small_model_with("llama", true, false, HEAD_DIM / 2));
}

#[test]
fn interleaving_is_visible_to_the_test() {
    let model = small_model("llama");
    let (_, expected) = &model.expected["model.layers.0.self_attn.q_proj.weight"];
    let stored = &model
        .file
        .tensors
        .iter()
        .find(|tensor| tensor.name == "blk.0.attn_q.weight")
        .unwrap()
        .data;
    let expected: Vec<u8> = expected.iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_ne!(stored, &expected);
}

#[test]
fn configuration_follows_the_metadata() {
    let llama = config(&small_model("llama").file).unwrap();
    assert_eq!(llama.architecture, Architecture::Llama);
    assert_eq!(llama.num_layers, NUM_LAYERS);
    assert_eq!(llama.hidden_size, HIDDEN);
    assert_eq!(llama.intermediate_size, INTERMEDIATE);
    assert_eq!((llama.num_qo_heads, llama.num_kv_heads), (NUM_QO_HEADS, NUM_KV_HEADS));
    assert_eq!((llama.head_dim, llama.rope.rotary_dim), (HEAD_DIM, HEAD_DIM));
    assert_eq!((llama.vocab_size, llama.max_position_embeddings), (VOCAB, 128));
    assert_eq!((llama.rms_norm_eps, llama.rope.theta), (1e-5, 50_000.0));
    assert_eq!(llama.rope.scaling, RopeScaling::None);
    assert_eq!(llama.sliding_windows, [None, None]);
    assert!(!llama.tie_word_embeddings && !llama.qkv_bias && !llama.qk_norm);
    assert!(config(&small_model("llama").tied().file).unwrap().tie_word_embeddings);
    assert!(config(&small_model("qwen2").file).unwrap().qkv_bias);
    assert!(config(&small_model("qwen3").file).unwrap().qk_norm);
    let biased = config(&small_model_with("llama", false, true, HEAD_DIM).file).unwrap();
    assert!(biased.qkv_bias && biased.o_bias && biased.mlp_bias);
}

#[test]
fn absent_keys_have_llama_cpp_defaults() {
    let mut model = small_model("llama");
    for key in [
        "rope.freq_base",
        "rope.dimension_count",
        "attention.key_length",
        "attention.value_length",
        "vocab_size",
    ] {
        model.file.remove(&format!("llama.{key}"));
    }
    let found = config(&model.file).unwrap();
    assert_eq!((found.rope.theta, found.rope.rotary_dim), (10_000.0, HEAD_DIM));
    assert_eq!((found.head_dim, found.vocab_size), (HIDDEN / NUM_QO_HEADS, VOCAB));
    model.file.remove("llama.attention.head_count_kv");
    assert_eq!(config(&model.file).unwrap().num_kv_heads, NUM_QO_HEADS);
}

#[test]
fn each_required_key_is_named_when_missing() {
    for key in [
        "general.architecture",
        "llama.block_count",
        "llama.embedding_length",
        "llama.feed_forward_length",
        "llama.attention.head_count",
        "llama.attention.layer_norm_rms_epsilon",
        "llama.context_length",
    ] {
        let mut model = small_model("llama");
        model.file.remove(key);
        let error = config(&model.file).unwrap_err();
        let expected = MetadataError::Missing { key: key.to_owned() };
        assert_eq!(error, ConfigError::Metadata(expected));
    }
}

#[test]
fn a_window_makes_llama_mistral() {
    let mut model = small_model("llama");
    model.file.set("llama.attention.sliding_window", u32_value(24));
    let found = config(&model.file).unwrap();
    assert_eq!(found.architecture, Architecture::Mistral);
    assert_eq!(found.sliding_windows, [Some(24), Some(24)]);
    assert_tensors(&model);
}

#[test]
fn rope_scaling_types() {
    let scaling = |pairs: &[(&str, Vec<u8>)]| {
        let mut model = small_model("llama");
        for (key, value) in pairs {
            model.file.set(&format!("llama.rope.scaling.{key}"), value.clone());
        }
        config(&model.file).map(|config| config.rope.scaling)
    };
    let linear = RopeScaling::Linear { factor: 4.0 };
    assert_eq!(
        scaling(&[("type", str_value("linear")), ("factor", f32_value(4.0))]).unwrap(),
        linear
    );
    assert_eq!(scaling(&[("factor", f32_value(4.0))]).unwrap(), linear);
    assert_eq!(
        scaling(&[("type", str_value("none")), ("factor", f32_value(4.0))]).unwrap(),
        RopeScaling::None
    );
    let yarn = |original_max_position_embeddings, beta_fast, attention_factor| RopeScaling::Yarn {
        factor: 4.0,
        original_max_position_embeddings,
        beta_fast,
        beta_slow: 1.0,
        attention_factor,
        truncate: true,
    };
    let base = [("type", str_value("yarn")), ("factor", f32_value(4.0))];
    let mscale = 0.1 * 4f64.ln() + 1.0;
    assert_eq!(scaling(&base).unwrap(), yarn(128, 32.0, mscale));
    let more = [
        ("original_context_length", u32_value(32)),
        ("yarn_beta_fast", f32_value(16.0)),
        ("attn_factor", f32_value(0.5)),
    ];
    assert_eq!(scaling(&[&base[..], &more].concat()).unwrap(), yarn(32, 16.0, mscale * 0.5));
    let whole = [("yarn_attn_factor", f32_value(0.75))];
    assert_eq!(scaling(&[&base[..], &whole].concat()).unwrap(), yarn(128, 32.0, 0.75));

    let error = scaling(&[("type", str_value("longrope"))]).unwrap_err().to_string();
    assert!(error.contains("longrope") && error.contains("llama.rope.scaling.type"), "{error}");
}

#[test]
fn rope_freqs_become_factors() {
    let mut model = small_model("llama");
    model.file.add_f32("rope_freqs.weight", &[HEAD_DIM / 2], &[1.0, 1.0, 2.5, 8.0]);
    let found = config(&model.file).unwrap();
    assert_eq!(found.rope.scaling, RopeScaling::Factors(vec![1.0, 1.0, 2.5, 8.0]));
    assert_tensors(&model);

    for bad in [&[1.0, 2.0][..], &[1.0, 0.0, 1.0, 1.0], &[1.0, f32::NAN, 1.0, 1.0]] {
        let mut model = small_model("llama");
        model.file.add_f32("rope_freqs.weight", &[bad.len()], bad);
        let error = config(&model.file).unwrap_err().to_string();
        assert!(error.contains("RoPE factor"), "{error}");
    }
}

#[test]
fn what_changes_the_answer_and_is_not_computed_is_refused_by_name() {
    for (key, value) in [
        ("llama.expert_count", u32_value(8)),
        ("llama.attention.scale", f32_value(0.5)),
        ("llama.logit_scale", f32_value(0.1)),
        ("llama.final_logit_softcapping", f32_value(30.0)),
        ("llama.attention.causal", bool_value(false)),
        ("llama.attention.value_length", u32_value(16)),
        ("llama.attention.sliding_window_pattern", u32_value(2)),
        ("llama.rope.scaling.yarn_log_multiplier", f32_value(0.1)),
    ] {
        let mut model = small_model("llama");
        model.file.set(key, value);
        let error = config(&model.file).unwrap_err().to_string();
        assert!(error.contains(key), "{key}: {error}");
    }
}

#[test]
fn an_unknown_architecture_is_named_with_the_known_ones() {
    let mut model = small_model("llama");
    model.file.set("general.architecture", str_value("gemma3"));
    let error = config(&model.file).unwrap_err().to_string();
    for name in ["gemma3", "llama", "mistral", "qwen2", "qwen3"] {
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn inconsistent_shapes_are_refused_by_name() {
    for (key, value, named) in [
        ("llama.attention.head_count_kv", 3, "num_key_value_heads"),
        ("llama.attention.head_count_kv", 0, "num_key_value_heads"),
        ("llama.attention.head_count", 0, "num_attention_heads"),
        ("llama.block_count", 0, "llama.block_count"),
        ("llama.block_count", u32::MAX, "llama.block_count"),
        ("llama.embedding_length", 0, "hidden_size"),
        ("llama.embedding_length", u32::MAX, "hidden_size"),
        ("llama.vocab_size", u32::MAX, "vocab_size"),
        ("llama.rope.dimension_count", 7, "rotary dimension"),
        ("llama.rope.dimension_count", 10, "rotary dimension"),
        ("llama.rope.dimension_count", 0, "rotary dimension"),
    ] {
        let mut model = small_model("llama");
        model.file.set(key, u32_value(value));
        let error = config(&model.file).unwrap_err().to_string();
        assert!(error.contains(named), "{key} = {value}: {error}");
    }
    let mut model = small_model("llama");
    model.file.set("llama.attention.key_length", u32_value(7));
    model.file.set("llama.attention.value_length", u32_value(7));
    let error = config(&model.file).unwrap_err().to_string();
    assert!(error.contains("head_dim"), "{error}");
}

fn open_error(file: &GgufFile) -> WeightsError {
    match checkpoint_from_bytes("small.gguf", file.to_bytes()) {
        Ok(_) => panic!("opened"),
        Err(error) => error,
    }
}

#[test]
fn a_missing_a_misshapen_and_an_unknown_tensor_are_named() {
    let mut model = small_model("llama");
    model.file.tensors.retain(|tensor| tensor.name != "blk.1.ffn_up.weight");
    let error = open_error(&model.file).to_string();
    assert!(
        error.contains("`model.layers.1.mlp.up_proj.weight` is missing from small.gguf"),
        "{error}"
    );

    let mut model = small_model("llama");
    model.file.tensor_mut("blk.0.attn_v.weight").dims =
        vec![HIDDEN as u64 / 2, 2 * (NUM_KV_HEADS * HEAD_DIM) as u64];
    let error = open_error(&model.file).to_string();
    assert!(error.contains("`model.layers.0.self_attn.v_proj.weight`"), "{error}");
    assert!(error.contains("[16, 8]") && error.contains("[8, 16]"), "{error}");

    for name in ["blk.0.ffn_gate_exps.weight", "blk.0.attn_q_norm.weight", "blk.7.attn_q.weight"] {
        let mut model = small_model("llama");
        model.file.add_f32(name, &[HEAD_DIM], &[1.0; HEAD_DIM]);
        let error = open_error(&model.file);
        assert!(matches!(error, WeightsError::UnexpectedTensor { .. }), "{error}");
    }
    // A bias in one layer only would be lost.
    let mut model = small_model("llama");
    model.file.add_f32("blk.1.attn_v.bias", &[8], &[1.0; 8]);
    let error = open_error(&model.file).to_string();
    assert!(error.contains("model.layers.1.self_attn.v_proj.bias"), "{error}");
}

#[test]
fn getters_name_the_key_and_what_they_found() {
    let mut file = GgufFile::default();
    file.set("a.text", str_value("hello"))
        .set("a.number", u32_value(7))
        .set("a.float", f32_value(0.5))
        .set("a.truth", bool_value(true))
        .set("a.texts", str_array_value(&["x", "y"]))
        .set("a.floats", f32_array_value(&[1.0, -2.0]))
        .set("a.ints", i32_array_value(&[1, -2]));
    let metadata = Gguf::from_bytes(&file.to_bytes()).unwrap().metadata;
    assert_eq!(metadata.str("a.text").unwrap(), "hello");
    assert_eq!(metadata.u32("a.number").unwrap(), 7);
    assert_eq!(metadata.usize("a.number").unwrap(), 7);
    assert_eq!(metadata.f32("a.float").unwrap(), 0.5);
    assert!(metadata.bool("a.truth").unwrap());
    assert_eq!(metadata.str_array("a.texts").unwrap(), ["x", "y"]);
    assert_eq!(metadata.f32_array("a.floats").unwrap(), [1.0, -2.0]);
    assert_eq!(metadata.i32_array("a.ints").unwrap(), [1, -2]);
    assert_eq!(metadata.u32("a.none").optional().unwrap(), None);
    assert_eq!(metadata.iter().count(), 7);

    let error = metadata.u32("a.text").unwrap_err().to_string();
    assert!(error.contains("`a.text`") && error.contains("\"hello\""), "{error}");
    let error = metadata.str_array("a.ints").unwrap_err().to_string();
    assert!(error.contains("`a.ints`") && error.contains("array of 2 i32"), "{error}");
    assert!(metadata.u32("a.float").optional().is_err());
}

#[test]
fn ends_of_text_come_from_the_tokenizer_keys() {
    let mut file = small_model("llama").file;
    file.set("tokenizer.ggml.eot_token_id", u32_value(9))
        .set("tokenizer.ggml.eom_token_id", u32_value(2))
        .set("general.sampling.temp", f32_value(0.25));
    let found = generation_config(&Gguf::from_bytes(&file.to_bytes()).unwrap().metadata).unwrap();
    assert_eq!(found.eos_token_ids, [2, 9]);
    assert_eq!((found.bos_token_id, found.temperature), (Some(1), Some(0.25)));
}
