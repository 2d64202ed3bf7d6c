//! Whose KV an engine computes: all that its bits depend on besides tokens.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use engine_core::kv_dtype::KvDType;
use engine_core::kv_scales::KvScales;
use engine_core::rope::inv_freq;
use kv_store::identity::{Identity, IdentityParts};

use crate::error::LlmError;
use crate::weights::{Model, WeightsError};

/// Files that say how a text becomes tokens.
const TOKENIZER_FILES: [&str; 4] =
    ["tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt"];

/// The identity of the KV of `model` with a cache of this format under this numerics id, as a store has it.
///
/// # Errors
/// [`LlmError`] if a file of the model cannot be read.
pub(crate) fn identity(
    model: &Model,
    max_model_len: usize,
    (dtype, scales): (KvDType, &KvScales),
    numerics_id: &str,
    lossy_codec: Option<&str>,
) -> Result<Identity, LlmError> {
    let (weights, tokenizer) = files(model)?;
    let config = model.config();
    // The frequencies as they are used: some scalings depend on the longest sequence.
    let (freqs, attention_factor) =
        inv_freq(&config.rope, config.max_position_embeddings, max_model_len);
    let mut config_digest = digest_of("config");
    config_digest.update(format!("{config:?}").as_bytes());
    for freq in freqs.iter().chain([&attention_factor]) {
        config_digest.update(&freq.to_le_bytes());
    }
    let mut scales_digest = digest_of("kv scales");
    scales.values().for_each(|scale| {
        scales_digest.update(&scale.to_le_bytes());
    });
    Ok(Identity::new(&IdentityParts {
        weights: digest_files("weights", &weights)?,
        tokenizer: digest_files("tokenizer", &tokenizer)?,
        config: config_digest.finalize().into(),
        kv_dtype: dtype.name(),
        kv_scales: scales_digest.finalize().into(),
        numerics: numerics_id,
        lossy_codec,
    })?)
}

/// The files with the weights, and those with the tokenizer.
fn files(model: &Model) -> Result<(Vec<PathBuf>, Vec<PathBuf>), LlmError> {
    let Some(directory) = model.directory() else {
        // Its metadata have the tokenizer.
        let file = vec![model.path().to_path_buf()];
        return Ok((file.clone(), file));
    };
    let failed = |source| WeightsError::Io { path: directory.to_path_buf(), source };
    let mut weights = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            weights.push(path);
        }
    }
    weights.sort();
    let tokenizer = TOKENIZER_FILES.iter().map(|name| directory.join(name));
    Ok((weights, tokenizer.filter(|path| path.is_file()).collect()))
}

fn digest_of(what: &str) -> blake3::Hasher {
    blake3::Hasher::new_derive_key(&format!("kvasir engine 2026 {what}"))
}

/// A digest of the bytes of files, and of how many there are; not of where they lie.
fn digest_files(what: &str, paths: &[PathBuf]) -> Result<[u8; 32], LlmError> {
    let mut digest = digest_of(what);
    digest.update(&(paths.len() as u64).to_le_bytes());
    for path in paths {
        let file =
            digest_file(path).map_err(|source| WeightsError::Io { path: path.clone(), source })?;
        digest.update(&file);
    }
    Ok(digest.finalize().into())
}

fn digest_file(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let mut digest = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digest.finalize().into()),
            num_bytes => digest.update(&buffer[..num_bytes]),
        };
    }
}
