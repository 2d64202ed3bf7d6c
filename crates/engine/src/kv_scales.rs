//! Where the scales of an FP8 KV cache come from: a file that `kvasir calibrate` made, else the
//! checkpoint, else 1 with a warning. Never from traffic: what one user sends would change what the
//! next is answered.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use engine_core::formats::{Fp8Flavour, Fp8Format};
use engine_core::kv_dtype::KvDType;
use engine_core::kv_scales::KvScales;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

use crate::error::LlmError;
use crate::weights::kv_scales::{NamedScale, kv_scales};
use crate::weights::{KvScalesError, Model};

/// How much larger than the largest number seen a number may become before it saturates: one step of
/// the exponent, which costs the smallest numbers one bit and the others nothing.
pub(crate) const MARGIN: f32 = 2.0;

/// The one key of the file's metadata, lest their order make two files of one: its value is the
/// format and the identity of the model.
const KEY: &str = "kvasir_kv_scales";
const FORMAT: &str = "1";

/// Larger files are not read: a scale is four bytes, and no model has a million heads.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Why a file of scales cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScaleFileError {
    /// The system refused.
    #[error("cannot {action} {}: {source}; check the path and its permissions", path.display())]
    Io {
        /// To read or to write.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Another kind of file.
    #[error("{} is no file of KV scales: {problem}; make one with kvasir calibrate", path.display())]
    NotScales {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The scales are another model's.
    #[error("the KV scales in {} were made for another model; make new ones with kvasir calibrate", path.display())]
    OtherModel {
        /// The file.
        path: PathBuf,
    },
    /// The scales do not fit the model.
    #[error("{}: {source}", path.display())]
    Scales {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KvScalesError,
    },
    /// The cache has no scales.
    #[error(
        "KV scales have no effect with a KV cache in {dtype}; leave --kv-cache-scales out, or use --kv-cache-dtype fp8"
    )]
    Idle {
        /// The cache's format.
        dtype: KvDType,
    },
}

/// The scales of a cache, and what the user should know of them.
pub(crate) struct ChosenScales {
    pub(crate) scales: KvScales,
    pub(crate) warning: Option<String>,
}

/// The scales for `model` with a cache in `dtype`, from `file` if there is one.
pub(crate) fn choose(
    model: &Model,
    dtype: KvDType,
    file: Option<&Path>,
) -> Result<ChosenScales, LlmError> {
    let config = model.config();
    let ones = KvScales::ones(config.num_layers, config.num_kv_heads);
    let Some(format) = dtype.fp8() else {
        return match file {
            Some(_) => Err(ScaleFileError::Idle { dtype }.into()),
            // A checkpoint's scales are for FP8 caches.
            None => Ok(ChosenScales { scales: ones, warning: None }),
        };
    };
    let loaded = match file {
        Some(file) => Some(read(model, file)?),
        None => model.kv_scales().cloned(),
    };
    Ok(match loaded {
        Some(scales) => ChosenScales { scales: for_flavour(scales, format), warning: None },
        None => ChosenScales {
            scales: ones,
            warning: Some(format!(
                "the KV cache is in {dtype} without scales: the model brings none, so 1 is taken; \
                 kvasir calibrate makes some for --kv-cache-scales"
            )),
        },
    })
}

/// Scales are made for OCP codes, in checkpoints as in files.
fn for_flavour(scales: KvScales, format: Fp8Format) -> KvScales {
    match format.flavour() {
        Fp8Flavour::Ocp => scales,
        Fp8Flavour::Fnuz => scales.doubled(),
    }
}

/// The format of a cache and its scales in a word, for whatever must not mix caches.
pub(crate) fn identity(dtype: KvDType, scales: &KvScales) -> String {
    if scales.is_ones() {
        return format!("kv {dtype}");
    }
    let mut digest = Sha256::new();
    scales.values().for_each(|scale| digest.update(scale.to_le_bytes()));
    let digest: String =
        digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("kv {dtype} scales {digest}")
}

/// The scales in `file`, which has to be made for `model`.
fn read(model: &Model, file: &Path) -> Result<KvScales, LlmError> {
    let path = file.to_path_buf();
    let io_error = |source| ScaleFileError::Io { action: "read", path: path.clone(), source };
    let not_scales = |problem: String| ScaleFileError::NotScales { path: path.clone(), problem };
    if std::fs::metadata(file).map_err(io_error)?.len() > MAX_FILE_BYTES {
        return Err(not_scales("it is too large".to_owned()).into());
    }
    let bytes = std::fs::read(file).map_err(io_error)?;
    let (_, header) =
        SafeTensors::read_metadata(&bytes).map_err(|error| not_scales(error.to_string()))?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let identity = match metadata.get(KEY).map(|value| value.split_once(' ').unwrap_or((value, "")))
    {
        Some((FORMAT, identity)) => identity,
        Some((other, _)) => {
            return Err(not_scales(format!("its format is {other}, not {FORMAT}")).into());
        }
        None => return Err(not_scales("it does not say that it is one".to_owned()).into()),
    };
    if identity != identity_of(model)? {
        return Err(ScaleFileError::OtherModel { path }.into());
    }
    let tensors =
        SafeTensors::deserialize(&bytes).map_err(|error| not_scales(error.to_string()))?;
    let mut named = Vec::new();
    for (name, tensor) in tensors.tensors() {
        if tensor.dtype() != Dtype::F32 {
            return Err(not_scales(format!("`{name}` is not F32")).into());
        }
        let values = tensor.data().as_chunks::<4>().0.iter().map(|x| f32::from_le_bytes(*x));
        named.push(NamedScale { shape: tensor.shape().to_vec(), values: values.collect(), name });
    }
    let scales = kv_scales(model.config(), named)
        .map_err(|source| ScaleFileError::Scales { path: path.clone(), source })?;
    Ok(scales.ok_or_else(|| not_scales("it has no scales".to_owned()))?)
}

/// Writes scales for OCP codes of `model` to a new file.
///
/// # Errors
/// [`LlmError`] if the file exists or cannot be written.
pub fn write_kv_scales(model: &Model, scales: &KvScales, path: &Path) -> Result<(), LlmError> {
    let num_kv_heads = scales.num_kv_heads();
    let mut tensors: Vec<(String, Vec<u8>)> = Vec::new();
    for layer_idx in 0..scales.num_layers() {
        let layer = scales.layer(layer_idx);
        for (part, heads) in [("k_scale", layer.k), ("v_scale", layer.v)] {
            let bytes = heads.iter().flat_map(|scale| scale.to_le_bytes()).collect();
            tensors.push((format!("model.layers.{layer_idx}.self_attn.{part}"), bytes));
        }
    }
    let views = tensors.iter().filter_map(|(name, bytes)| {
        // The bytes are just as many as the shape asks for.
        Some((name.as_str(), TensorView::new(Dtype::F32, vec![num_kv_heads], bytes).ok()?))
    });
    let metadata = HashMap::from([(KEY.to_owned(), format!("{FORMAT} {}", identity_of(model)?))]);
    let error = |source| ScaleFileError::Io { action: "write", path: path.to_path_buf(), source };
    let bytes = safetensors::serialize(views, Some(metadata))
        .map_err(|source| error(std::io::Error::other(source)))?;
    let mut file = std::fs::File::create_new(path).map_err(error)?;
    std::io::Write::write_all(&mut file, &bytes).map_err(error)?;
    Ok(())
}

fn identity_of(model: &Model) -> Result<String, LlmError> {
    Ok(model.identity().map_err(engine_core::model::LoadError::from)?)
}

impl From<ScaleFileError> for LlmError {
    fn from(error: ScaleFileError) -> Self {
        LlmError::Scales(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights;
    use engine_core::dtype::DType;

    fn family(name: &str) -> Model {
        let families = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/families");
        weights::open(&families.join(name)).unwrap()
    }

    fn some_scales(model: &Model) -> KvScales {
        let (layers, heads) = (model.config().num_layers, model.config().num_kv_heads);
        let numbers = |first: f32| (0..layers * heads).map(|i| first + i as f32 / 64.0).collect();
        KvScales::new(heads, numbers(0.25), numbers(1.5)).unwrap()
    }

    fn fp8(format: Fp8Format) -> KvDType {
        KvDType::Fp8(format)
    }

    fn message(result: Result<ChosenScales, LlmError>) -> String {
        match result {
            Ok(_) => panic!("it was taken"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_file_gives_its_scales_back_and_doubles_them_for_fnuz_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("scales.safetensors");
        let model = family("llama");
        let scales = some_scales(&model);
        write_kv_scales(&model, &scales, &file).unwrap();
        for format in Fp8Format::ALL {
            let chosen = choose(&model, fp8(format), Some(&file)).unwrap();
            let expected = match format.flavour() {
                Fp8Flavour::Ocp => scales.clone(),
                Fp8Flavour::Fnuz => scales.doubled(),
            };
            assert_eq!(chosen.scales, expected, "{format:?}");
            assert_eq!(chosen.warning, None);
        }
        let taken = write_kv_scales(&model, &scales, &file).unwrap_err();
        assert!(taken.to_string().contains("cannot write"), "{taken}");
    }

    #[test]
    fn without_scales_there_is_one_and_a_warning() {
        let model = family("llama");
        for format in Fp8Format::ALL {
            let chosen = choose(&model, fp8(format), None).unwrap();
            // Nothing was loaded, so nothing is doubled.
            assert!(chosen.scales.is_ones(), "{format:?}");
            assert!(chosen.warning.is_some_and(|warning| warning.contains("kvasir calibrate")));
        }
        let chosen = choose(&model, DType::BF16.into(), None).unwrap();
        assert!(chosen.scales.is_ones() && chosen.warning.is_none());
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("scales.safetensors");
        let (model, other) = (family("llama"), family("qwen3"));
        write_kv_scales(&other, &some_scales(&other), &file).unwrap();
        let dtype = fp8(Fp8Format::E4m3);
        assert!(message(choose(&model, dtype, Some(&file))).contains("another model"));
        let idle = message(choose(&other, DType::F32.into(), Some(&file)));
        assert!(idle.contains("no effect") && idle.contains("float32"), "{idle}");
        let missing = message(choose(&model, dtype, Some(&folder.path().join("none"))));
        assert!(missing.contains("cannot read"), "{missing}");
        let text = folder.path().join("text");
        std::fs::write(&text, "no tensors at all").unwrap();
        assert!(message(choose(&model, dtype, Some(&text))).contains("is no file of KV scales"));
        let weights = model.path().join("model.safetensors");
        let refused = message(choose(&model, dtype, Some(&weights)));
        assert!(refused.contains("does not say"), "{refused}");
    }

    #[test]
    fn caches_that_must_not_mix_have_other_identities() {
        let model = family("llama");
        let (ones, scales) = (KvScales::ones(2, 2), some_scales(&model));
        let mut identities: Vec<String> =
            KvDType::ALL.iter().map(|&dtype| identity(dtype, &ones)).collect();
        identities.push(identity(fp8(Fp8Format::E4m3), &scales));
        identities.push(identity(fp8(Fp8Format::E4m3), &scales.doubled()));
        let count = identities.len();
        identities.sort();
        identities.dedup();
        assert_eq!(identities.len(), count, "{identities:?}");
    }
}
