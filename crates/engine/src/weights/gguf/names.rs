//! llama.cpp's tensor names in Hugging Face's.

/// The RoPE divisors, which become part of the configuration.
pub(super) const ROPE_FREQS: &str = "rope_freqs.weight";

/// The Hugging Face name of the tensor that GGUF calls `name`; `None` for one of no architecture
/// that is known here.
pub(super) fn hf_name(name: &str) -> Option<String> {
    Some(match name {
        "token_embd.weight" => "model.embed_tokens.weight".to_owned(),
        "output_norm.weight" => "model.norm.weight".to_owned(),
        "output.weight" => "lm_head.weight".to_owned(),
        _ => {
            let (layer_idx, rest) = name.strip_prefix("blk.")?.split_once('.')?;
            let (part, kind) = rest.rsplit_once('.')?;
            if !is_plain_number(layer_idx) || !matches!(kind, "weight" | "bias") {
                return None;
            }
            format!("model.layers.{layer_idx}.{}.{kind}", hf_part(part)?)
        }
    })
}

fn hf_part(part: &str) -> Option<&'static str> {
    Some(match part {
        "attn_norm" => "input_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_q_norm" => "self_attn.q_norm",
        "attn_k_norm" => "self_attn.k_norm",
        "attn_output" => "self_attn.o_proj",
        "ffn_norm" => "post_attention_layernorm",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        _ => return None,
    })
}

/// Decimal digits without a leading zero, so that no two names mean one layer.
fn is_plain_number(text: &str) -> bool {
    text == "0"
        || (text.bytes().all(|byte| byte.is_ascii_digit())
            && !text.is_empty()
            && !text.starts_with('0'))
}

/// Precomputed frequencies, which old converters wrote and nothing reads.
pub(super) fn is_obsolete(name: &str) -> bool {
    name.ends_with(".attn_rot_embd.weight") || name.ends_with(".attn.rot_embd.weight")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_parts_have_hugging_face_names() {
        let name = |name| hf_name(name).unwrap();
        assert_eq!(name("blk.0.attn_q.weight"), "model.layers.0.self_attn.q_proj.weight");
        assert_eq!(name("blk.11.attn_k.bias"), "model.layers.11.self_attn.k_proj.bias");
        assert_eq!(name("blk.3.ffn_norm.weight"), "model.layers.3.post_attention_layernorm.weight");
    }

    #[test]
    fn what_is_not_a_llama_tensor_has_no_name() {
        for name in [
            "blk.0.ffn_gate_exps.weight",
            "blk.00.attn_q.weight",
            "blk..attn_q.weight",
            "blk.+1.attn_q.weight",
            "blk.0.attn_q.scale",
            "blk.0.attn_q",
            "output.bias",
            "",
        ] {
            assert_eq!(hf_name(name), None, "{name}");
        }
    }
}
