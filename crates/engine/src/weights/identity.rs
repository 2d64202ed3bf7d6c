//! What tells one model from another, in whatever format its weights are stored.

use engine_core::checkpoint::CheckpointError;
use sha2::{Digest, Sha256};

use super::Model;

impl Model {
    /// A digest of the model's shape and of all its norm weights, in hexadecimal: they are never
    /// quantized, so a copy in another format has the same, and a model that was trained further
    /// has another.
    ///
    /// # Errors
    /// [`CheckpointError`] if a tensor cannot be read.
    pub fn identity(&self) -> Result<String, CheckpointError> {
        let config = self.config();
        let mut digest = Sha256::new();
        digest.update(config.architecture.name());
        for size in [
            config.num_layers,
            config.hidden_size,
            config.intermediate_size,
            config.num_qo_heads,
            config.num_kv_heads,
            config.head_dim,
            config.vocab_size,
        ] {
            digest.update((size as u64).to_le_bytes());
        }
        let layers = (0..config.num_layers).flat_map(|layer_idx| {
            ["input_layernorm", "post_attention_layernorm"]
                .map(|norm| format!("model.layers.{layer_idx}.{norm}.weight"))
        });
        let mut row = vec![0.0; config.hidden_size];
        for name in layers.chain(["model.norm.weight".to_owned()]) {
            self.checkpoint().tensor(&name, &[config.hidden_size])?.read_row(0, &mut row);
            row.iter().for_each(|x| digest.update(x.to_le_bytes()));
        }
        Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}
