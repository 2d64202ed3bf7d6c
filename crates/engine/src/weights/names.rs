//! Which tensors a model has, by Hugging Face's names, and their shapes.

use std::collections::HashMap;

use engine_core::config::ModelConfig;

/// A tensor that the model reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedTensor {
    /// Hugging Face's name.
    pub name: String,
    /// `[rows, cols]`, or `[cols]` for a vector.
    pub shape: Vec<usize>,
}

/// All tensors of a model with this configuration, in the order of use.
pub fn expected_tensors(config: &ModelConfig) -> Vec<ExpectedTensor> {
    let mut list = TensorList::default();
    let (hidden, vocab) = (config.hidden_size, config.vocab_size);
    list.add("model.embed_tokens.weight".to_owned(), &[vocab, hidden]);
    for layer_idx in 0..config.num_layers {
        list.add_layer(config, layer_idx);
    }
    list.add("model.norm.weight".to_owned(), &[hidden]);
    if !config.tie_word_embeddings {
        list.add("lm_head.weight".to_owned(), &[vocab, hidden]);
    }
    list.0
}

/// The same as a table from name to shape.
pub(super) fn expected_shapes(config: &ModelConfig) -> HashMap<String, Vec<usize>> {
    expected_tensors(config).into_iter().map(|tensor| (tensor.name, tensor.shape)).collect()
}

/// Tensors that checkpoints carry without any model reading them: frequencies that are computed
/// from the configuration, and a second copy of a tied embedding.
pub(super) fn is_redundant(config: &ModelConfig, name: &str) -> bool {
    name.ends_with(".rotary_emb.inv_freq")
        || (config.tie_word_embeddings && name == "lm_head.weight")
}

#[derive(Default)]
struct TensorList(Vec<ExpectedTensor>);

impl TensorList {
    fn add(&mut self, name: String, shape: &[usize]) {
        self.0.push(ExpectedTensor { name, shape: shape.to_vec() });
    }

    fn add_layer(&mut self, config: &ModelConfig, layer_idx: usize) {
        let prefix = format!("model.layers.{layer_idx}");
        let hidden = config.hidden_size;
        let q_size = config.num_qo_heads * config.head_dim;
        let kv_size = config.num_kv_heads * config.head_dim;
        let intermediate = config.intermediate_size;
        self.add(format!("{prefix}.input_layernorm.weight"), &[hidden]);
        for (part, rows, cols, bias) in [
            ("self_attn.q_proj", q_size, hidden, config.qkv_bias),
            ("self_attn.k_proj", kv_size, hidden, config.qkv_bias),
            ("self_attn.v_proj", kv_size, hidden, config.qkv_bias),
            ("self_attn.o_proj", hidden, q_size, config.o_bias),
            ("mlp.gate_proj", intermediate, hidden, config.mlp_bias),
            ("mlp.up_proj", intermediate, hidden, config.mlp_bias),
            ("mlp.down_proj", hidden, intermediate, config.mlp_bias),
        ] {
            self.add(format!("{prefix}.{part}.weight"), &[rows, cols]);
            if bias {
                self.add(format!("{prefix}.{part}.bias"), &[rows]);
            }
        }
        if config.qk_norm {
            self.add(format!("{prefix}.self_attn.q_norm.weight"), &[config.head_dim]);
            self.add(format!("{prefix}.self_attn.k_norm.weight"), &[config.head_dim]);
        }
        self.add(format!("{prefix}.post_attention_layernorm.weight"), &[hidden]);
    }
}
