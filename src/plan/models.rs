//! The models that the recipe names, by their published sizes.

use engine::weights::{ConfigError, hf::HfConfig};
use engine_core::config::ModelConfig;

/// One of them.
#[derive(Debug)]
pub(super) struct Named {
    pub name: &'static str,
    /// What the recipe's estimate begins with.
    pub billions: f64,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_layers: usize,
    pub num_qo_heads: usize,
    pub num_kv_heads: usize,
    pub vocab_size: usize,
    pub max_position_embeddings: usize,
}

pub(super) const LLAMA_2_7B: Named = Named {
    name: "Llama-2-7B",
    billions: 7.0,
    hidden_size: 4096,
    intermediate_size: 11_008,
    num_layers: 32,
    num_qo_heads: 32,
    num_kv_heads: 32,
    vocab_size: 32_000,
    max_position_embeddings: 4096,
};
pub(super) const LLAMA_2_13B: Named = Named {
    name: "Llama-2-13B",
    billions: 13.0,
    hidden_size: 5120,
    intermediate_size: 13_824,
    num_layers: 40,
    num_qo_heads: 40,
    num_kv_heads: 40,
    ..LLAMA_2_7B
};
pub(super) const LLAMA_2_70B: Named = Named {
    name: "Llama-2-70B",
    billions: 70.0,
    hidden_size: 8192,
    intermediate_size: 28_672,
    num_layers: 80,
    num_qo_heads: 64,
    num_kv_heads: 8,
    ..LLAMA_2_7B
};
pub(super) const LLAMA_3_1_8B: Named = Named {
    name: "Llama 3.1 8B",
    billions: 8.0,
    intermediate_size: 14_336,
    num_kv_heads: 8,
    vocab_size: 128_256,
    max_position_embeddings: 131_072,
    ..LLAMA_2_7B
};
pub(super) const LLAMA_3_1_70B: Named = Named {
    name: "Llama 3.1 70B",
    vocab_size: 128_256,
    max_position_embeddings: 131_072,
    ..LLAMA_2_70B
};
pub(super) const MISTRAL_7B: Named = Named {
    name: "Mistral-7B",
    intermediate_size: 14_336,
    num_kv_heads: 8,
    max_position_embeddings: 32_768,
    ..LLAMA_2_7B
};
pub(super) const CODELLAMA_13B: Named = Named {
    name: "CodeLlama-13B",
    vocab_size: 32_016,
    max_position_embeddings: 16_384,
    ..LLAMA_2_13B
};
pub(super) const CODELLAMA_34B: Named = Named {
    name: "CodeLlama-34B",
    billions: 34.0,
    intermediate_size: 22_016,
    num_layers: 48,
    max_position_embeddings: 16_384,
    ..LLAMA_2_70B
};
pub(super) const LLAMA_3_8B: Named =
    Named { name: "Llama-3-8B", max_position_embeddings: 8192, ..LLAMA_3_1_8B };
pub(super) const LLAMA_3_70B: Named =
    Named { name: "Llama-3-70B", max_position_embeddings: 8192, ..LLAMA_3_1_70B };
pub(super) const LLAMA_3_70B_GRADIENT: Named =
    Named { name: "Llama-3-70B-Gradient", max_position_embeddings: 262_144, ..LLAMA_3_1_70B };
pub(super) const LLAMA_3_70B_GRADIENT_1048K: Named = Named {
    name: "Llama-3-70B-Gradient-1048k",
    max_position_embeddings: 1_048_576,
    ..LLAMA_3_1_70B
};
pub(super) const YI_34B_200K: Named = Named {
    name: "Yi-34B-200K",
    billions: 34.0,
    hidden_size: 7168,
    intermediate_size: 20_480,
    num_layers: 60,
    num_qo_heads: 56,
    vocab_size: 64_000,
    max_position_embeddings: 200_000,
    ..LLAMA_2_70B
};

impl Named {
    pub(super) fn config(&self) -> Result<ModelConfig, ConfigError> {
        let json = serde_json::json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
            "hidden_size": self.hidden_size, "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_layers, "num_attention_heads": self.num_qo_heads,
            "num_key_value_heads": self.num_kv_heads, "vocab_size": self.vocab_size,
            "max_position_embeddings": self.max_position_embeddings, "tie_word_embeddings": false,
        });
        Ok(HfConfig::from_bytes(json.to_string().as_bytes())?.model)
    }
}
