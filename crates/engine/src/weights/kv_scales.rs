//! Scales of an FP8 KV cache beside the weights, by the names that vLLM reads.

use std::collections::BTreeMap;

use engine_core::config::ModelConfig;
use engine_core::kv_scales::{KvScaleError, KvScales};

/// Whose scale a tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Keys,
    Values,
    /// One for both: how it was before there were two.
    Both,
}

/// A tensor whose name is that of a scale.
#[derive(Clone, Debug)]
pub(crate) struct NamedScale {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// Why scales cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KvScalesError {
    /// Not one number, nor one for each head.
    #[error(
        "`{name}` has shape {found:?}; a scale is one number, or one for each of {num_kv_heads} KV heads"
    )]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// KV heads of the model.
        num_kv_heads: usize,
    },
    /// A layer that the model does not have.
    #[error("`{name}` is of a layer that the model does not have; it has {num_layers}")]
    NoSuchLayer {
        /// The tensor.
        name: String,
        /// Layers of the model.
        num_layers: usize,
    },
    /// Two tensors for one scale.
    #[error("`{name}` and another tensor both scale the {part} of its layer; remove one of them")]
    Twice {
        /// The second tensor.
        name: String,
        /// Keys or values.
        part: &'static str,
    },
    /// Some layers have scales and this one has not.
    #[error(
        "there is no scale of the {part} of layer {layer_idx}, though there are others; a cache is scaled in all layers or in none"
    )]
    Missing {
        /// Keys or values.
        part: &'static str,
        /// The layer.
        layer_idx: usize,
    },
    /// A number that is no scale.
    #[error(transparent)]
    Value(#[from] KvScaleError),
}

/// Whether `name` is that of a KV scale.
pub(super) fn is_kv_scale(name: &str) -> bool {
    parse(name).is_some()
}

/// Layer and part of the scale called `name`: k_scale of the attention, of its inner module or of the
/// projection; `output_scale` of the projection, as Quark calls it; kv_scale for both.
fn parse(name: &str) -> Option<(usize, Part)> {
    let (layer_idx, rest) = name.strip_prefix("model.layers.")?.split_once(".self_attn.")?;
    let part = match rest {
        "k_scale" | "attn.k_scale" | "k_proj.k_scale" | "k_proj.output_scale" => Part::Keys,
        "v_scale" | "attn.v_scale" | "v_proj.v_scale" | "v_proj.output_scale" => Part::Values,
        "kv_scale" | "attn.kv_scale" => Part::Both,
        _ => return None,
    };
    Some((layer_idx.parse().ok()?, part))
}

/// The model's scales; `None` for no tensors at all.
pub(crate) fn kv_scales(
    config: &ModelConfig,
    tensors: Vec<NamedScale>,
) -> Result<Option<KvScales>, KvScalesError> {
    let (num_layers, num_kv_heads) = (config.num_layers, config.num_kv_heads);
    let mut parts = [("keys", BTreeMap::new()), ("values", BTreeMap::new())];
    for NamedScale { name, shape, values } in tensors {
        let Some((layer_idx, part)) = parse(&name) else { continue };
        if layer_idx >= num_layers {
            return Err(KvScalesError::NoSuchLayer { name, num_layers });
        }
        let heads = match *shape {
            [] | [1] => vec![values[0]; num_kv_heads],
            [heads] if heads == num_kv_heads => values,
            _ => return Err(KvScalesError::Shape { name, found: shape, num_kv_heads }),
        };
        for (i, (part_name, layers)) in parts.iter_mut().enumerate() {
            let is_of_part = part == Part::Both || (part == Part::Keys) == (i == 0);
            if is_of_part && layers.insert(layer_idx, heads.clone()).is_some() {
                return Err(KvScalesError::Twice { name, part: part_name });
            }
        }
    }
    if parts.iter().all(|(_, layers)| layers.is_empty()) {
        return Ok(None);
    }
    for (part, layers) in &parts {
        if let Some(layer_idx) = (0..num_layers).find(|layer_idx| !layers.contains_key(layer_idx)) {
            return Err(KvScalesError::Missing { part, layer_idx });
        }
    }
    let [k, v] = parts.map(|(_, layers)| layers.into_values().flatten().collect());
    Ok(Some(KvScales::new(num_kv_heads, k, v)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::hf::HfConfig;

    /// Two layers with three KV heads.
    fn config() -> ModelConfig {
        let text = r#"{"model_type": "llama", "vocab_size": 8, "hidden_size": 24, "intermediate_size": 8,
            "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 3}"#;
        HfConfig::from_bytes(text.as_bytes()).unwrap().model
    }

    fn scale(layer_idx: usize, name: &str, shape: &[usize], values: &[f32]) -> NamedScale {
        let name = format!("model.layers.{layer_idx}.self_attn.{name}");
        NamedScale { name, shape: shape.to_vec(), values: values.to_vec() }
    }

    fn loaded(tensors: Vec<NamedScale>) -> Result<Option<KvScales>, KvScalesError> {
        assert!(tensors.iter().all(|tensor| is_kv_scale(&tensor.name)));
        kv_scales(&config(), tensors)
    }

    #[test]
    fn every_name_means_keys_or_values() {
        for prefix in ["", "attn."] {
            let name = |part: &str| format!("{prefix}{part}");
            let tensors = vec![
                scale(1, &name("v_scale"), &[1], &[4.0]),
                scale(0, &name("k_scale"), &[], &[1.5]),
                scale(0, &name("v_scale"), &[1], &[3.0]),
                scale(1, &name("k_scale"), &[3], &[5.0, 6.0, 7.0]),
            ];
            let scales = loaded(tensors).unwrap().unwrap();
            assert_eq!(scales.layer(0).k, [1.5; 3]);
            assert_eq!(scales.layer(0).v, [3.0; 3]);
            assert_eq!(scales.layer(1).k, [5.0, 6.0, 7.0]);
            assert_eq!(scales.layer(1).v, [4.0; 3]);
        }
        for part in ["k_scale", "output_scale"] {
            let value = part.replace('k', "v");
            let tensors = (0..2).flat_map(|layer_idx| {
                [(format!("k_proj.{part}"), 2.0), (format!("v_proj.{value}"), 8.0)]
                    .map(|(name, x)| scale(layer_idx, &name, &[], &[x]))
            });
            let scales = loaded(tensors.collect()).unwrap().unwrap();
            assert_eq!((scales.layer(1).k, scales.layer(1).v), (&[2.0; 3][..], &[8.0; 3][..]));
        }
        let both = (0..2).map(|layer_idx| scale(layer_idx, "kv_scale", &[], &[0.5]));
        let scales = loaded(both.collect()).unwrap().unwrap();
        assert_eq!((scales.layer(0).k, scales.layer(1).v), (&[0.5; 3][..], &[0.5; 3][..]));
        assert_eq!(loaded(Vec::new()), Ok(None));
    }

    #[test]
    fn other_tensors_are_no_scales() {
        for name in [
            "model.layers.0.self_attn.k_proj.weight",
            "model.layers.0.self_attn.k_proj.weight_scale",
            "model.layers.0.self_attn.q_scale",
            "model.layers.x.self_attn.k_scale",
            "model.layers.0.mlp.k_scale",
            "k_scale",
        ] {
            assert!(!is_kv_scale(name), "{name}");
        }
    }

    #[test]
    fn what_is_unclear_is_an_error() {
        let one = |layer_idx, name| scale(layer_idx, name, &[], &[1.0]);
        let wrong = |tensors| loaded(tensors).unwrap_err();
        for shape in [&[2][..], &[3, 1], &[1, 1], &[0]] {
            let len = shape.iter().product();
            let error = wrong(vec![scale(0, "k_scale", shape, &vec![1.0; len])]);
            assert!(matches!(error, KvScalesError::Shape { .. }), "{shape:?}: {error}");
        }
        assert!(matches!(wrong(vec![one(2, "k_scale")]), KvScalesError::NoSuchLayer { .. }));
        for name in ["attn.k_scale", "k_proj.k_scale", "kv_scale"] {
            let error = wrong(vec![one(0, "k_scale"), one(0, name)]);
            assert!(matches!(error, KvScalesError::Twice { part: "keys", .. }), "{name}: {error}");
        }
        let error = wrong(vec![one(0, "kv_scale"), one(1, "k_scale")]);
        assert!(
            matches!(error, KvScalesError::Missing { part: "values", layer_idx: 1 }),
            "{error}"
        );
        for bad in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let tensors = vec![scale(0, "kv_scale", &[], &[bad]), one(1, "kv_scale")];
            assert!(matches!(wrong(tensors), KvScalesError::Value(_)), "{bad}");
        }
    }
}
